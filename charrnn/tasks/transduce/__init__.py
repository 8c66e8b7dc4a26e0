"""The task `transduce`: an output sequence for each input sequence."""

from charrnn.tasks.task import Task

TASK = Task(
    "transduce", unit="symbol", flags=frozenset(("--beam", "--length-penalty", "--sample", "--given", "--stop"))
)
