"""The one way in for text: opens what a user names, unpacks it and decodes it, chunk by chunk.

Handles files, folders, pipes, compression (gzip, bzip2, xz) and encodings, not sequences or alphabets. Line ends
are left as they are.
"""

import bz2
import codecs
import gzip
import hashlib
import lzma
import os
import re
import stat
import sys
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from charrnn.config import Encoding, TrainConfig
from charrnn.errors import CorpusError
from charrnn.words import count

CHUNK_BYTES = 1 << 20
STANDARD_INPUT = "standard input"
BYTE_ORDER_MARK = "\ufeff"
MOST_NAMED = 3
"""The most files that one note names."""

PACKED: dict[bytes, Callable[[Any], BufferedIOBase]] = {
    rb"\x1f\x8b\x08": lambda file: gzip.GzipFile(fileobj=file),
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": bz2.BZ2File,
    rb"\xfd7zXZ\0": lzma.LZMAFile,
}
"""What compressed files begin with, whatever their names (a pattern), and what reads them."""


class Source(NamedTuple):
    """A regular file, which can be read repeatedly, and its name in messages."""

    name: str
    path: Path


class Stream(NamedTuple):
    """What is read once, as its bytes arrive, and its name in messages."""

    name: str
    stream: BufferedReader


class StoredPath(str):
    """A path that a stored run names: it may lead to a file or a folder, but not to a pipe.

    A new run may read a pipe, which its user has just named; a stored run could wait for one without end.
    """


def expand(arguments: Sequence[str | Path], spool: Path, notes: list[str] | None = None) -> list[Source]:
    """The files that `arguments` name, in order.

    A folder means the regular files in it and in its subfolders, sorted by name, without hidden ones, backups of
    editors (`a.txt~`) and links to folders; `notes` gets a line on what was left out. `-` means standard input.
    Standard input and pipes can be read only once, so their content is copied into the folder `spool`.
    Raises CorpusError for an argument that is missing, unreadable, a folder without files, or another kind of
    file.
    """
    sources: list[Source] = []
    for argument in arguments:
        path = Path(argument)
        mode = stat.S_IFIFO if str(argument) == "-" else stat.S_IFMT(_mode(path))
        if isinstance(argument, StoredPath) and mode not in (stat.S_IFREG, stat.S_IFDIR):
            raise CorpusError(f"{path}: the run read a file or a folder here; put it back")
        if mode == stat.S_IFDIR:
            files, left_out = _files_in(path)
            sources += [Source(str(file), file) for file in files]
            if notes is not None and left_out:
                notes.append(
                    f"{path}: left out {_named(left_out)}: hidden, backups, links to folders, or no files"
                )
        elif mode == stat.S_IFREG:
            sources.append(Source(str(path), path))
        elif mode == stat.S_IFIFO:
            with opened(str(argument)) as stream:
                if any(source.name == stream.name for source in sources):
                    raise CorpusError(f"{argument}: {stream.name} can be read only once; name it once")
                copy = spool / f"spool-{len(sources)}"
                with copy.open("wb") as file:
                    for data in read_bytes(stream):
                        file.write(data)
                sources.append(Source(stream.name, copy))
        else:
            raise CorpusError(f"{path}: neither a file, a folder nor a pipe; name a text file")
    if not sources:
        raise CorpusError("no corpus was named; name text files, a folder of them, or - for standard input")
    return sources


@contextmanager
def opened(argument: str | None) -> Iterator[Source | Stream]:
    """A file that is to be read once; of a pipe, or of standard input (`-`, None), the bytes as they arrive.

    Raises CorpusError.
    """
    if argument in (None, "-"):
        if sys.stdin is None:
            raise CorpusError("-: standard input is closed; name a file")
        stream: Any = sys.stdin.buffer
        yield Stream(STANDARD_INPUT, stream if isinstance(stream, BufferedReader) else BufferedReader(stream))
    elif os.path.isfile(argument := str(argument)):
        yield Source(argument, Path(argument))
    else:
        with _open(argument, argument) as file:
            yield Stream(argument, file)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path}: no such file or folder; name text files, a folder of them, or - for standard input"
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error


