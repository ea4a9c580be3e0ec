"""What a job goes through, a module a stage. Each is imported when a job comes to it."""
