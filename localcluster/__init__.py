"""A real Kubernetes on one machine, without Docker and without root.

A real control plane and a real S3 server as processes, and nodes that run pods as local processes.
Everything listens on 127.0.0.0/8, keeps its state in one folder, and is ended by recorded pids.
"""