def _files_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The files in a folder and its subfolders, and what beside them was left out, relative to the folder."""
    files: list[Path] = []
    left_out = []
    try:
        pending = sorted(folder.iterdir(), reverse=True)
        while pending:
            path = pending.pop()
            aside = path.name.startswith(".") or path.name.endswith("~")
            # A link to a folder may lead round in a circle.
            if not aside and path.is_dir() and not path.is_symlink():
                pending += sorted(path.iterdir(), reverse=True)
            elif not aside and path.is_file():
                files.append(path)
            else:
                left_out.append(str(path.relative_to(folder)))
    except OSError as error:
        raise _unreadable(str(folder), error) from error
    if not files:
        there = f" but {_named(left_out)}" if left_out else ""
        raise CorpusError(f"{folder}: no files in this folder{there}; name one that holds text files")
    return files, left_out


def _named(names: Sequence[str]) -> str:
    """The first of them, and how many there are if that is not all."""
    more = f", … ({len(names):,} in all)" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _unreadable(name: str, error: Exception) -> CorpusError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return CorpusError(f"{name}: cannot be read: {reason}; check the name and its permissions")


def open_source(source: Source) -> BufferedReader:
    """Opens the file; raises CorpusError if that fails or another kind of file has taken its place."""
    file = _open(source.name, source.path, opener=without_waiting)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise CorpusError(f"{source.name}: was replaced by something else than a file while it was read")


def _open(name: str, path: str | Path, opener: Callable[[str, int], int] | None = None) -> BufferedReader:
    try:
        return open(path, "rb", opener=opener)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def without_waiting(path: str | Path, flags: int) -> int:
    """An opener that does not wait for the other end of a pipe that is where a file should be."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def read_bytes(source: Source | Stream, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a text, in non-empty chunks; of a compressed one those of its content.

    Raises CorpusError if they cannot be read, or if compressed data is damaged or incomplete.
    """
    num_bytes = 0
    with open_source(source) if isinstance(source, Source) else nullcontext(source.stream) as file:
        try:
            content = _unpacked(file)
            while data := content.read1(chunk_bytes):
                num_bytes += len(data)
                yield data
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise _unreadable(source.name, error) from error
            raise CorpusError(
                f"{source.name}: its compressed data is damaged or incomplete after {count(num_bytes, 'byte')} of "
                f"text ({error}); fetch it or compress it again"
            ) from error


def _unpacked(file: BufferedReader) -> BufferedIOBase:
    head = file.peek(10)
    return next((unpack(file) for begin, unpack in PACKED.items() if re.match(begin, head)), file)


class Fingerprint(NamedTuple):
    """What identifies the content of files. Compressed files are known by their content too.

    sha256: that of all files' bytes in order, which `cat FILES | sha256sum` prints.
    sizes, of_files: the size and the SHA-256 of each.
    """

    sha256: str
    sizes: tuple[int, ...]
    of_files: tuple[str, ...]

    def copies(self, sources: Sequence[Source]) -> list[str]:
        """A note if some of the files, which are these, hold the same bytes."""
        names = defaultdict(list)
        for source, size, digest in zip(sources, self.sizes, self.of_files, strict=True):
            if size:
                names[digest].append(source.name)
        pairs = [f"{first} and {other}" for first, *others in names.values() for other in others]
        return [f"the same text is read twice: {_named(pairs)}"] if pairs else []


def fingerprint(sources: Sequence[Source]) -> Fingerprint:
    """Reads every file once and identifies its contents without decoding them."""
    digest = hashlib.sha256()
    sizes, of_files = [], []
    for source in sources:
        size, of_file = 0, hashlib.sha256()
        for data in read_bytes(source):
            digest.update(data)
            if len(sources) > 1:
                of_file.update(data)
            size += len(data)
        sizes.append(size)
        of_files.append(of_file.hexdigest())
    return Fingerprint(digest.hexdigest(), tuple(sizes), tuple(of_files))


def canonical_encoding(name: str) -> Encoding:
    """Python's own name for a text encoding, else as `name`; raises CorpusError if there is none."""
    try:
        canonical = codecs.lookup(name).name
        "a".encode(canonical)
    except (LookupError, ValueError) as error:
        raise CorpusError(
            f"--encoding {name!a}: no text encoding of that name; try utf-8, latin-1, cp1252 or utf-16"
        ) from error
    given = Encoding(name)
    return Encoding(canonical, given.errors, given.normalize)


