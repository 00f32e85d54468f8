"""The base model: checks, loading, adapters, export."""
