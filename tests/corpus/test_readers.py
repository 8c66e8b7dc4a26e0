"""Readers: what arguments stand for, strict decoding, and errors that say where."""

import bz2
import errno
import gzip
import io
import lzma
import os
import random
import re
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charrnn.config import Encoding
from charrnn.corpus import readers
from charrnn.corpus.readers import (
    PACKED,
    Source,
    TextReader,
    canonical_encoding,
    expand,
    fingerprint,
    opened,
    read_bytes,
    read_head,
)
from charrnn.errors import CorpusError


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def error_of(source: Source, encoding: str = "utf-8", chunk_bytes: int = 1 << 20) -> str:
    with pytest.raises(CorpusError) as caught:
        list(TextReader(source, encoding, chunk_bytes))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(source.name)
    return message


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A file that the examples of one property write over."""
    return Source("some file", tmp_path_factory.mktemp("shared") / "file")


# What arguments stand for


def test_files_and_folders_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("b.txt", "a.txt", ".hidden", "a.txt~", "sub/c.txt", "sub/deep/d.txt", ".git/e.txt", "sub.txt"):
        written(folder / name, b"x")
    (folder / "round").symlink_to(folder)
    single = written(tmp_path / "z.txt", b"x")
    (folder / "sub" / "link.txt").symlink_to(single)
    notes: list[str] = []
    found = expand([single, folder], tmp_path, notes)
    inside = ["a.txt", "b.txt", "sub/c.txt", "sub/deep/d.txt", "sub/link.txt", "sub.txt"]
    assert [source.name for source in found] == [str(single), *(str(folder / name) for name in inside)]
    assert notes == [
        f"{folder}: left out .git, .hidden, a.txt~, … (4 in all): hidden, backups, links to folders, or no files"
    ]


def test_standard_input_can_be_read_again_once_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"h\xc3\xa9\n")))
    (source,) = expand(["-"], tmp_path)
    assert source.name == "standard input"
    for _ in range(2):
        assert list(TextReader(source, "utf-8")) == ["hé\n"]


def fifo(pipe: Path, data: bytes) -> Path:
    """A named pipe into which a thread writes."""
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(data,)).start()
    return pipe


def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    pipe = fifo(tmp_path / "pipe", b"abc" * 100_000)
    (source,) = expand([pipe], tmp_path)
    assert source.name == str(pipe)
    assert source.path.read_bytes() == b"abc" * 100_000


def expand_error(arguments: list[str | Path], spool: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        expand(arguments, spool)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    missing = tmp_path / "missing.txt"
    assert str(missing) in (message := expand_error([missing], tmp_path))
    assert "no such file" in message
    assert "no files in this folder; name" in expand_error([tmp_path / "empty"], tmp_path)
    written(tmp_path / "empty" / "sub" / ".hidden", b"x")
    assert "no files in this folder but sub/.hidden" in expand_error([tmp_path / "empty"], tmp_path)
    assert "/dev/null: neither a file" in expand_error(["/dev/null"], tmp_path)
    assert "no corpus was named" in expand_error([], tmp_path)
    assert "cannot be read" in expand_error(["nul\0byte"], tmp_path)
    below_a_file = written(tmp_path / "file", b"x") / "below"
    assert "cannot be read: Not a directory" in expand_error([below_a_file], tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    assert "only once" in expand_error(["-", "-"], tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    assert "closed" in expand_error(["-"], tmp_path)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> io.FileIO:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(readers, "open", refuse, raising=False)
    assert "cannot be read: Permission denied" in error_of(Source("secret", tmp_path / "secret"))


def test_a_read_that_fails(tmp_path: Path) -> None:
    # Linux opens a folder for reading, but refuses to read from it.
    assert "cannot be read" in error_of(Source("folder", tmp_path))


def test_fingerprint_is_that_of_the_joined_bytes(tmp_path: Path) -> None:
    sources = [Source(name, written(tmp_path / name, name.encode())) for name in ("ab", "c")]
    assert fingerprint(sources).sizes == (2, 1)
    assert fingerprint(sources).sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Decoding


@given(
    st.text(st.sampled_from("ab\r\n é漢😀\ufeff")),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le", "utf-7", "gb18030"]),
    st.integers(1, 9),
)
def test_text_is_that_of_a_whole_decode(shared: Source, text: str, encoding: str, chunk_bytes: int) -> None:
    shared.path.write_bytes(text.encode(encoding))
    reader = TextReader(shared, encoding, chunk_bytes)
    chunks = list(reader)
    assert "" not in chunks
    assert "".join(chunks) == text.removeprefix("\ufeff")
    assert reader.dropped_mark == text.startswith("\ufeff")


@given(st.binary(max_size=12), st.sampled_from(["utf-8", "ascii", "shift_jis", "gb18030"]), st.integers(1, 9))
def test_offset_of_bad_bytes_is_that_of_a_whole_decode(
    shared: Source, data: bytes, encoding: str, chunk_bytes: int
) -> None:
    data = data.replace(b"\0", b"a")
    assume(not any(re.match(magic, data) for magic in PACKED))
    shared.path.write_bytes(data)
    wrong: list[UnicodeDecodeError] = []
    try:
        expected = data.decode(encoding)
    except UnicodeDecodeError as error:
        wrong.append(error)
    if not wrong:
        assert "".join(TextReader(shared, encoding, chunk_bytes)) == expected.removeprefix("\ufeff")
        return
    found = re.search(r"at byte offset (\d+) \(((?:0x\w\w ?)+): ", error_of(shared, encoding, chunk_bytes))
    assert found is not None
    assert int(found[1]) == wrong[0].start
    assert int(found[2].split()[0], 16) == data[wrong[0].start]


def test_bad_bytes_come_with_a_hint(tmp_path: Path) -> None:
    def message_for(data: bytes) -> str:
        return error_of(Source("f.txt", written(tmp_path / "f", data)))

    assert message_for(b"caf\xe9 au lait") == (
        "f.txt: not utf-8 at byte offset 3 (0xE9: invalid continuation byte), line 1; "
        "if it is in another encoding, name that one, such as --encoding latin-1"
    )
    assert "--encoding cp1252" in message_for(b"\x93quoted\x94")
    assert "--encoding utf-16" in message_for("漢字".encode("utf-16"))
    assert "offset 2 (0xC3: unexpected end of data)" in message_for(b"ab\xc3")


def test_binary_data(tmp_path: Path) -> None:
    source = Source("f", written(tmp_path / "f", b"abcde\0\xff"))
    for chunk_bytes in (3, 100):
        assert "binary data, a NUL byte at byte offset 5; name text files alone" in error_of(
            source, chunk_bytes=chunk_bytes
        )
    source.path.write_bytes("plain".encode("utf-16-le"))
    assert "if it is UTF-16 text, say --encoding utf-16" in error_of(source)
    assert list(TextReader(source, "utf-16-le")) == ["plain"]
    source.path.write_bytes("漢字\n".encode("utf-16"))
    assert "if it is UTF-16 text, say --encoding utf-16" in error_of(source)


def lines_with(wrong: bytes, good: str, at: int = 300) -> bytes:
    lines = [f"{good}\n".encode()] * (2 * at)
    return b"".join([*lines[:at], b"it" + wrong + b"s\n", *lines[at:]])


@pytest.mark.parametrize(
    ("data", "encoding", "words"),
    [
        (
            lines_with(b"\x92", "café"),
            "utf-8",
            "mostly UTF-8 text: 1 byte in line 301 is not; `charrnn train --errors",
        ),
        (
            lines_with(b"\x81", "café"),
            "cp1252",
            "1 byte in line 301 is not; `charrnn train --encoding utf-8 --errors",
        ),
        (lines_with(b"\x81", "caf"), "cp1252", "such as --encoding latin-1"),
        ("caf\u0141 \u0410".encode(), "cp1252", "it is UTF-8 text, --encoding utf-8"),
        (lines_with(bytes(4096), "all is well"), "utf-8", "4,096 bytes, the first in line 301, are not; `charrnn"),
        (bytes(4096) + b"all is well\n", "utf-8", "4,096 bytes, the first in line 1, are not"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "utf-8", "byte offset 8; name text files alone"),
        ("odd".encode("utf-16") + b"!", "utf-16", "damaged, cut off, or in another encoding"),
        (b"\xff\xfeabc", "ascii", "such as --encoding utf-16"),
        (bytes(100), "utf-8", "name text files alone"),
        (lines_with(b"\x92", "café") + b"\xe9" * 9000, "utf-8", "such as --encoding cp1252"),
        ("né".encode(), "utf-16", "it is UTF-8 text, --encoding utf-8"),
    ],
)
def test_hints_lead_on(tmp_path: Path, data: bytes, encoding: str, words: str) -> None:
    """The advice never is the encoding that was refused, and an encoding that it is sure of reads the file."""
    source = Source("f", written(tmp_path / "f", data))
    message = error_of(source, encoding)
    assert words in message
    named = re.findall(r"--encoding ([\w-]+)", message)
    assert canonical_encoding(encoding) not in map(canonical_encoding, named)
    if "mostly" in message:
        assert list(TextReader(source, Encoding(named[0] if named else encoding, "skip")))


@given(
    st.lists(st.one_of(st.binary(max_size=4), st.text(max_size=3).map(str.encode)), max_size=5).map(b"".join),
    st.sampled_from(["utf-8", "ascii", "cp1252", "shift_jis", "gb18030", "utf-16-le"]),
    st.integers(1, 9),
)
def test_wrong_bytes_are_replaced_or_skipped(shared: Source, data: bytes, encoding: str, chunk_bytes: int) -> None:
    """As Python's own decoder does it; in the encodings without NUL bytes, these are wrong too."""
    assume(not any(re.match(magic, data) for magic in PACKED))
    shared.path.write_bytes(data)
    skipping = TextReader(shared, Encoding(encoding, "skip"), chunk_bytes)
    replacing = TextReader(shared, Encoding(encoding, "replace"), chunk_bytes)
    texts = ["".join(reader) for reader in (skipping, replacing)]
    wide = encoding == "utf-16-le"
    expected = [data.decode(encoding, errors) for errors in ("ignore", "replace")]
    expected = [
        text if wide else text.replace("\0", put) for text, put in zip(expected, ("", "\ufffd"), strict=True)
    ]
    assert texts == [text.removeprefix("\ufeff") for text in expected]
    assert skipping.num_wrong == replacing.num_wrong
    try:
        valid = wide or "\0" not in data.decode(encoding)
        data.decode(encoding)
    except UnicodeDecodeError:
        valid = False
    assert (skipping.num_wrong == 0) == valid
    if encoding == "ascii":
        assert skipping.num_wrong == sum(not 0 < byte < 128 for byte in data)


