"""Base against tuned model on the same rows."""
