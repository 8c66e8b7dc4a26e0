"""Readers: what arguments stand for, strict decoding, and errors that say where."""

import errno
import io
import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus import readers
from charrnn.corpus.readers import (
    Source,
    TextReader,
    canonical_encoding,
    expand,
    fingerprint,
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
    for name in ("b.txt", "a.txt", ".hidden", "sub/c.txt"):
        written(tmp_path / "folder" / name, b"x")
    single = written(tmp_path / "z.txt", b"x")
    found = expand([single, tmp_path / "folder"], tmp_path)
    assert [source.path.name for source in found] == ["z.txt", "a.txt", "b.txt"]
    assert found[1].name == str(tmp_path / "folder" / "a.txt")


def test_standard_input_can_be_read_again_once_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"h\xc3\xa9\n")))
    (source,) = expand(["-"], tmp_path)
    assert source.name == "standard input"
    for _ in range(2):
        assert list(TextReader(source, "utf-8")) == ["hé\n"]


def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"abc" * 100_000,))
    writer.start()
    (source,) = expand([pipe], tmp_path)
    writer.join()
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
    assert "no files directly in this folder" in expand_error([tmp_path / "empty"], tmp_path)
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
        "f.txt: not utf-8 at byte offset 3 (0xE9: invalid continuation byte); "
        "if it is in another encoding, name that one, such as --encoding latin-1"
    )
    assert "--encoding cp1252" in message_for(b"\x93quoted\x94")
    assert "--encoding utf-16" in message_for("漢字".encode("utf-16"))
    assert "offset 2 (0xC3: unexpected end of data)" in message_for(b"ab\xc3")


def test_binary_data(tmp_path: Path) -> None:
    source = Source("f", written(tmp_path / "f", b"abcde\0\xff"))
    for chunk_bytes in (3, 100):
        assert "binary data, a NUL byte at byte offset 5; name a text file" in error_of(
            source, chunk_bytes=chunk_bytes
        )
    source.path.write_bytes("plain".encode("utf-16-le"))
    assert "if it is UTF-16 text, say --encoding utf-16" in error_of(source)
    assert list(TextReader(source, "utf-16-le")) == ["plain"]
    source.path.write_bytes("漢字\n".encode("utf-16"))
    assert "if it is UTF-16 text, say --encoding utf-16" in error_of(source)


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