# Compression


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lambda data: lzma.compress(data, preset=0)}


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_compressed_file_is_read_as_its_content(tmp_path: Path, kind: str) -> None:
    text = "né\n" * 1000
    for data in (COMPRESS[kind](text.encode()), COMPRESS[kind](b"n") + COMPRESS[kind](text.encode()[1:])):
        source = Source("f", written(tmp_path / "f", data))
        for chunk_bytes in (7, 1 << 20):
            assert "".join(TextReader(source, "utf-8", chunk_bytes)) == text
        plain = Source("g", written(tmp_path / "g", text.encode()))
        assert fingerprint([source]) == fingerprint([plain])
        with opened(str(source.path)) as read_once:
            assert b"".join(read_bytes(read_once)) == text.encode()
        (spooled,) = expand([fifo(tmp_path / f"pipe-{len(data)}", data)], tmp_path)
        assert spooled.path.read_bytes() == text.encode()
    source.path.write_bytes(COMPRESS[kind](b""))
    assert list(TextReader(source, "utf-8")) == []


@pytest.mark.parametrize("kind", COMPRESS)
def test_damaged_compressed_files(tmp_path: Path, kind: str) -> None:
    data = COMPRESS[kind](random.Random(0).randbytes(3000).hex().encode())
    middle = len(data) // 2
    for damaged in (data[:-1], data[:middle], data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]):
        message = error_of(Source("f", written(tmp_path / "f", damaged)))
        assert re.match(
            r"f: its compressed data is damaged or incomplete after [\d,]+ bytes of text \(.+\); ", message
        )


