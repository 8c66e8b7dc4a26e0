"""`--prompt`: a text, a file, or standard input."""

import sys

from charrnn.corpus.readers import BYTE_ORDER_MARK
from charrnn.errors import CorpusError


def read_prompt(argument: str, symbols: tuple[str, ...]) -> str:
    """The prompt that `argument` means: TEXT, @FILE, - for standard input, or @@TEXT for @TEXT.

    If the model's vocabulary has no line end, one line end at the end of a file or of standard input is dropped:
    editors and `echo` put it there. Raises CorpusError for input that cannot be read or is not UTF-8.
    """
    if argument.startswith("@@"):
        return argument[1:]
    if argument == "-":
        text = _decode(sys.stdin.buffer.read(), "standard input")
    elif argument.startswith("@"):
        text = _decode(_read(argument[1:]), argument[1:])
    else:
        return argument
    return text if "\n" in symbols else text.removesuffix("\n").removesuffix("\r")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CorpusError(f"{path}: the prompt cannot be read: {error.strerror}; name a text file") from error


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: the prompt is not UTF-8 at byte offset {error.start}; convert it") from error
