"""The text that `charrnn study states` reads: the beginning of a file, standard input or the held-out part."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from charrnn.cli.score import STANDARD_INPUT
from charrnn.corpus.readers import Source, TextReader, expand
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CorpusError
from charrnn.study.states import first_chars, sequences_of
from charrnn.tasks.generate.held_out import held_out
from charrnn.tasks.stored import encoding_of

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.checkpoint import Checkpoint


def beginning(
    found: "Checkpoint", model: "Model", file: str | None, given: tuple[str, ...], most: int
) -> tuple[str, Sequences, int | None]:
    """The text's name, its first `most` characters, and its length, which is None if the rest was not counted."""
    config = model.saved.config
    total: int | None
    if file is None:
        text = held_out(found, found.path.resolve().parent.parent)
        name, total = f"{text.name} part", text.sequences.num_chars
        kept = first_chars(text.sequences, most)
    else:
        name, head = _head(found, file, most + 1)
        is_cut = len(head) > most
        whole = replace(sequences_of(head, config.split), open_end=is_cut)
        if not whole.num_chars:
            raise CorpusError(f"{name}: the text is empty; name one with characters in it")
        kept, total = first_chars(whole, most), None if is_cut else whole.num_chars
    if config.columns and (file is not None or given):
        context = model.context(given)
        kept = replace(kept, contexts=np.tile(context, (len(kept), 1)) if context is not None else None)
    elif given:
        model.context(given)  # Raises an error: the model takes no context.
    return name, kept, total


def _head(found: "Checkpoint", file: str, most: int) -> tuple[str, str]:
    """The name and the first `most` characters of a file or of standard input, without reading the rest."""
    encoding = encoding_of(found)
    with workspace(None) as work:
        if file != "-":
            return file, _first(expand([file], work), encoding, most)
        copy = work / "text"
        # No encoding takes more than four bytes a character; reading one more keeps the wanted ones whole.
        copy.write_bytes(sys.stdin.buffer.read(4 * most + 4))
        return STANDARD_INPUT, _first([Source(STANDARD_INPUT, copy)], encoding, most)


def _first(sources: list[Source], encoding: str, most: int) -> str:
    """The first `most` characters of files, with a line end between files."""
    head = ""
    for source in sources:
        if head and not head.endswith("\n"):
            head += "\n"
        for text in TextReader(source, encoding):
            head += text[: most - len(head)]
            if len(head) >= most:
                return head
    return head