@pytest.mark.parametrize("kind", COMPRESS)
def test_decompression_takes_little_memory(tmp_path: Path, kind: str) -> None:
    source = Source("f", written(tmp_path / "f", COMPRESS[kind](b"a" * (16 << 20))))
    tracemalloc.start()
    try:
        assert sum(map(len, read_bytes(source))) == 16 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# Copies


def test_copies_are_named(tmp_path: Path) -> None:
    (tmp_path / "d").hardlink_to(written(tmp_path / "c", b"two"))
    for name, data in (("a", b"one"), ("b", b"one"), ("e", b"three"), ("f", b""), ("g", b"")):
        written(tmp_path / name, data)
    sources = [Source(name, tmp_path / name) for name in "abcdefge"]
    assert fingerprint(sources).copies(sources) == ["the same text is read twice: a and b, c and d, e and e"]
    assert fingerprint(sources[1:4:2]).copies(sources[1:4:2]) == []
    assert fingerprint(sources[:1]).copies(sources[:1]) == []


def test_text_that_is_not_unicode(tmp_path: Path) -> None:
    source = Source("f", written(tmp_path / "f", b"a+2AA-b"))
    assert "surrogates not allowed" in error_of(source, "utf-7")
    source.path.write_bytes(b"no mark")
    assert "utf-16" in error_of(source, "utf-16")


@pytest.mark.parametrize("name", ["klingon", "hex", "rot13", "", "utf-8\0", "\ud800"])
def test_unknown_encodings(name: str) -> None:
    with pytest.raises(CorpusError, match="no text encoding of that name"):
        canonical_encoding(name)


def test_names_of_one_encoding_are_one() -> None:
    assert canonical_encoding("UTF8") == canonical_encoding("u8") == "utf-8"


def test_head_takes_what_it_needs_of_each_file(tmp_path: Path) -> None:
    sources = [Source(name, written(tmp_path / name, name.encode())) for name in ("ab", "cd", "ef")]
    assert read_head(sources, "utf-8") == "ab\ncd\nef\n"
    assert [read_head(sources, "utf-8", n) for n in range(1, 6)] == ["a", "ab", "ab\n", "ab\nc", "ab\ncd"]
