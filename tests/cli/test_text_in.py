"""Whatever text a command reads for a run, it reads as the run reads its corpus."""

import bz2
import gzip
import hashlib
import lzma
import os
import threading
from pathlib import Path

import pytest
from helpers_cli import NAMES, fail, invoke, json_lines, succeed, train
from helpers_corpus import texts_of

import charrnn
from charrnn.checkpoint import RunDirectory
from charrnn.cli.prompt import encoding_for, read_prompt
from charrnn.config import Encoding, RunRecord
from charrnn.corpus.encoded import encode
from charrnn.corpus.kept import keep_standard_input
from charrnn.tasks.generate.data import training_text

TEXT = "".join(f"{name}\n" for name in NAMES)
WRONG = TEXT.replace("c", "\udcff", 3).encode(errors="surrogateescape")
"""Three bytes of it are not UTF-8."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "latin.txt").write_bytes(TEXT.encode("latin-1"))
    (folder / "utf.txt").write_bytes(TEXT.encode())
    (folder / "mark.txt").write_bytes(TEXT.encode("utf-8-sig"))
    (folder / "wrong.txt").write_bytes(WRONG)
    table = "".join(f"{'long' if len(name) > 3 else 'short'}\t{name}\n" for name in NAMES)
    (folder / "latin.tsv").write_bytes(table.encode("latin-1"))
    (folder / "names.gz").write_bytes(gzip.compress(TEXT.encode()))
    by_kind = ("--context", "1", "--encoding", "latin-1", "--name", "latin")
    train(folder / "runs", folder / "latin.tsv", *by_kind, steps=1)
    train(folder / "runs", folder / "names.gz", "--name", "utf", steps=1)
    train(folder / "runs", folder / "wrong.txt", "--errors", "skip", "--name", "skip", steps=1)
    return folder


def run(command: str, folder: Path, *arguments: str | Path, stdin: bytes | None = None):
    return succeed(command, *arguments, "--checkpoints", folder / "runs", stdin=stdin)


def record(folder: Path, name: str) -> RunRecord:
    return RunDirectory(folder / "runs" / name).read_run(RunRecord)


def pipe(path: Path, data: bytes) -> Path:
    """A named pipe, as the shell makes one for <(...), into which a thread writes."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,)).start()
    return path


# Encodings


@pytest.mark.parametrize(("command", "key"), [(("score", "--given", "long"), "text"), (("predict",), "input")])
def test_lines_are_read_in_the_encoding_of_the_run(
    folder: Path, tmp_path: Path, command: tuple[str, ...], key: str
) -> None:
    name, *flags = command
    flags += ["--json", "latin"]
    model, data = charrnn.load(folder / "runs" / "latin"), TEXT.encode("latin-1")
    expected = model.score(NAMES, None, "long") if name == "score" else model.predict(NAMES)
    figure = "nll" if name == "score" else "probability"
    ways = [
        run(name, folder, *flags, folder / "latin.txt"),
        run(name, folder, *flags, stdin=data),
        run(name, folder, *flags, pipe(tmp_path / "pipe", gzip.compress(data))),
        run(name, folder, *flags, folder / "utf.txt", "--encoding", "utf8"),
    ]
    wanted = [getattr(found, figure) for found in expected]
    for way, result in enumerate(ways):
        lines = json_lines(result)
        assert [line[key] for line in lines] == NAMES
        assert [line[figure] for line in lines] == pytest.approx(wanted)
        assert ("reading latin-1, as the run did (--encoding)" in result.stderr) == (way < 3)
    assert run(name, folder, "-q", *flags, folder / "latin.txt").stderr == ""


def test_json_lines_are_utf_8(folder: Path) -> None:
    """What `sample --json` writes is, whatever the corpus."""
    flags = ("--given", "long", "--jsonl", "--json")
    (found,) = json_lines(run("score", folder, "latin", *flags, stdin='{"text":"é"}'.encode()))
    assert (found["text"], found["num_oov"]) == ("é", 0)


def test_an_encoding_that_does_not_fit(folder: Path) -> None:
    arguments = ("predict", "latin", folder / "latin.txt", "--checkpoints", folder / "runs", "--encoding")
    assert "latin.txt: not utf-8 at byte offset" in invoke(*arguments, "utf-8").stderr.splitlines()[-1]
    assert "no text encoding of that name" in fail(3, *arguments, "klingon")


