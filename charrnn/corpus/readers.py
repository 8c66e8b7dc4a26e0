"""Opens the files that a user names as a corpus and decodes them strictly, chunk by chunk.

Handles files, folders, pipes and encodings, not sequences or alphabets. Line ends are left as they are.
"""

import codecs
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from charrnn.config import TrainConfig
from charrnn.errors import CorpusError

CHUNK_BYTES = 1 << 20
STANDARD_INPUT = "standard input"
BYTE_ORDER_MARK = "\ufeff"


class Source(NamedTuple):
    """A regular file, which can be read repeatedly, and its name in messages."""

    name: str
    path: Path


class StoredPath(str):
    """A path that a stored run names: it may lead to a file or a folder, but not to a pipe.

    A new run may read a pipe, which its user has just named; a stored run could wait for one without end.
    """


def expand(arguments: Sequence[str | Path], spool: Path) -> list[Source]:
    """The files that `arguments` name, in order.

    A folder means the regular files directly in it, sorted by name, without hidden ones; `-` means standard
    input. Standard input and pipes can be read only once, so they are copied into the folder `spool`.
    Raises CorpusError for an argument that is missing, unreadable, a folder without files, or another kind of
    file.
    """
    sources: list[Source] = []
    for argument in arguments:
        path = Path(argument)
        copy = spool / f"spool-{len(sources)}"
        if str(argument) == "-":
            if any(source.name == STANDARD_INPUT for source in sources):
                raise CorpusError("-: standard input can be read only once; name it once")
            if sys.stdin is None:
                raise CorpusError("-: standard input is closed; name a file")
            sources.append(_spooled(STANDARD_INPUT, sys.stdin.buffer, copy))
            continue
        mode = _mode(path)
        if isinstance(argument, StoredPath) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise CorpusError(f"{path}: the run read a file or a folder here; put it back")
        if stat.S_ISDIR(mode):
            sources += [Source(str(file), file) for file in _files_in(path)]
        elif stat.S_ISREG(mode):
            sources.append(Source(str(path), path))
        elif stat.S_ISFIFO(mode):
            sources.append(_spooled_pipe(path, copy))
        else:
            raise CorpusError(f"{path}: neither a file, a folder nor a pipe; name a text file")
    if not sources:
        raise CorpusError("no corpus was named; name text files, a folder of them, or - for standard input")
    return sources


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path}: no such file or folder; name text files, a folder of them, or - for standard input"
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error


