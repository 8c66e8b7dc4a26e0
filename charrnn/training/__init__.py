"""Training: a loop that knows no task, its schedule, and what it needs to go on exactly where it stopped."""
