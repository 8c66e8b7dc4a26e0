"""`predict` of tables, of lines that cannot be read, and of the next character."""

import csv
import io
import itertools
import json
import math
import random
from pathlib import Path

import pytest
from helpers_cli import fail, invoke, json_lines, succeed, train
from helpers_models import ENDINGS

import charrnn
from charrnn.corpus.symbols import LONGEST
from charrnn.corpus.table import read_table
from charrnn.sampling.prediction import END

TEXTS = ['say "ab"', "b, c", "a\nb", "", "a\tb"]
"""The fields of a table; between commas, what holds a quote, a comma or a line end is in quotes."""

TREES = ["( a ( b a ) )", "( a b )", "a"]


def record(*fields: str) -> str:
    return ",".join('"' + field.replace('"', '""') + '"' for field in fields) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    rng = random.Random(1)
    words = ["".join(rng.choices("ab", k=k % 4)) for k in range(60)]
    kinds = [("good", "bad")[k % 2] for k in range(60)]
    rows = [record("id", "kind", "text", "upper", "size", "tree")]
    for k, (kind, word) in enumerate(zip(kinds, words, strict=True)):
        tree = f"( {' '.join(word)} a b )"
        rows.append(record(str(k), kind, word, word.upper() or "", str(k + 0.5), tree))
    (folder / "train.csv").write_text("".join(rows), encoding="utf-8")
    (folder / "text.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    corpus, runs = folder / "train.csv", folder / "runs"
    read = ("--text-column", "text")
    train(runs, corpus, "--task", "classify", "--label-column", "kind", *read, "--name", "classify", steps=1)
    train(runs, corpus, "--task", "classify", "--label-column", "size", *read, "--name", "number", steps=1)
    pairs = ("--source-column", "text", "--target-column", "upper")
    train(runs, corpus, "--task", "tag", *pairs, "--name", "tag", steps=1)
    train(runs, corpus, "--task", "transduce", *pairs, "--context", "kind", "--name", "transduce", steps=1)
    tree = ("--label-column", "kind", "--text-column", "tree", "--composition", "tanh")
    train(runs, corpus, "--task", "tree", *tree, "--name", "tree", steps=1)
    train(runs, folder / "text.txt", "--split", "line", "--stop", "all", "--name", "text", steps=3)
    train(runs, corpus, "--context", "kind", *read, "--name", "given", steps=1)
    return folder


def predict(folder: Path, run: str, *arguments: str | Path, stdin: str | None = None):
    return succeed("predict", run, *arguments, "--checkpoints", folder / "runs", stdin=stdin)


def table(folder: Path, rows: list[dict[str, str]], name: str = "new.csv") -> Path:
    path = folder / name
    text = record(*rows[0]) + "".join(record(*row.values()) for row in rows)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def rows_for(run: str) -> list[dict[str, str]]:
    """Rows with the columns that the run reads, among others."""
    texts = TREES if run == "tree" else TEXTS
    text = "tree" if run == "tree" else "text"
    kinds = itertools.cycle(["good ", "bad"])
    return [{"id": str(k), "prediction": "?", text: x, "kind": next(kinds)} for k, x in enumerate(texts)]


def expected(folder: Path, run: str):
    """What the library predicts for the texts alone."""
    rows = rows_for(run)
    model = charrnn.load(folder / "runs" / run)
    texts = [row["tree" if run == "tree" else "text"] for row in rows]
    if run == "transduce":
        each = zip(texts, rows, strict=True)
        return [next(model.predict([text], given=[row["kind"].strip()], n=2)) for text, row in each]
    return list(model.predict(texts, n=2))


# Tables


@pytest.mark.parametrize("run", ["classify", "number", "tag", "transduce", "tree", "given"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_each_row_of_a_table_is_answered(folder, run, form):
    rows = rows_for(run)
    path = table(folder, rows)
    if form == "jsonl":
        path = folder / "new.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = json_lines(predict(folder, run, path, "-n", "2", "--json"))
    assert [line["row"] for line in lines] == rows
    for line, found in zip(lines, expected(folder, run), strict=True):
        assert line["input"] == found.input
        assert line["prediction"] == found.prediction
        probabilities = [candidate["probability"] for candidate in line["candidates"]]
        assert probabilities == pytest.approx([c.probability for c in found.candidates], abs=1e-6)
    assert len(predict(folder, run, path).stdout.splitlines()) == len(rows)


@pytest.mark.parametrize("run", ["classify", "number", "tag", "transduce", "tree"])
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_table_is_written_with_its_answers(folder, tmp_path, run, form):
    """It is read back by other code and by charrnn's own, whatever stands in the fields."""
    rows = rows_for(run)
    written = predict(folder, run, table(folder, rows), f"--{form}", "-n", "2").stdout
    delimiter = "," if form == "csv" else "\t"
    back = list(csv.DictReader(io.StringIO(written, newline=""), delimiter=delimiter))
    columns = {name: [row[name] for row in back] for name in back[0]}
    for name in rows[0]:
        assert columns.pop(name) == [row[name] for row in rows]
    found = expected(folder, run)
    if run == "number":
        assert list(columns) == ["prediction_"]
        assert list(map(float, columns["prediction_"])) == pytest.approx([p.prediction for p in found], rel=1e-5)
    else:
        assert list(columns) == ["prediction_", "probability_", "prediction_2_", "probability_2_"]
        for k, end in enumerate(("", "2_")):
            best = [p.candidates[k] if k < len(p.candidates) else None for p in found]
            assert columns[f"prediction_{end}"] == ["" if c is None else c.value for c in best]
            likely = [float(field) for field in columns[f"probability_{end}"] if field]
            assert likely == pytest.approx([c.probability for c in best if c is not None], abs=1e-4)
    (tmp_path / f"out.{form}").write_text(written, encoding="utf-8", newline="")
    own = read_table([tmp_path / f"out.{form}"], spool=tmp_path, header=True)
    assert own.column("prediction_") == [row["prediction_"] for row in back]


def test_a_table_without_the_column_names_those_it_has(folder):
    path = table(folder, [{"id": "1", "title": "ab"}, {"id": "2", "title": "ba"}])
    for run in ("classify", "tag", "transduce", "given"):
        line = fail(3, "predict", run, path, "--checkpoints", folder / "runs")
        assert f"{path}: has no column 'text'; it has id, title" in line


def test_a_text_a_line_is_no_table(folder, tmp_path):
    """Neither where a line happens to be the column's name, nor where the file is called one."""
    for name, text in (("new.txt", "text\nab, b\n\nba\n"), ("new.csv", "ab, b\nba\n"), ("new.tsv", "a\nb\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        lines = json_lines(predict(folder, "classify", tmp_path / name, "--json"))
        assert [line["input"] for line in lines] == text.splitlines()
        assert all("row" not in line for line in lines)
    (tmp_path / "new.tsv").write_text("ab\tgood\nba\tbad\n", encoding="utf-8")
    lines = json_lines(predict(folder, "transduce", tmp_path / "new.tsv", "--json"))
    assert [line["input"] for line in lines] == ["ab\tgood", "ba\tbad"]
    (tmp_path / "new.tsv").write_text("text\tid\nab\t1\n", encoding="utf-8")
    lines = json_lines(predict(folder, "transduce", tmp_path / "new.tsv", "--given", "bad", "--json"))
    assert [line["row"] for line in lines] == [{"text": "ab", "id": "1"}]


def test_columns_by_number(folder, tmp_path):
    """Of a table without a header, which is written without one."""
    (tmp_path / "train.tsv").write_text("good\tab\nbad\tba\n" * 20, encoding="utf-8")
    train(folder / "runs", tmp_path / "train.tsv", "--task", "classify", "--name", "bare", steps=1)
    (tmp_path / "new.tsv").write_text("x\tab\ny\tba\n", encoding="utf-8")
    shown = [
        line.split("\t") for line in predict(folder, "bare", tmp_path / "new.tsv", "--tsv").stdout.splitlines()
    ]
    assert [fields[:2] for fields in shown] == [["x", "ab"], ["y", "ba"]]
    assert {len(fields) for fields in shown} == {4}


# Lines that cannot be read


@pytest.mark.parametrize("run", ["classify", "tag", "transduce", "tree"])
def test_what_cannot_be_read_does_not_end_the_others(folder, tmp_path, run):
    behind = "\tgood" if run == "transduce" else ""
    long = f"( {'a ' * (LONGEST + 1)})" if run == "tree" else "a" * (LONGEST + 1)
    texts = ["a", "b"] * 70
    few = "".join(f"{text}{behind}\n" for text in texts)
    texts[100], texts[3] = long, long
    path = tmp_path / "new.txt"
    path.write_text("".join(f"{text}{behind}\n" for text in texts), encoding="utf-8")
    arguments = ("predict", run, "--checkpoints", folder / "runs", "--json")
    others = json_lines(succeed(*arguments, stdin=few))
    result = invoke(*arguments, path)
    assert result.exit_code == 3
    for row, (line, other) in enumerate(zip(json_lines(result), others, strict=True)):
        if row in (3, 100):
            assert line["input"] == f"{long}{behind}"
            assert line["error"].startswith(f"{path}, line {row + 1}: input")
            assert f"{LONGEST:,}" in line["error"]
        else:
            assert line["prediction"] == other["prediction"]
            assert line["probability"] == pytest.approx(other["probability"], rel=1e-4)
    plain = invoke(*arguments[:-1], path)
    assert len(plain.stdout.splitlines()) == 138
    first, second, last = plain.stderr.splitlines()
    assert first.startswith(f"{path}, line 4: ")
    assert second.startswith(f"{path}, line 101: ")
    assert last == f"Error: 2 of 140 texts could not be read; the first is {first}"


def test_rows_that_cannot_be_read_stay_in_the_table(folder, tmp_path):
    rows = [{"id": "0", "text": "ab", "kind": "good"}, {"id": "1", "text": "ab", "kind": "odd"}]
    result = invoke("predict", "transduce", table(tmp_path, rows), "--csv", "--checkpoints", folder / "runs")
    assert result.exit_code == 3
    assert "new.csv, line 3: input 'ab': kind 'odd' is unknown" in result.stderr
    header, good, odd = csv.reader(io.StringIO(result.stdout))
    assert header == ["id", "text", "kind", "prediction", "probability"]
    assert good[3:] != ["", ""] == odd[3:]


# The next character


@pytest.mark.parametrize("stop", ENDINGS)
def test_what_comes_next_multiplies_to_what_score_says(folder, stop):
    """All texts of up to three characters: each one's chances in turn, and that of its end, are its likelihood."""
    model = charrnn.load(folder / "runs" / "text")
    symbols = model.saved.vocabulary.symbols
    beginnings = ["".join(text) for k in range(4) for text in itertools.product(symbols, repeat=k)]
    chances = {}
    for found in model.predict(beginnings, stop=stop, n=len(symbols) + 1):
        p = {candidate.value: candidate.probability for candidate in found.candidates}
        assert p.keys() == {*symbols, END}
        assert math.fsum(p.values()) == pytest.approx(1.0, abs=1e-9)
        assert (found.prediction, found.probability) == max(p.items(), key=lambda item: item[1])
        chances[found.input] = p
    for score in model.score(beginnings, stop):
        text = score.text
        likelihood = math.prod(chances[text[:k]][text[k]] for k in range(len(text))) * chances[text][END]
        assert likelihood == pytest.approx(math.exp(-score.nll), rel=1e-4)


def test_what_comes_next_in_lines_and_in_json(folder):
    plain = predict(folder, "text", "--stop", "halt", stdin="a\n\n").stdout.splitlines()
    lines = json_lines(predict(folder, "text", "--stop", "halt", "-n", "2", "--json", stdin="a\n\n"))
    assert [line.rpartition("\t")[2] for line in plain] == ["a", ""]
    assert {value for line in plain for value in line.split("\t")[:6:2]} == {"a", "b", END}
    assert [len(line["candidates"]) for line in lines] == [2, 2]
    result = invoke("predict", "text", "--checkpoints", folder / "runs", stdin="aq\nab\n")
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert "standard input, line 1: the model does not know 'q'" in result.stderr


def test_what_comes_next_given_a_column(folder):
    """With the column it is a beginning, without it the column is asked for."""
    lines = [
        json_lines(predict(folder, "given", *given, "-n", "3", "--json", stdin="a\n"))[0]
        for given in (("--given", "good"), ("--given", "kind=bad"), ())
    ]
    values = [{candidate["value"] for candidate in line["candidates"]} for line in lines]
    assert values == [{"a", "b", END}, {"a", "b", END}, {"good", "bad"}]
    assert lines[0]["probability"] != lines[1]["probability"]


def test_three_ways_to_write(folder):
    assert "one of them" in fail(2, "predict", "text", "--json", "--csv", "--checkpoints", folder / "runs")
