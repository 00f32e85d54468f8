"""Runs the Dockerfiles' own steps without a container engine, and tries what came out."""
