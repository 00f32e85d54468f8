"""A whole run on one machine: what the operator and the cluster do, done by one process."""
