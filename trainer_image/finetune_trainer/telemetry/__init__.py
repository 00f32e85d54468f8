"""What ranks tell their supervisor, and what the supervisor tells the world."""