def _in_form(texts: Iterable[str], encoding: Encoding) -> Iterator[str]:
    """The same text in the form of the encoding. What follows a line end or a space is never joined with it."""
    rest = ""
    for text in texts:
        rest += text
        end = 1 + max(rest.rfind("\n"), rest.rfind(" ")) if encoding.normalize != "none" else len(rest)
        yield encoding.in_form(rest[:end])
        rest = rest[end:]
    yield encoding.in_form(rest)


GO_ON = "charrnn.go_on"
"""The name of the error handler of decoders that go on after bytes that are not text."""

_DECODING = threading.local()
"""`reader` is the one whose decoder is at work."""


def _go_on(error: UnicodeError) -> tuple[str, int]:
    found: tuple[str, int] = _DECODING.reader.go_on(error)
    return found


codecs.register_error(GO_ON, _go_on)


class TextReader:
    """Iterates once over a text, in non-empty chunks.

    A leading byte order mark is dropped; `dropped_mark` then is True. `on_bytes` is called with the bytes
    before they are decoded. Bytes that are not text in this encoding, and NUL, are replaced by U+FFFD or skipped
    if the encoding says so, and counted in `num_wrong`; else they raise CorpusError, after the text before them.
    """

    def __init__(
        self,
        source: Source | Stream,
        encoding: str,
        chunk_bytes: int = CHUNK_BYTES,
        on_bytes: Callable[[bytes], object] | None = None,
    ) -> None:
        self.source = source
        self.encoding = canonical_encoding(encoding)
        self.chunk_bytes = chunk_bytes
        self.on_bytes = on_bytes
        self.dropped_mark = False
        self.num_wrong = 0
        self._bytes_read = 0
        self._line = self._wrong_line = 1
        self._strict = self.encoding.errors == "strict"
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict" if self._strict else GO_ON)
        self._instead = "\ufffd" if self.encoding.errors == "replace" else ""
        # NUL bytes are common in UTF-16 and UTF-32; in other encodings they mean that the file is not text.
        self._wide = self.encoding.startswith(("utf-16", "utf-32"))

    def __iter__(self) -> Iterator[str]:
        at_start = True
        for text in _in_form(self._texts(), self.encoding):
            if text and at_start:
                at_start = False
                self.dropped_mark = text.startswith(BYTE_ORDER_MARK)
                text = text.removeprefix(BYTE_ORDER_MARK)
            if text:
                self._line += text.count("\n")
                yield text

    def _texts(self) -> Iterator[str]:
        for data in read_bytes(self.source, self.chunk_bytes):
            if self.on_bytes is not None:
                self.on_bytes(data)
            nul = data.find(b"\0") if self._strict and not self._wide else -1
            if nul < 0:
                yield from self._decode(data)
                continue
            before = self._bytes_read
            if nul:
                with suppress(CorpusError):  # Binary data is seldom text up to its first NUL.
                    yield from self._decode(data[:nul])
            raise self._binary(data, before, nul)
        yield from self._decode(b"")  # Reports a character that the end of the file cuts off.

    def _decode(self, data: bytes) -> Iterator[str]:
        """The text of the next bytes; none means the end of the file."""
        self._bytes_read += len(data)
        _DECODING.reader = self
        try:
            text = self._decoder.decode(data, not data)
            if not text.isascii():
                text.encode("utf-32-le")  # Refuses lone surrogates, which utf-7 and the like let through.
        except UnicodeDecodeError as error:
            self._decoder.setstate((b"", self._decoder.getstate()[1]))
            with suppress(UnicodeError):  # An encoding that is not decoded from the left has no text before.
                yield self._decoder.decode(error.object[: error.start])
            raise self._wrong(error) from error
        except UnicodeError as error:
            raise CorpusError(
                f"{self.source.name}: cannot be read as {self.encoding}: {error}; "
                f"{self._way_on() or 'name its encoding with --encoding'}"
            ) from error
        if not self._strict and not self._wide and "\0" in text:
            self._count(text.count("\0"), lambda: text[: text.index("\0")].count("\n"))
            text = text.replace("\0", self._instead)
        yield text

    def go_on(self, error: UnicodeDecodeError) -> tuple[str, int]:
        """What stands for bytes that are not text, and where the decoder goes on."""
        self._count(error.end - error.start, lambda: error.object.count(b"\n", 0, error.start))
        return self._instead, error.end

    def _count(self, number: int, lines_before: Callable[[], int]) -> None:
        if not self.num_wrong:
            self._wrong_line = self._line + lines_before()
        self.num_wrong += number

    def _wrong(self, error: UnicodeDecodeError) -> CorpusError:
        offset = self._bytes_read - len(error.object) + error.start
        wrong = error.object[error.start : error.end]
        return CorpusError(
            f"{self.source.name}: not {self.encoding} at byte offset {offset} "
            f"(0x{wrong.hex(' ').upper().replace(' ', ' 0x')}: {error.reason}), line {self._line}; "
            f"{self._way_on() or self._other_encoding(wrong, offset)}"
        )

    def _binary(self, data: bytes, before: int, nul: int) -> CorpusError:
        marked = before == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # In UTF-16, the upper byte of the characters that are common in Western text is NUL, the lower is not.
        fewer, more = sorted((data[::2].count(b"\0"), data[1::2].count(b"\0")))
        utf_16 = marked or (more * 3 > len(data) and fewer * 10 < more)
        hint = "if it is UTF-16 text, say --encoding utf-16" if utf_16 else self._way_on()
        return CorpusError(
            f"{self.source.name}: binary data, a NUL byte at byte offset {before + nul}; "
            f"{hint or 'name text files alone'}"
        )

    def _way_on(self) -> str | None:
        """Advice for a file that is UTF-8 but for some bytes; a stream cannot be looked through."""
        if isinstance(self.source, Stream):
            return None
        nuls: list[int] = []
        reader = TextReader(self.source, Encoding("utf-8", "skip"), on_bytes=lambda b: nuls.append(b.count(0)))
        multibyte = 0
        with suppress(CorpusError):
            for text in reader:
                multibyte += len(text.encode()) - len(text)
                if reader.num_wrong - sum(nuls) > multibyte:
                    break
            if reader.num_wrong - sum(nuls) > multibyte or reader.num_wrong == reader._bytes_read:
                return None
            if not reader.num_wrong:
                return "it is UTF-8 text, --encoding utf-8"
            also = "" if self.encoding == "utf-8" else "--encoding utf-8 "
            line = f"in line {reader._wrong_line}"
            where = f" {line} is" if reader.num_wrong == 1 else f", the first {line}, are"
            return (
                f"mostly UTF-8 text: {count(reader.num_wrong, 'byte')}{where} not; "
                f"`charrnn train {also}--errors skip` leaves that out, replace puts U+FFFD there"
            )
        return None

    def _other_encoding(self, wrong: bytes, offset: int) -> str:
        if self._wide:
            return "it is damaged, cut off, or in another encoding; name that one with --encoding"
        marked = offset == 0 and wrong[:1] in (b"\xff", b"\xfe")
        western = ("cp1252", "latin-1") if 0x80 <= wrong[0] < 0xA0 else ("latin-1", "cp1252")
        other = next(name for name in ("utf-16", *western)[not marked :] if name != self.encoding)
        return f"if it is in another encoding, name that one, such as --encoding {other}"


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