def test_prompts_are_read_as_the_run_reads(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = encoding_for(charrnn.load(folder / "runs" / "latin").path)
    assert (encoding, encoding.errors) == ("latin-1", "strict")
    assert encoding_for(charrnn.load(folder / "runs" / "skip").path).errors == "skip"
    (tmp_path / "p").write_bytes(b"d\xe9\n")
    assert read_prompt(f"@{tmp_path / 'p'}", ("d",), encoding) == "dé"
    flags = ("--given", "long", "--num-chars", "3", "--json", "--prompt", f"@{tmp_path / 'p'}")
    assert json_lines(run("sample", folder, "latin", *flags))[0]["prompt"] == "dé"
    assert read_prompt(f"@{pipe(tmp_path / 'pipe', bz2.compress(b'd'))}", ("d",), encoding) == "d"
    (tmp_path / "p").write_bytes(b"\xef\xbb\xbfd\xff")
    assert read_prompt(f"@{tmp_path / 'p'}", ("d",), Encoding("utf-8", "skip")) == "d"


# Notes


def test_score_says_what_reading_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mac.txt").write_bytes(b"ab\rcd\r")
    (tmp_path / "both.txt").write_bytes(b"ab\ncd\r\n")
    marked = run("score", folder, "utf", folder / "mark.txt")
    assert marked.stdout == run("score", folder, "utf", folder / "utf.txt").stdout
    assert marked.stderr == f"{folder / 'mark.txt'}: dropped the byte order mark at the beginning\n"
    assert "as in old Mac files" in run("score", folder, "utf", tmp_path / "mac.txt").stderr
    assert run("score", folder, "utf", tmp_path / "both.txt").stderr.endswith("line ends are both LF and CRLF\n")
    assert run("score", folder, "-q", "utf", folder / "mark.txt").stderr == ""
    skipped = run("score", folder, "skip", folder / "wrong.txt")
    assert "wrong.txt: 3 bytes not utf-8 text, left out (--errors)" in skipped.stderr
    assert [line.split("\t")[2] for line in skipped.stdout.splitlines()] == TEXT.replace("c", "", 3).splitlines()


def test_eval_says_what_reading_found(folder: Path) -> None:
    marked, plain = (
        json_lines(run("eval", folder, "skip", folder / name, "--json"))[0] for name in ("mark.txt", "utf.txt")
    )
    assert marked["nll"] == plain["nll"]
    dropped = f"{folder / 'mark.txt'}: dropped the byte order mark at the beginning"
    assert marked["notes"] == [dropped, *plain["notes"]]
    (found,) = json_lines(run("eval", folder, "skip", folder / "wrong.txt", "--json"))
    assert found["notes"][0] == f"{folder / 'wrong.txt'}: 3 bytes not utf-8 text, left out (--errors)"


# Compressed files


def test_a_compressed_corpus_is_its_content(folder: Path, tmp_path: Path) -> None:
    """In training, for a run that is resumed or evaluated, and compressed in another way since."""
    assert record(folder, "utf").corpus_sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert record(folder, "utf").corpus_bytes == len(TEXT.encode())
    expected = texts_of(training_text(record(folder, "utf"), folder / "runs").corpus.sequences)
    assert expected == NAMES
    (tmp_path / "names").write_bytes(lzma.compress(TEXT.encode()))
    (found,) = json_lines(run("eval", folder, "utf", tmp_path / "names", "--json"))
    assert (found["num_sequences"], found["num_bytes"]) == (len(NAMES), len(TEXT.encode()) - len(NAMES))
    assert found["baselines"], "the corpus of the run has not changed"
    (folder / "names.gz").write_bytes(bz2.compress(TEXT.encode()))
    assert training_text(record(folder, "utf"), folder / "runs").corpus.files == (str(folder / "names.gz"),)
    assert "finished already" in run("train", folder, "--resume", "--name", "utf").output


def test_a_damaged_compressed_file_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    runs = ("--checkpoints", folder / "runs")
    for arguments in (("train",), ("eval", "utf")):
        assert "cut.gz: its compressed data is damaged or incomplete" in fail(
            3, *arguments, tmp_path / "cut.gz", *runs
        )


# Bytes that are not text


@pytest.mark.parametrize("errors", ["skip", "replace"])
def test_wrong_bytes_are_counted_in_a_note(folder: Path, errors: str) -> None:
    encoding = Encoding("utf-8", errors)  # type: ignore[arg-type]
    for _ in range(2):  # what was kept of the first time says the same
        corpus = encode([folder / "wrong.txt"], split="line", encoding=encoding, cache=folder / "cache")
        put = "left out" if errors == "skip" else "replaced by U+FFFD"
        assert corpus.notes == (f"{folder / 'wrong.txt'}: 3 bytes not utf-8 text, {put} (--errors)",)
        instead = "" if errors == "skip" else "\ufffd"
        assert texts_of(corpus.sequences) == TEXT.replace("c", instead, 3).splitlines()


def test_a_run_that_skips_goes_on_so(folder: Path) -> None:
    assert record(folder, "skip").config.errors == "skip"
    assert set(charrnn.load(folder / "runs" / "skip").saved.vocabulary.symbols) <= set(TEXT)
    found = training_text(record(folder, "skip"), folder / "runs").corpus.sequences
    assert texts_of(found) == TEXT.replace("c", "", 3).splitlines()
    stated = fail(
        2, "train", "--resume", "--name", "skip", "--errors", "replace", "--checkpoints", folder / "runs"
    )
    assert "was begun with" in stated


def test_a_table_skips_too(folder: Path, tmp_path: Path) -> None:
    lines = WRONG.splitlines(keepends=True)
    (tmp_path / "pairs.tsv").write_bytes(b"".join(b"%d\t" % (k % 2) + line for k, line in enumerate(lines)))
    flags = ("--task", "classify", "--errors", "skip", "--name", "p")
    train(tmp_path / "runs", tmp_path / "pairs.tsv", *flags, steps=1)
    expected = TEXT.replace("c", "", 3).splitlines()
    lines = json_lines(run("predict", tmp_path, "--json", "p", folder / "wrong.txt"))
    assert [line["input"] for line in lines] == expected
    assert json_lines(run("eval", tmp_path, "p", tmp_path / "pairs.tsv", "--json"))
    assert json_lines(run("eval", tmp_path, "p", "--part", "train", "--json"))


def test_strict_is_the_default(folder: Path) -> None:
    message = fail(3, "train", folder / "wrong.txt", "--checkpoints", folder / "runs")
    assert "`charrnn train --errors skip`" in message


# Folders and pipes


def test_folders_and_copies_are_noted(tmp_path: Path) -> None:
    for name in ("b.txt", "sub/a.txt", "sub/b.txt", ".git/x", "a.txt~"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(f"{Path(name).stem}\n")
    tree = tmp_path / "tree"
    corpus = encode([tree], split="line")
    assert texts_of(corpus.sequences) == ["b", "a", "b"]
    assert corpus.notes == (
        f"{tree}: left out .git, a.txt~: hidden, backups, links to folders, or no files",
        f"the same text is read twice: {tree}/b.txt and {tree}/sub/b.txt",
    )


def test_pipes_are_kept(tmp_path: Path) -> None:
    data = TEXT.encode()
    paths = [pipe(tmp_path / f"{way}", packed) for way, packed in enumerate((data, gzip.compress(data)))]
    kept = keep_standard_input((str(paths[0]), "other.txt", str(paths[1])), tmp_path)
    assert kept == (kept[0], "other.txt", kept[0])
    assert Path(kept[0]).read_bytes() == data
    assert Path(kept[0]).name == f"pipe-{hashlib.sha256(data).hexdigest()[:12]}.txt"


def test_the_text_of_a_run_on_a_pipe_can_be_read_again(tmp_path: Path) -> None:
    valid = pipe(tmp_path / "valid", TEXT.encode())
    train(tmp_path / "runs", pipe(tmp_path / "pipe", TEXT.encode()), "--valid", valid, "--name", "piped", steps=1)
    (tmp_path / "pipe").unlink()
    valid.unlink()
    assert texts_of(training_text(record(tmp_path, "piped"), tmp_path / "runs").corpus.sequences) == NAMES
    assert record(tmp_path, "piped").corpus_files[0].startswith(str(tmp_path / "runs" / ".corpus" / "pipe-"))


def test_what_is_read_has_the_form_of_the_run(tmp_path):
    (tmp_path / "p").write_text("cafe\u0301", encoding="utf-8")
    form = Encoding("utf-8", normalize="nfc")
    for argument in ("cafe\u0301", f"@{tmp_path / 'p'}"):
        assert read_prompt(argument, ("c",), form) == "café"
        assert read_prompt(argument, ("c",)) == "cafe\u0301"


def test_score_and_eval_say_what_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("né\nça\n" * 40)
    train(tmp_path / "runs", tmp_path / "corpus.txt", "--name", "nfc", steps=1)
    (tmp_path / "nfd.txt").write_text("ne\u0301\n")
    assert "--normalize nfc" in run("score", tmp_path, "nfc", tmp_path / "nfd.txt").stderr
    (tmp_path / "n.jsonl").write_text('{"text": "na"}\n{"text": "ça"}\n')
    (found,) = json_lines(run("eval", tmp_path, "nfc", tmp_path / "n.jsonl", "--json"))
    assert "each line is a JSON object" in found["notes"][0]
