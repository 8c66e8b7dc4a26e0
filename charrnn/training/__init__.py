"""Training: a task-independent loop, its schedule, and the state it needs to resume exactly where it stopped."""
