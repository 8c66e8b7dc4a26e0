"""The command line: one file per command. Only this package uses click and rich; the rest is imported on use."""

from charrnn.cli.group import CommandLine

main = CommandLine(
    name="charrnn",
    help="""Generate text character by character with recurrent networks.

    \b
      charrnn train names.txt --minutes 2
      charrnn sample -n 10
      charrnn eval

    Each command shows its options and more examples with -h. A run is a directory under ./checkpoints; where a
    command takes a RUN, the newest one is meant unless another is named.

    \b
    Completion, for bash (zsh and fish likewise):
      eval "$(_CHARRNN_COMPLETE=bash_source charrnn)"
    """,
)
