"""Every error that charrnn raises on purpose, each with the exit code of the command line.

A message is one line that says what is wrong, where (path, line or byte offset), what was expected
and what to do. Nothing here knows how a message is shown.
"""


class CharRNNError(Exception):
    """The base of all errors below; catch this one to catch them all."""

    exit_code = 1


class UsageError(CharRNNError):
    """An invalid option or argument."""

    exit_code = 2


class CorpusError(CharRNNError):
    """A corpus, an evaluation file or a prompt that is missing, unreadable or unsuitable."""

    exit_code = 3


class CheckpointError(CharRNNError):
    """A run or checkpoint that is missing, damaged, hostile or not charrnn's."""

    exit_code = 4


class DivergedError(CharRNNError):
    """Training met a loss or gradient that is not finite."""

    exit_code = 5


class ResourceError(CharRNNError):
    """The disk or the memory is full."""

    exit_code = 6


class RunLockedError(CharRNNError):
    """Another process is writing to the run directory."""

    exit_code = 7


class GateError(CharRNNError):
    """An evaluation did not meet the requested bound."""

    exit_code = 8


class FewerTextsError(CharRNNError):
    """Fewer texts than were asked for could be found."""

    exit_code = 9


class InterruptedTrainingError(CharRNNError):
    """Training was stopped by a signal, after saving."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
