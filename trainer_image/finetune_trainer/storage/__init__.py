"""S3-compatible storage and local folders behind one interface; every byte that moves is hashed."""
