"""What commands read for a run beside its corpus: prompts, and files of a text a line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from charrnn.cli.terminal import note
from charrnn.config import Encoding
from charrnn.corpus.encoded import text_notes, wrong_notes
from charrnn.corpus.readers import Source, Stream, TextReader, opened
from charrnn.corpus.sequences import to_code_points
from charrnn.corpus.splitting import LineFinder
from charrnn.corpus.store import FileFacts
from charrnn.errors import CorpusError
from charrnn.tasks.stored import encoding_of


class _Line(msgspec.Struct):
    text: str


def encoding_for(checkpoint: Path, asked: str | None = None) -> Encoding:
    """The encoding asked for, by default that of the corpus; bytes that are not text in it fare as in the run."""
    of_run = encoding_of(checkpoint)
    return Encoding(asked or of_run, of_run.errors, of_run.normalize)


def read_prompt(argument: str, symbols: tuple[str, ...], encoding: str = "utf-8") -> str:
    """The prompt that `argument` means: TEXT, @FILE, - for standard input, or @@TEXT for @TEXT.

    If the model's vocabulary has no line end, one line end at the end of a file or of standard input is dropped:
    editors and `echo` put it there. Raises CorpusError for input that cannot be read or is not text in `encoding`.
    """
    if argument.startswith("@@"):
        return Encoding(encoding).in_form(argument[1:])
    if argument != "-" and not argument.startswith("@"):
        return Encoding(encoding).in_form(argument)
    with opened(argument.removeprefix("@")) as source:
        text = "".join(TextReader(source, encoding))
    return text if "\n" in symbols else text.removesuffix("\n").removesuffix("\r")


def lines_for(
    checkpoint: Path, file: str | None, encoding: str | None, *, jsonl: bool = False, quiet: bool
) -> Iterator[list[str]]:
    """The lines of a file or of standard input, as `read_texts` yields them, with notes on stderr.

    encoding: by default that of the run's corpus, of JSON lines UTF-8.
    """
    tell: Callable[[str], object] = (lambda _line: None) if quiet else note
    decoded = encoding_for(checkpoint, encoding or ("utf-8" if jsonl else None))
    if encoding is None and decoded != "utf-8":
        tell(f"reading {decoded}, as the run did (--encoding)")
    with opened(file) as source:
        yield from read_texts(source, decoded, tell, jsonl=jsonl)


def read_texts(
    source: Source | Stream, encoding: str, tell: Callable[[str], object], *, jsonl: bool = False
) -> Iterator[list[str]]:
    """Yields the lines of a text, as many together as have arrived. A line ends at LF or CRLF.

    `tell` is given notes on the text at its end. Raises CorpusError for bytes that are not text and, with `jsonl`,
    for a line that is not a JSON object with a text, after it has yielded the lines before.
    """
    reader, finder = TextReader(source, encoding), LineFinder(0)

    def counted() -> Iterator[str]:
        for text in reader:
            finder.feed(to_code_points(text))
            yield text

    number = 0
    for lines in _lines(counted()):
        texts: list[str] = []
        for line in lines:
            number += 1
            try:
                texts.append(msgspec.json.decode(line, type=_Line).text if jsonl else line)
            except msgspec.MsgspecError as error:
                yield texts
                raise CorpusError(
                    f"{source.name}, line {number}: not a JSON object with a `text`: {error}"
                ) from error
        yield texts
    facts = FileFacts(0, finder.num_lf, finder.num_crlf, finder.num_cr, reader.dropped_mark)
    for found in (*wrong_notes([reader]), *text_notes([source.name], [facts], "line")):
        tell(found)


def _lines(chunks: Iterator[str]) -> Iterator[list[str]]:
    begun: list[str] = []
    for data in chunks:
        first, *others = data.split("\n")
        begun.append(first)
        if others:
            whole = ["".join(begun), *others[:-1]]
            begun = [others[-1]]
            yield [line.removesuffix("\r") for line in whole]
    if last := "".join(begun):
        yield [last]
