"""What people are told: conditions, sentences, display, and the events between two states."""