def _files_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
        files = [path for path in entries if not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise _unreadable(str(folder), error) from error
    if not files:
        raise CorpusError(f"{folder}: no files directly in this folder; name one that holds text files")
    return files


def _spooled(name: str, stream: BinaryIO, copy: Path) -> Source:
    with copy.open("wb") as file:
        for data in _chunks(name, stream, CHUNK_BYTES):
            file.write(data)
    return Source(name, copy)


def _spooled_pipe(path: Path, copy: Path) -> Source:
    try:
        pipe = open(path, "rb", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise _unreadable(str(path), error) from error
    with pipe:
        return _spooled(str(path), pipe, copy)


def _unreadable(name: str, error: Exception) -> CorpusError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return CorpusError(f"{name}: cannot be read: {reason}; check the name and its permissions")


def open_source(source: Source) -> BinaryIO:
    """Opens the file unbuffered; raises CorpusError if that fails or another kind of file has taken its place."""
    try:
        file = open(source.path, "rb", buffering=0, opener=without_waiting)  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    except OSError as error:
        raise _unreadable(source.name, error) from error
    raise CorpusError(f"{source.name}: was replaced by something else than a file while it was read")


def without_waiting(path: str | Path, flags: int) -> int:
    """An opener that does not wait for the other end of a pipe that is where a file should be."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def read_bytes(source: Source, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a file, in non-empty chunks."""
    with open_source(source) as file:
        yield from _chunks(source.name, file, chunk_bytes)


def _chunks(name: str, stream: BinaryIO, chunk_bytes: int) -> Iterator[bytes]:
    while True:
        try:
            data = stream.read(chunk_bytes)
        except OSError as error:
            raise _unreadable(name, error) from error
        if not data:
            return
        yield data


class Fingerprint(NamedTuple):
    """SHA-256 of all files' bytes in order (what `cat FILES | sha256sum` prints), and each one's size."""

    sha256: str
    sizes: tuple[int, ...]


def fingerprint(sources: Sequence[Source]) -> Fingerprint:
    """Reads every file once and identifies its contents without decoding them."""
    digest = hashlib.sha256()
    sizes = []
    for source in sources:
        size = 0
        for data in read_bytes(source):
            digest.update(data)
            size += len(data)
        sizes.append(size)
    return Fingerprint(digest.hexdigest(), tuple(sizes))


def canonical_encoding(name: str) -> str:
    """Python's own name for a text encoding; raises CorpusError if there is no such encoding."""
    try:
        canonical = codecs.lookup(name).name
        "a".encode(canonical)
    except (LookupError, ValueError) as error:
        raise CorpusError(
            f"--encoding {name!a}: no text encoding of that name; try utf-8, latin-1, cp1252 or utf-16"
        ) from error
    return canonical


class TextReader:
    """Iterates once over the text of a file, in non-empty chunks.

    A leading byte order mark is dropped; `dropped_mark` then is True. `on_bytes` is called with the bytes
    before they are decoded. Raises CorpusError if the bytes are not text in this encoding.
    """

    def __init__(
        self,
        source: Source,
        encoding: str,
        chunk_bytes: int = CHUNK_BYTES,
        on_bytes: Callable[[bytes], object] | None = None,
    ) -> None:
        self.source = source
        self.encoding = encoding
        self.chunk_bytes = chunk_bytes
        self.on_bytes = on_bytes
        self.dropped_mark = False
        self._bytes_read = 0

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        at_start = True
        for data in self._all_bytes():
            text = self._decode(decoder, data)
            if text and at_start:
                at_start = False
                self.dropped_mark = text.startswith(BYTE_ORDER_MARK)
                text = text.removeprefix(BYTE_ORDER_MARK)
            if text:
                yield text

    def _all_bytes(self) -> Iterator[bytes]:
        for data in read_bytes(self.source, self.chunk_bytes):
            if self.on_bytes is not None:
                self.on_bytes(data)
            self._reject_binary(data)
            self._bytes_read += len(data)
            yield data
        yield b""  # makes the decoder report a character that the end of the file cuts off

    def _decode(self, decoder: codecs.IncrementalDecoder, data: bytes) -> str:
        try:
            text = decoder.decode(data, final=not data)
            if not text.isascii():
                text.encode("utf-32-le")  # refuses lone surrogates, which utf-7 and the like let through
            return text
        except UnicodeDecodeError as error:
            # The decoder's input may begin with bytes kept from the previous chunk; it ends at `_bytes_read`.
            offset = self._bytes_read - len(error.object) + error.start
            wrong = error.object[error.start : error.end]
            raise CorpusError(
                f"{self.source.name}: not {self.encoding} at byte offset {offset} "
                f"(0x{wrong.hex(' ').upper().replace(' ', ' 0x')}: {error.reason}); "
                f"if it is in another encoding, name that one, such as --encoding {self._guess(wrong)}"
            ) from error
        except UnicodeError as error:
            raise CorpusError(
                f"{self.source.name}: cannot be read as {self.encoding}: {error}; "
                "name its encoding with --encoding"
            ) from error

    def _guess(self, wrong: bytes) -> str:
        if self._bytes_read <= self.chunk_bytes and wrong[:1] in (b"\xff", b"\xfe"):
            return "utf-16"
        return "cp1252" if 0x80 <= wrong[0] < 0xA0 else "latin-1"

    def _reject_binary(self, data: bytes) -> None:
        """NUL bytes are common in UTF-16 and UTF-32; in other encodings they mean that the file is not text."""
        if self.encoding.startswith(("utf-16", "utf-32")):
            return
        at = data.find(b"\0")
        if at < 0:
            return
        marked = self._bytes_read == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # In UTF-16, the upper byte of the characters that are common in Western text is NUL.
        nuls = max(data[::2].count(b"\0"), data[1::2].count(b"\0"))
        utf_16 = marked or nuls * 3 > len(data)
        hint = "if it is UTF-16 text, say --encoding utf-16" if utf_16 else "name a text file"
        raise CorpusError(
            f"{self.source.name}: binary data, a NUL byte at byte offset {self._bytes_read + at}; {hint}"
        )


def read_head(sources: Sequence[Source], encoding: str, max_chars: int = 1 << 20) -> str:
    """The beginning of the text, from as many files as it takes to fill `max_chars` characters."""
    head = ""
    for source in sources:
        for text in TextReader(source, encoding):
            head += text[: max_chars - len(head)]
            if len(head) == max_chars:
                return head
        if head and not head.endswith("\n"):
            head += "\n"
    return head


Config = TypeVar("Config", bound=TrainConfig)


def relative_to(config: Config, directory: Path | None) -> Config:
    """The configuration of a stored run, with its paths relative to the current folder; None: of a new run."""
    if directory is None:
        return config
    corpus = tuple(StoredPath(directory / path) for path in config.corpus)
    return replace(
        config, corpus=corpus, valid=None if config.valid is None else StoredPath(directory / config.valid)
    )
