"""`charrnn study`: a group, one file per command."""

from charrnn.cli.group import LazyGroup

COMMANDS = {
    "listops": "Make ListOps expressions to train recursive networks on.",
    "gradients": "Measure how far gradients reach back through a network.",
    "compare": "Train designs on one text for the same time, and compare them.",
    "states": "Find which units of a trained model switch on what.",
    "span": "Measure how far back networks learn to look, and what helps them.",
}

command = LazyGroup(
    COMMANDS,
    "charrnn.cli.study_",
    name="study",
    help="""See what recurrent networks can do.

    \b
    Examples:
      charrnn study gradients --cell tanh plays.txt
      charrnn study compare plays.txt --cell tanh --cell lstm
      charrnn study listops -n 90000 > lists.tsv
      charrnn study states plays --feature quotes
      charrnn study span --problem adding --cell tanh --cell gru
    """,
)
