"""Tables as tasks read them: the same rows in whatever form they are written, of the kinds that were asked for."""

import json
from pathlib import Path

import pytest

from charrnn.config import TrainConfig
from charrnn.corpus.symbols import LONGEST
from charrnn.errors import CorpusError
from charrnn.tasks.classify.data import load_labelled
from charrnn.tasks.generate.conditioned import read_texts
from charrnn.tasks.rows.data import read_pairs
from charrnn.tasks.rows.pairs import load_pairs, read_pair_table
from charrnn.tasks.tree.data import TreeReader, load_trees

ROWS = [("0.5", "spam", 'say "a"'), ("1.5", "ham", "b, c; d|e"), ("NA", "SPAM", "f\ng"), ("-2.5", "spam", "h")]
"""Size, kind, text."""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def quoted(delimiter: str, rows: list[tuple[str, ...]]) -> str:
    return "".join(delimiter.join('"' + x.replace('"', '""') + '"' for x in row) + "\r\n" for row in rows)


@pytest.fixture(params=["csv", "semicolons", "pipes", "tsv", "jsonl", "spreadsheet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """ROWS in a form, with a header."""
    rows = [("size", "kind", "text"), *ROWS]
    if request.param == "jsonl":
        objects = [{"size": None if a == "NA" else float(a), "kind": b, "text": c} for a, b, c in ROWS]
        return write(tmp_path / "t.jsonl", "".join(json.dumps(fields) + "\n" for fields in objects))
    if request.param == "spreadsheet":
        padded = [(f" {a} ".replace(".", ","), f"{b} ", c, "") for a, b, c in rows]
        return write(tmp_path / "t.csv", "\ufeffsep=;\r\n" + quoted(";", padded) + ";;;\r\n" * 3)
    delimiter = {"csv": ",", "semicolons": ";", "pipes": "|", "tsv": "\t"}[request.param]
    return write(tmp_path / "t.csv", quoted(delimiter, rows))


def test_labels_that_are_numbers(table):
    found, label, text = read_pairs([table], "size", "text", encoding="utf-8")
    assert (label, text) == ("size", "text")
    assert found.column("size") == ["0.5", "1.5", "-2.5"]
    assert found.column("text") == ['say "a"', "b, c; d|e", "h"]
    assert any(note.startswith("size: left out 1 row without a number") for note in found.notes)


def test_a_kind_that_was_asked_for(table):
    found, label, _ = read_pairs([table], "size:category", "text", encoding="utf-8")
    assert label == "size"
    assert len(found) == 4
    assert not any("without a number" in note for note in found.notes)


def test_labels_that_are_categories(table):
    found, _, _ = read_pairs([table], "kind", "text", encoding="utf-8")
    assert found.column("kind") == ["spam", "ham", "SPAM", "spam"]
    assert "kind: 'SPAM' (1) and 'spam' (2) differ only by case or Unicode form" in found.notes


def test_texts_that_are_conditioned_on_columns(table):
    found = read_texts([table], ["size", "kind"], None, encoding="utf-8")
    assert found.column == "text"
    assert [found.sequences(()).get(k) for k in range(3)] == ['say "a"', "b, c; d|e", "h"]
    assert found.table.column("kind") == ["spam", "ham", "spam"]
    assert len(read_texts([table], ["size:category"], "text", encoding="utf-8").table) == 4
    with pytest.raises(CorpusError, match="cannot be both"):
        read_texts([table], ["size"], "size ", encoding="utf-8")


def test_pairs_that_are_conditioned_on_columns(table):
    found = read_pair_table([table], "text", "kind", ["size"], encoding="utf-8")
    assert found.texts("text") == ['say "a"', "b, c; d|e", "h"]
    assert [text.strip() for text in found.texts("kind")] == ["spam", "ham", "spam"]
    with pytest.raises(CorpusError, match="columns of their own"):
        read_pair_table([table], "kind", "text", ["text:category"], encoding="utf-8")


@pytest.mark.parametrize("gap", ["NA", "", "n/a", "None", "-"])
def test_few_whole_numbers_are_numbers_where_it_was_asked(tmp_path, gap):
    path = write(tmp_path / "t.csv", f"stars,text\n1,a\n{gap},b\n5,c\n")
    assert len(read_pairs([path], "stars", "text", encoding="utf-8")[0]) == 3
    assert read_pairs([path], "stars:number", "text", encoding="utf-8")[0].column("stars") == ["1", "5"]


def test_a_validation_file_is_read_with_the_kinds_of_the_training_text(tmp_path):
    """Its own values would make the column a category, and its form is another."""
    rows = "".join(f"a{k}\tb{k}\t{k / 10}\n" for k in range(40))
    corpus = write(tmp_path / "t.tsv", f"from\tto\tsize\n{rows}")
    valid = write(tmp_path / "v.csv", "from;to;size\na1;b1;2\na3;b3;NA\na2;b2;3\n")
    config = TrainConfig(
        corpus=(corpus,),
        valid=valid,
        task="transduce",
        source_column="from",
        target_column="to",
        context=("size",),
    )
    dataset = load_pairs(config)
    (column,) = dataset.columns
    assert dataset.valid.sources == ["a1", "a2"]
    assert dataset.valid.contexts is not None
    assert dataset.valid.contexts[:, 0] * column.scale + column.mean == pytest.approx([2, 3])
    assert f"size: left out 1 row without a number, the first with 'NA' in {valid}, line 3" in dataset.notes
    assert f"{valid}: its fields are between semicolons, as its first lines show" in dataset.notes


def long_table(folder: Path, text: str, other: str) -> tuple[TrainConfig, TrainConfig]:
    """A configuration of a table of 41 rows, the second of which has the text, and of one that has it in all."""
    rows = [f"{'xy'[k % 2]}\t{other}\n" for k in range(40)]
    one = write(folder / "one.tsv", "".join([rows[0], f"y\t{text}\n", *rows[1:]]))
    every = write(folder / "every.tsv", f"x\t{text}\ny\t{text}\n" + rows[0])
    return TrainConfig(corpus=(one,)), TrainConfig(corpus=(every,))


@pytest.mark.parametrize("task", ["classify", "transduce", "tree", "nodes"])
def test_rows_of_too_many_symbols_are_left_out(tmp_path, task):
    """A row of as many as can be read stays, however many characters it has."""
    leaf = {"tree": "ab ", "nodes": "(x ab) "}.get(task, "ab ")
    around = {"tree": "( {})", "nodes": "(y {})"}.get(task, "{}")

    def load(config: TrainConfig):
        settings = vars(config) | {"task": "tree" if task == "nodes" else task}
        if task == "classify":
            return load_labelled(TrainConfig(**settings | {"source_sep": " "}))
        if task == "transduce":
            return load_pairs(TrainConfig(**settings | {"source_sep": " ", "target_sep": " "}))
        inner = {"node_labels": True, "text_column": "2"} if task == "nodes" else {}
        reader = TreeReader(node_labels=task == "nodes", pairs=True, characters=False)
        return load_trees(TrainConfig(**settings | inner), reader)

    for extra in (0, 1):
        one, every = long_table(tmp_path, around.format(leaf * (LONGEST + extra)), around.format(leaf * 2))
        dataset = load(one)
        assert sum(map(len, (dataset.train, dataset.valid, dataset.test))) == 41 - extra
        note = f"column 2: left out 1 row of more than 10,000 symbols, the first in {tmp_path / 'one.tsv'}, line 2"
        assert (note in dataset.notes) == bool(extra)
    with pytest.raises(CorpusError, match=r"column 2: has 2 rows of more than 10,000 symbols.* 3 in all"):
        load(every)
