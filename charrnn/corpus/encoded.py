"""Reads a corpus of any size, in bounded memory, into memory-mapped arrays that are kept for reuse.

Combines `readers`, `splitting` and `store`. Knows nothing of models.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from charrnn.config import Encoding, Separator, SplitName
from charrnn.corpus.readers import (
    CHUNK_BYTES,
    Fingerprint,
    Source,
    TextReader,
    canonical_encoding,
    expand,
    fingerprint,
    read_head,
)
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences, to_code_points
from charrnn.corpus.splitting import LineFinder, choose_mark, choose_split, grouping, separator
from charrnn.corpus.store import CorpusWriter, FileFacts, load, publish
from charrnn.errors import CorpusError
from charrnn.words import count

FORMAT_VERSION = 1
"""Increase it when the encoding of the same text changes, so that corpora kept by older versions are ignored."""

Progress = Callable[[int, int], object]
"""Called with the bytes encoded so far and the bytes of the whole corpus."""


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """An encoded corpus.

    Attributes:
        sequences: all sequences of all files, in order, over the alphabet of the whole corpus.
        files: the names of the files.
        file_offsets: (F + 1,) int64; the sequences of file f are `file_offsets[f]:file_offsets[f + 1]`.
        sha256: the hash of the files' concatenated bytes.
        num_bytes: the total size of the files.
        split, split_reason: how sequences were found, and why in this way ("" if it was requested).
        separator: the text between sequences, also to be put between samples.
        notes: what a user should know about how the text was read.
    """

    sequences: Sequences
    files: tuple[str, ...]
    file_offsets: NDArray[np.int64]
    sha256: str
    num_bytes: int
    split: SplitName
    split_reason: str
    separator: Separator
    notes: tuple[str, ...]


def encode(
    paths: Sequence[str | Path],
    *,
    split: SplitName | Literal["auto"],
    mark: str | None = None,
    encoding: str = "utf-8",
    cache: Path | None = None,
    progress: Progress | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> EncodedCorpus:
    """Reads files, folders or standard input (`-`) as one corpus, in bounded memory.

    mark: what stands between sequences; with `auto`, the line ends around it are found from the text. With a
    folder `cache`, the result is kept there for reuse, under a name derived from the corpus's bytes and
    how they are read; without one, or if it is not writable, the result lasts as long as it is used.
    Raises CorpusError for a corpus that is missing, unreadable, not text or empty, ResourceError for a full disk.
    """
    encoding = canonical_encoding(encoding)
    notes: list[str] = []
    with workspace(_if_writable(cache)) as work:
        sources = expand(paths, work, notes)
        contents = fingerprint(sources)
        notes += contents.copies(sources)
        reason = ""
        if split == "auto" and mark is not None:
            split = "mark"
            mark, reason = choose_mark(read_head(sources, encoding), mark)
        elif split == "auto":
            split, reason = choose_split(read_head(sources, encoding))
        mark = (mark or "\n").replace("\r\n", "\n")
        key = _key(contents, split, mark, encoding)
        found = load(cache / key, key) if cache is not None else None
        if found is None:
            wrong = _build(work / key, sources, contents, split, mark, encoding, progress, chunk_bytes)
            found = load(work / key, key)
            if found is None:
                raise CorpusError(f"{work}: the encoded corpus was damaged while it was written; try again")
            notes += wrong
            # A kept corpus does not say how many bytes were not text, so one with such bytes is read anew.
            if cache is not None and not wrong:
                publish(work / key, cache / key)
    sequences, header = found
    return EncodedCorpus(
        sequences=sequences,
        files=tuple(source.name for source in sources),
        file_offsets=np.cumsum([0, *(facts.num_sequences for facts in header.files)], dtype=np.int64),
        sha256=contents.sha256,
        num_bytes=sum(contents.sizes),
        split=split,
        split_reason=reason,
        separator=separator(split, _mostly_crlf(header.files), mark),
        notes=(*notes, *text_notes([source.name for source in sources], header.files, split)),
    )


def _if_writable(cache: Path | None) -> Path | None:
    if cache is not None:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            if os.access(cache, os.W_OK | os.X_OK):
                return cache
    return None


def _key(contents: Fingerprint, split: SplitName, mark: str, encoding: Encoding) -> str:
    parts = [FORMAT_VERSION, contents.sha256, contents.sizes, split, str(encoding)]
    parts += [{"mark": mark}] if split == "mark" else []
    parts += [encoding.errors] if encoding.errors != "strict" else []
    parts += [{"normalize": encoding.normalize}] if encoding.normalize != "none" else []
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _build(
    directory: Path,
    sources: Sequence[Source],
    contents: Fingerprint,
    split: SplitName,
    mark: str,
    encoding: Encoding,
    progress: Progress | None,
    chunk_bytes: int,
) -> list[str]:
    """Writes the corpus into `directory`, which must not exist and whose name is its key.

    Returns a note if there were bytes that are not text.
    """
    digest = hashlib.sha256()
    total, done = sum(contents.sizes), 0

    def on_bytes(data: bytes) -> None:
        nonlocal done
        digest.update(data)
        done += len(data)
        if progress is not None:
            progress(done, total)

    with CorpusWriter(directory) as writer:
        readers = [TextReader(source, encoding, chunk_bytes, on_bytes) for source in sources]
        files = [_encode_file(reader, split, mark, writer) for reader in readers]
        called = _called([source.name for source in sources])
        if digest.hexdigest() != contents.sha256:
            raise CorpusError(f"{called}: changed while it was read; try again when it is complete")
        if not writer.num_chars:
            raise CorpusError(f"{called}: the corpus is empty; name files with text in them")
        if not writer.num_sequences:
            kinds = "empty lines and marks" if split == "mark" else "empty lines"
            raise CorpusError(f"{called}: there are only {kinds}, so nothing to read")
        writer.finish(directory.name, files)
    return wrong_notes(readers)


def _encode_file(reader: TextReader, split: SplitName, mark: str, writer: CorpusWriter) -> FileFacts:
    begin, num_before = writer.num_chars, writer.num_sequences
    lines, sequences = LineFinder(begin), grouping(split, begin, mark)
    for text in reader:
        code_points = to_code_points(text)
        writer.add_text(code_points)
        writer.add_sequences(*sequences.feed(text, *lines.feed(code_points)))
    writer.add_sequences(*sequences.feed("", *lines.close()))
    writer.add_sequences(*sequences.close(begin, writer.num_chars))
    return FileFacts(
        num_sequences=writer.num_sequences - num_before,
        num_lf=lines.num_lf,
        num_crlf=lines.num_crlf,
        num_cr=lines.num_cr,
        dropped_mark=reader.dropped_mark,
    )


def _called(names: Sequence[str]) -> str:
    more = len(names) - 1
    return names[0] + (f" and {count(more, 'more file')}" if more else "")


def _mostly_crlf(files: Sequence[FileFacts]) -> bool:
    return sum(facts.num_crlf for facts in files) > sum(facts.num_lf for facts in files)


def wrong_notes(readers: Sequence[TextReader]) -> list[str]:
    """A note if there were bytes that are not text in the encoding."""
    found = [reader for reader in readers if reader.num_wrong]
    if not found:
        return []
    encoding = found[0].encoding
    done = "left out" if encoding.errors == "skip" else "replaced by U+FFFD"
    total = count(sum(reader.num_wrong for reader in found), "byte")
    names = [reader.source.name for reader in found]
    return [f"{_called(names)}: {total} not {encoding} text, {done} (--errors)"]


def text_notes(names: Sequence[str], files: Sequence[FileFacts], split: SplitName) -> list[str]:
    """What a user should know of the files of these names, whose sequences are split so."""
    notes = []

    def note(which: Callable[[FileFacts], bool], text: str) -> None:
        chosen = [name for name, facts in zip(names, files, strict=True) if which(facts)]
        if chosen:
            notes.append(f"{_called(chosen)}: {text}")

    note(lambda facts: facts.dropped_mark, "dropped the byte order mark at the beginning")
    note(
        lambda facts: facts.num_cr > 0 and facts.num_lf == facts.num_crlf == 0,
        "carriage returns but no line feeds, as in old Mac files, so this is read as one line; "
        r"to have lines, convert it first: tr '\r' '\n'",
    )
    if split != "line":
        note(
            lambda facts: facts.num_crlf > 0,
            r"line ends are CRLF and kept as text; to have plain ones, convert it first: tr -d '\r'",
        )
    note(lambda facts: facts.num_crlf > 0 and facts.num_lf > 0, "line ends are both LF and CRLF")
    return notes
