"""What the tasks whose examples are rows of a table share."""
