"""What is to be done next: pure functions of specification, status, observation and time."""
