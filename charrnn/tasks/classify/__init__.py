"""The task `classify`: a label or a number for each text."""

from charrnn.tasks.task import Task

TASK = Task("classify", unit="text", flags=frozenset(("--prior",)))
