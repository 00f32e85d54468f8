"""A node that runs pods as processes of the same user.

It speaks to the API server as a kubelet does: registers, keeps its lease, runs what is bound to it,
reports what happened, serves logs. There are no namespaces of the kernel: files and names that a
container would find by itself are translated in its environment and arguments (`places`), the rest
is as in a real pod.
"""
