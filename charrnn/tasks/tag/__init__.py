"""The task `tag`: a symbol for each symbol of an input."""

from charrnn.tasks.task import Task

TASK = Task("tag", unit="symbol", flags=frozenset(("--beam", "--sample")))
