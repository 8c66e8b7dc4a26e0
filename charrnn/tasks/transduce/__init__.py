"""The task `transduce`: a sequence for a sequence."""

from charrnn.tasks.task import Task

TASK = Task(
    "transduce", unit="symbol", flags=frozenset(("--beam", "--length-penalty", "--sample", "--given", "--stop"))
)
