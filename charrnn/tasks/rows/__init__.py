"""Code shared by the tasks whose examples are rows of a table."""
