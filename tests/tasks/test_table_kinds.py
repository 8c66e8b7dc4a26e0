"""The kind of a column that was asked for, or that a model has, is that in which every table of its is read."""

import json
from pathlib import Path

import pytest
from helpers_cli import succeed, train

from charrnn.config import TrainConfig
from charrnn.tasks.classify.data import load_labelled
from charrnn.tasks.generate.data import load_dataset

FRACTIONS = "".join(f"{k / 10}\t{'ab' * (k % 7)}a{k}\n" for k in range(60))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("kind", "num_rows", "is_number"), [("", 60, True), (":number", 60, True), (":category", 61, False)]
)
def test_a_label_of_numbers_with_a_gap(tmp_path, kind, num_rows, is_number):
    path = write(tmp_path / "t.tsv", f"size\ttext\nNA\tb\n{FRACTIONS}")
    dataset = load_labelled(
        TrainConfig(corpus=(path,), task="classify", label_column=f"size{kind}", text_column="text")
    )
    assert sum(len(dataset.part(name)) for name in ("train", "valid", "test")) == num_rows
    assert (dataset.label.values == ()) == is_number
    conditioned = load_dataset(TrainConfig(corpus=(path,), context=(f"size{kind}",)), tmp_path)
    assert len(conditioned.corpus.sequences) == num_rows
    assert (conditioned.columns[0].values == ()) == is_number


@pytest.mark.parametrize("options", [("--task", "classify", "--label-column", "size"), ("--context", "size")])
def test_eval_reads_a_file_with_the_kinds_of_the_model(tmp_path, options):
    """Alone, its few whole numbers would be categories."""
    corpus = Path(write(tmp_path / "t.tsv", f"size\ttext\n{FRACTIONS}"))
    other = write(tmp_path / "other.csv", "size;text\n1;aba1\nNA;aba2\n3;aba3\n")
    train(tmp_path / "runs", corpus, *options, "--name", "sized", steps=1)
    (found,) = [json.loads(succeed("eval", "sized", other, "--checkpoints", tmp_path / "runs", "--json").stdout)]
    assert (found["numbers"]["num_examples"] if "numbers" in found else found["num_sequences"]) == 2


def test_a_table_read_as_plain_text_is_told(tmp_path):
    path = write(tmp_path / "t.jsonl", "".join(f'{{"id": {k}, "text": "a{k}"}}\n' for k in range(40)))
    note = f"{path}: each line is a JSON object, read as plain text; --text-column KEY reads one of id, text"
    assert note in load_dataset(TrainConfig(corpus=(path,)), tmp_path).notes
    dataset = load_dataset(TrainConfig(corpus=(path,), text_column="text"), tmp_path)
    assert note not in dataset.notes
    assert dataset.corpus.sequences.get(3) == "a3"
