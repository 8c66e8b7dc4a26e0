"""Encoding: equal to Python's own splitting whatever the chunks, bounded in memory, safe on disk."""

import errno
import hashlib
import io
import os
import re
import resource
import shutil
import threading
import tracemalloc
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import numpy as np
import pytest
from helpers_corpus import texts_of
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.config import SPLIT_NAMES, Encoding
from charrnn.corpus import store
from charrnn.corpus.encoded import EncodedCorpus, encode
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import to_text
from charrnn.errors import CorpusError, ResourceError

DATA = Path(charrnn.__file__).parents[1] / "data"

splits = st.sampled_from(SPLIT_NAMES)


def expected_sequences(text: str, split: str) -> list[str]:
    """What the definition says, with regular expressions over the whole text."""
    if split == "file":
        return [text]
    raw = re.findall(r"[^\n]*\n|[^\n]+", text)
    stripped = [re.sub(r"\r?\n\Z", "", line) for line in raw]
    if split == "line":
        return stripped
    blocks = groupby(zip(raw, stripped, strict=True), key=lambda pair: bool(pair[1]))
    return [re.sub(r"\r?\n\Z", "", "".join(line for line, _ in block)) for filled, block in blocks if filled]


@given(
    st.lists(st.text(st.sampled_from("ab\r\n é漢😀\ufeff")), min_size=1, max_size=3),
    splits,
    st.sampled_from(["utf-8", "utf-16", "gb18030"]),
    st.integers(1, 9),
)
def test_equals_splitting_the_whole_text(texts: list[str], split: str, encoding: str, chunk_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        for index, text in enumerate(texts):
            Path(folder, f"{index}.txt").write_bytes(text.encode(encoding))
        contents = [text.removeprefix("\ufeff") for text in texts]
        expected = [expected_sequences(text, split) for text in contents]
        if not any(contents) or not any(expected):
            with pytest.raises(CorpusError, match="empty"):
                encode([folder], split=split, encoding=encoding, chunk_bytes=chunk_bytes)
            return
        corpus = encode([folder], split=split, encoding=encoding, chunk_bytes=chunk_bytes)
    sequences = corpus.sequences
    assert texts_of(sequences) == list(chain(*expected))
    assert corpus.file_offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    joined = "".join(contents)
    assert to_text(sequences.alphabet[sequences.text]) == joined
    assert to_text(sequences.alphabet) == "".join(dict.fromkeys(joined))
    assert corpus.split == split
    encoded = [text.encode(encoding) for text in texts]
    assert corpus.sha256 == hashlib.sha256(b"".join(encoded)).hexdigest()
    assert corpus.num_bytes == sum(map(len, encoded))


def encode_bytes(tmp_path: Path, data: bytes, **options: object) -> EncodedCorpus:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    return encode([path], **{"split": "line", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "dtype"), [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_ids_are_as_wide_as_the_alphabet_needs(tmp_path: Path, size: int, dtype: str) -> None:
    codes = [code for code in range(0x100, 0x100 + size + 2_048) if not 0xD800 <= code < 0xE000][:size]
    text = "".join(map(chr, codes)) * 2
    for chunk_bytes in (1_000, 1 << 20):
        corpus = encode_bytes(tmp_path, text.encode(), chunk_bytes=chunk_bytes)
        assert corpus.sequences.text.dtype == dtype
        assert corpus.sequences.get(0) == text


def test_standard_input_reads_as_a_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "\ufeffone\r\ntwo\n\nthree".encode()
    file = encode_bytes(tmp_path, data, split="auto")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    piped = encode(["-"], split="auto", cache=tmp_path / "cache")
    assert texts_of(piped.sequences) == texts_of(file.sequences)
    assert (piped.sha256, piped.split, piped.split_reason) == (file.sha256, file.split, file.split_reason)
    assert piped.files == ("standard input",)
    assert len(os.listdir(tmp_path / "cache")) == 1


def test_real_text() -> None:
    corpus = encode([DATA / "tinyshakespeare.txt"], split="auto")
    text = (DATA / "tinyshakespeare.txt").read_bytes().decode()
    assert corpus.split == "paragraph"
    assert corpus.separator == "\n\n"
    assert texts_of(corpus.sequences) == expected_sequences(text, "paragraph")
    names = encode([DATA / "names.txt"], split="auto")
    assert names.split == "line"
    assert texts_of(names.sequences) == (DATA / "names.txt").read_text().splitlines()


def notes_of(tmp_path: Path, data: bytes, split: str) -> str:
    return " | ".join(encode_bytes(tmp_path, data, split=split).notes)


def test_notes_say_what_was_done(tmp_path: Path) -> None:
    assert notes_of(tmp_path, b"a\nb\n", "line") == ""
    assert "byte order mark" in notes_of(tmp_path, "\ufeffa\nb".encode(), "line")
    assert "old Mac" in notes_of(tmp_path, b"a\rb\r", "line")
    assert notes_of(tmp_path, b"a\r\nb\r\n", "line") == ""
    assert "CRLF and kept" in notes_of(tmp_path, b"a\r\nb\r\n", "paragraph")
    assert "both LF and CRLF" in notes_of(tmp_path, b"a\r\nb\n", "line")


@pytest.mark.parametrize(
    ("data", "split", "expected"),
    [(b"a\r\nb\r\nc\n", "line", "\r\n"), (b"a\nb\r\n", "line", "\n"), (b"a\r\n", "paragraph", "\r\n\r\n")],
)
def test_separator_follows_most_line_ends(tmp_path: Path, data: bytes, split: str, expected: str) -> None:
    assert encode_bytes(tmp_path, data, split=split).separator == expected


def test_nothing_to_read(tmp_path: Path) -> None:
    for data in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(CorpusError, match=r"corpus\.txt: the corpus is empty"):
            encode_bytes(tmp_path, data)
    with pytest.raises(CorpusError, match="only empty lines"):
        encode_bytes(tmp_path, b"\n\r\n\n", split="paragraph")
    assert texts_of(encode_bytes(tmp_path, b"\n\r\n").sequences) == ["", ""]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"

    def grow(done: int, total: int) -> None:
        if done <= total:
            path.write_bytes(path.read_bytes() + b"more")

    with pytest.raises(CorpusError, match="changed while it was read"):
        encode_bytes(tmp_path, b"text " * 100, progress=grow, chunk_bytes=400)


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    encode_bytes(tmp_path, b"x" * 1000, progress=lambda *state: seen.append(state), chunk_bytes=300)
    assert seen == [(300, 1000), (600, 1000), (900, 1000), (1000, 1000)]


@pytest.mark.parametrize("line", [b"", b"abcdef\n"])
def test_memory_is_bounded(tmp_path: Path, line: bytes) -> None:
    """48 MB as one line, and as seven million lines whose starts and ends alone would take 110 MB."""
    path = tmp_path / "corpus.txt"
    piece = line * (1 << 17) or b"x" * (1 << 20)
    with path.open("wb") as file:
        while file.tell() < 48_000_000:
            file.write(piece)
    tracemalloc.start()
    try:
        corpus = encode([path], split="line", cache=tmp_path)
        assert corpus.sequences.num_chars >= 41_000_000
        assert tracemalloc.get_traced_memory()[1] < 44_000_000
    finally:
        tracemalloc.stop()


# What is kept


def never(done: int, total: int) -> None:
    raise AssertionError("encoded again")


def kept_folder(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


TEXT = "one\ntwo\n\nthré\n".encode()
LINES = ["one", "two", "", "thré"]


def test_the_second_time_it_is_found(tmp_path: Path) -> None:
    cache = tmp_path / "runs" / ".corpus"
    first = encode_bytes(tmp_path, TEXT, cache=cache)
    (tmp_path / "corpus.txt").rename(tmp_path / "renamed.txt")
    again = encode([tmp_path / "renamed.txt"], split="line", cache=cache, progress=never)
    assert texts_of(again.sequences) == texts_of(first.sequences) == LINES
    assert again.files == (str(tmp_path / "renamed.txt"),)
    assert (again.sha256, again.num_bytes, again.separator) == (first.sha256, first.num_bytes, "\n")
    assert again.file_offsets.tolist() == [0, 4]


def test_what_reads_differently_is_kept_apart(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert len(encode_bytes(tmp_path, TEXT, cache=cache).sequences) == 4
    assert len(encode_bytes(tmp_path, TEXT, cache=cache, split="paragraph").sequences) == 2
    assert encode_bytes(tmp_path, TEXT, cache=cache, encoding="latin-1").sequences.get(3) == "thrÃ©"
    for index, part in enumerate((TEXT[:2], TEXT[2:])):
        (tmp_path / f"part{index}").write_bytes(part)
    parts = encode([tmp_path / "part0", tmp_path / "part1"], split="line", cache=cache)
    assert texts_of(parts.sequences) == ["on", "e", "two", "", "thré"]
    assert len(list(cache.iterdir())) == 4


@given(
    st.lists(st.text(st.sampled_from("eé\u0301\u0323 \n한\u1112\u1161\u11ab")), min_size=1, max_size=3),
    st.integers(1, 5),
)
def test_text_in_form_c_is_that_of_the_whole_text(texts: list[str], chunk_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        for index, text in enumerate(texts):
            Path(folder, f"{index}.txt").write_text(text, encoding="utf-8")
        expected = [normalize("NFC", text) for text in texts]
        if any(expected):
            corpus = encode(
                [folder], split="file", encoding=Encoding("utf-8", normalize="nfc"), chunk_bytes=chunk_bytes
            )
            assert texts_of(corpus.sequences) == expected


FORTUNES = b"It is 100% true.\n\n-- Anon\n%\nTwo\nlines\n%\n"


def test_texts_between_marks(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    corpus = encode_bytes(tmp_path, FORTUNES, split="auto", mark="%", cache=cache)
    assert (corpus.split, corpus.separator) == ("mark", "\n%\n")
    assert texts_of(corpus.sequences) == ["It is 100% true.\n\n-- Anon", "Two\nlines"]
    printed = "".join(text + corpus.separator for text in texts_of(corpus.sequences))
    assert printed.encode() == FORTUNES
    again = encode_bytes(tmp_path, FORTUNES, split="mark", mark=corpus.separator, cache=cache, progress=never)
    assert texts_of(again.sequences) == texts_of(corpus.sequences)
    anywhere = encode_bytes(tmp_path, FORTUNES, split="mark", mark="%", cache=cache)
    assert texts_of(anywhere.sequences)[0] == "It is 100"
    crlf = encode_bytes(tmp_path, FORTUNES.replace(b"\n", b"\r\n"), split="mark", mark="\n%\n")
    assert crlf.separator == "\r\n%\r\n"
    assert texts_of(crlf.sequences)[1] == "Two\r\nlines"
    with pytest.raises(CorpusError, match="only empty lines and marks"):
        encode_bytes(tmp_path, b"%\n", split="auto", mark="%")


@pytest.mark.parametrize("name", ["header.json", "text.bin", "alphabet.bin", "starts.bin", "ends.bin"])
@pytest.mark.parametrize("damage", ["truncate", "append", "flip", "empty", "delete"])
def test_damage_is_noticed_and_mended(tmp_path: Path, name: str, damage: str) -> None:
    cache = tmp_path / "cache"
    encode_bytes(tmp_path, TEXT, cache=cache)
    victim = kept_folder(cache) / name
    data = victim.read_bytes()
    if damage == "delete":
        victim.unlink()
    else:
        flipped = bytes([data[0] ^ 1]) + data[1:]
        ways = {"truncate": data[:-1], "append": data + b"x", "flip": flipped, "empty": b""}
        victim.write_bytes(ways[damage])
    mended = encode_bytes(tmp_path, TEXT, cache=cache)
    assert texts_of(mended.sequences) == LINES
    assert texts_of(encode_bytes(tmp_path, TEXT, cache=cache, progress=never).sequences) == LINES
    assert kept_folder(cache) == victim.parent


def test_a_folder_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    encode_bytes(tmp_path, TEXT, cache=cache)
    first = kept_folder(cache)
    encode_bytes(tmp_path, b"other\n", cache=cache)
    (second,) = set(cache.iterdir()) - {first}
    shutil.rmtree(second)
    first.rename(second)
    assert texts_of(encode_bytes(tmp_path, b"other\n", cache=cache).sequences) == ["other"]


def test_arrays_outlive_their_files(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    corpus = encode_bytes(tmp_path, TEXT, cache=cache)
    shutil.rmtree(cache)
    assert texts_of(corpus.sequences) == LINES


def test_many_may_encode_the_same_at_once(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_bytes(TEXT * 1000)
    start, results = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        results.append(encode([tmp_path / "corpus.txt"], split="line", cache=tmp_path / "cache"))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [len(corpus.sequences) for corpus in results] == [4000] * 8
    assert store.load(kept_folder(tmp_path / "cache"), kept_folder(tmp_path / "cache").name) is not None


def test_without_a_place_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert texts_of(encode_bytes(tmp_path, TEXT, cache=tmp_path / "file" / "cache").sequences) == LINES


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "corpus.txt").write_bytes(TEXT * 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ResourceError, match=re.escape(os.strerror(errno.EFBIG))):
            encode([tmp_path / "corpus.txt"], split="line", cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache.iterdir()) == []


def test_a_bad_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="byte offset 8"):
        encode_bytes(tmp_path, b"fine so \xff", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    with workspace(tmp_path) as abandoned:
        pass
    abandoned.mkdir()
    (abandoned / "text.bin").write_bytes(b"half")
    (tmp_path / "kept").mkdir()
    with workspace(tmp_path) as first, workspace(tmp_path) as second:
        assert {path.name for path in tmp_path.iterdir()} == {"kept", first.name, second.name}
