"""The gang: one supervisor a pod, led by index 0, which starts, watches and stops the ranks."""
