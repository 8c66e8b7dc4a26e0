"""The task `generate`: text, optionally conditioned on the columns of a table."""

from charrnn.tasks.task import Task

TASK = Task("generate", unit="char", flags=frozenset(("--given", "--stop")))
