"""The task `tree`: a label or a number for each tree, or for each of its nodes."""

from charrnn.tasks.task import Task

TASK = Task("tree", unit="label", flags=frozenset(("--prior", "--indent")))
