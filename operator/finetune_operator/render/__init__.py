"""From a job to the objects that run it: one file a kind, pure functions, no cluster."""
