"""A run's text as its configuration asks for it: sequences, regime, parts, vocabulary, and what is said of it."""

import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from charrnn.config import TrainConfig
from charrnn.corpus.kept import keep_standard_input
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CorpusError, UsageError
from charrnn.tasks.classify.data import load_labelled
from charrnn.tasks.generate.data import Dataset, load_dataset
from charrnn.tasks.generate.parent import ParentText
from charrnn.tasks.rows.pairs import load_pairs
from charrnn.tasks.tree.data import TreeReader, load_trees

NAMES = [f"{a}{b}{c}" for a in "klmnpr" for b in "aeiou" for c in ("", "n", "sa", "tte")]
SPEECH = "First Speaker:\nWhat is said here\nis said in two lines.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def names(tmp_path: Path) -> str:
    return write(tmp_path / "names.txt", "".join(f"{name}\n" for name in NAMES))


@pytest.fixture
def play(tmp_path: Path) -> str:
    return write(tmp_path / "play.txt", "\n".join([SPEECH] * 60))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(root: Path, *corpus: str, **config: Any) -> Dataset:
    return load_dataset(TrainConfig(corpus=corpus, **config), root)


def texts(sequences: Sequences) -> list[str]:
    return [sequences.get(index) for index in range(len(sequences))]


def all_texts(dataset: Dataset) -> list[str]:
    return [text for part in ("train", "valid", "test") for text in texts(dataset.part(part))]


def test_a_list_of_names(root, names):
    dataset = load(root, names)
    assert (dataset.split, dataset.order) == ("line", "independent")
    assert Counter(all_texts(dataset)) == Counter(NAMES)
    sizes = [len(dataset.part(part)) for part in ("train", "valid", "test")]
    assert sizes == [108, 6, 6]
    assert any("sequences are lines" in note and "--split" in note for note in dataset.notes)
    assert any("read as independent" in note and "--order" in note for note in dataset.notes)


def test_a_play(root, play):
    dataset = load(root, play)
    assert (dataset.split, dataset.order) == ("paragraph", "ordered")
    assert all_texts(dataset) == [SPEECH.rstrip("\n")] * 60
    assert any("sequences are paragraphs" in note for note in dataset.notes)
    assert any("read as ordered" in note for note in dataset.notes)


def test_the_seed_holds_out_nothing(root, names, play, tmp_path):
    logs = write(tmp_path / "logs.txt", "ok\nok\nslow\nok\n" * 50)
    for corpus in (names, play, logs):
        first, second = (load(root, corpus, seed=seed) for seed in (1, 2))
        for part in ("train", "valid", "test"):
            assert texts(first.part(part)) == texts(second.part(part)), part


def test_a_list_that_repeats_itself_is_held_out_row_by_row(root, tmp_path):
    lines = ["ok", "slow", "ok", "failed"] * 100
    logs = write(tmp_path / "logs.txt", "".join(f"{line}\n" for line in lines))
    dataset = load(root, logs)
    (note,) = (note for note in dataset.notes if "--hold-out" in note)
    assert "100.0%" in note
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [360, 20, 20]
    for part in ("train", "valid", "test"):
        counts = Counter(texts(dataset.part(part)))
        assert set(counts) == set(lines)
    by_value = load(root, logs, hold_out="values")
    assert [len(set(texts(by_value.part(part)))) for part in ("train", "valid", "test")] == [1, 1, 1]
    assert not any("--hold-out" in note for note in by_value.notes)


def test_names_that_repeat_a_little_are_held_out_by_value(root, tmp_path):
    repeated = write(tmp_path / "names.txt", "".join(f"{name}\n" for name in NAMES + NAMES[:12]))
    dataset = load(root, repeated)
    (note,) = (note for note in dataset.notes if "--hold-out" in note)
    assert f"{24 / 132:.1%}" in note
    assert not set(texts(dataset.parts.train)) & set(texts(dataset.parts.valid) + texts(dataset.parts.test))
    by_rows = load(root, repeated, hold_out="rows", valid_fraction=0.25, test_fraction=0.25)
    assert [len(by_rows.part(part)) for part in ("train", "valid", "test")] == [66, 33, 33]


def test_nothing_is_said_where_no_row_repeats(root, names):
    assert not any("--hold-out" in note for note in load(root, names).notes)


def table(path: Path, rows: list[tuple[str, ...]]) -> str:
    return write(path, "".join("\t".join(row) + "\n" for row in rows))


def test_a_table_of_texts_is_divided_as_a_list_is(root, tmp_path, names):
    """By value or by row, as the same texts would be without their columns."""
    for texts_of_rows in (NAMES, ["ok", "slow", "ok", "failed"] * 50):
        rows = [("k" if index % 3 else "v", text) for index, text in enumerate(texts_of_rows)]
        given = load(root, table(tmp_path / "given.tsv", rows), context=("1",), text_column="2")
        plain = load(root, write(tmp_path / "plain.txt", "".join(f"{text}\n" for text in texts_of_rows)))
        for part in ("train", "valid", "test"):
            assert texts(given.part(part)) == texts(plain.part(part))
            assert len(given.part(part).contexts) == len(given.part(part))
        assert [n for n in given.notes if "--hold-out" in n] == [n for n in plain.notes if "--hold-out" in n]


# Rows with labels and outputs ------------------------------------------------------------------------------


def labels_of(examples: Any, label: Any) -> list[str]:
    return [label.values[int(index)] for index in examples.outputs]


def test_a_class_of_one_text_is_trained_on_and_validated(tmp_path):
    """By value its text would be on one side; here its rows are divided as all rows are."""
    rows = [("ham", name) for name in NAMES] + [("spam", "buy")] * 60 + [("rare", "once")]
    dataset = load_labelled(TrainConfig(corpus=(table(tmp_path / "t.tsv", rows),), task="classify"))
    counts = {part: Counter(labels_of(dataset.part(part), dataset.label)) for part in ("train", "valid", "test")}
    assert counts["train"]["rare"] == 1
    assert 50 <= counts["train"]["spam"] <= 58
    assert counts["valid"]["spam"] >= 1
    assert counts["test"]["spam"] >= 1
    ham = [{text for text in dataset.part(part).texts if text != "buy"} for part in ("train", "valid", "test")]
    assert not ham[0] & (ham[1] | ham[2])
    assert dataset.label.counts[dataset.label.values.index("spam")] == counts["train"]["spam"]


def test_a_text_with_two_labels_is_one_value(tmp_path):
    rows = [(label, name) for name in NAMES[:80] for label in ("a", "b")][:81] + [("a", n) for n in NAMES[41:]]
    dataset = load_labelled(
        TrainConfig(
            corpus=(table(tmp_path / "t.tsv", rows),), task="classify", hold_out="values", valid_fraction=0.3
        )
    )
    assert not set(dataset.train.texts) & (set(dataset.valid.texts) | set(dataset.test.texts))


def test_a_number_is_no_label_that_must_be_trained_on(tmp_path):
    """Each number stands once, and yet the table has a validation part."""
    rows = [(str(index + 0.5), name) for index, name in enumerate(NAMES)]
    dataset = load_labelled(TrainConfig(corpus=(table(tmp_path / "t.tsv", rows),), task="classify"))
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [108, 6, 6]


def test_variants_of_an_input_are_no_copies(tmp_path):
    """Each input has two outputs, so every input repeats; but no row does, and variants stay together."""
    rows = [(name, variant) for name in NAMES for variant in (name.upper(), name[::-1])]
    corpus = (table(tmp_path / "t.tsv", rows),)
    dataset = load_pairs(TrainConfig(corpus=corpus, task="transduce", valid_fraction=0.2))
    assert not set(dataset.train.sources) & (set(dataset.valid.sources) | set(dataset.test.sources))
    assert all(times == 2 for times in Counter(dataset.valid.sources).values())
    assert len(dataset.valid) == 48


def test_pairs_that_repeat_are_held_out_row_by_row(tmp_path):
    rows = [("yes", "oui"), ("no", "non"), ("yes", "si")] * 40
    dataset = load_pairs(TrainConfig(corpus=(table(tmp_path / "t.tsv", rows),), task="transduce"))
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [108, 6, 6]
    found = Counter(zip(dataset.valid.sources, dataset.valid.targets, strict=True))
    assert set(found) == set(rows)
    assert any("--hold-out" in note for note in dataset.notes)


def test_a_label_that_only_one_tree_has_is_trained_on(tmp_path):
    trees = [f"( {index % 2} ( 0 a{index} ) ( 1 b{index} ) )" for index in range(60)]
    for place in range(0, 60, 7):
        rows = [*trees]
        rows[place] = rows[place].replace("( 0 a", "( 2 a")
        config = TrainConfig(
            corpus=(write(tmp_path / "t.tsv", "".join(f"{row}\n" for row in rows)),),
            task="tree",
            node_labels=True,
            label_column="label:category",
            valid_fraction=0.45,
            test_fraction=0.45,
        )
        dataset = load_trees(config, TreeReader(node_labels=True, pairs=True, characters=False))
        assert dataset.label.counts[dataset.label.values.index("2")] == 1


# A run that begins with another's weights ------------------------------------------------------------------


def parent_of(root: Path, *corpus: str, **config: Any) -> ParentText:
    dataset = load(root, *corpus, **config)
    return ParentText("first", dataset.order, dataset.corpus.sha256, dataset.parts)


def load_after(root: Path, parent: ParentText, *corpus: str, **config: Any) -> Dataset:
    return load_dataset(TrainConfig(corpus=corpus, **config), root, parent=parent)


def test_what_the_first_run_held_out_is_not_trained_on(root, names, tmp_path):
    parent = parent_of(root, names, valid_fraction=0.2, test_fraction=0.2)
    hidden = set(texts(parent.parts.valid) + texts(parent.parts.test))
    lines = [*NAMES, "new", "newer", "newest"]
    other = write(tmp_path / "more.txt", "".join(f"{name}\n" for name in lines))
    alone = load(root, other, valid_fraction=0.1, test_fraction=0.0)
    moved = [text for text in texts(alone.parts.train) if text in hidden]
    assert len(moved) > 20
    dataset = load_after(root, parent, other, valid_fraction=0.1, test_fraction=0.0)
    assert texts(dataset.parts.train) == [text for text in texts(alone.parts.train) if text not in hidden]
    assert Counter(texts(dataset.parts.valid)) == Counter(texts(alone.parts.valid) + moved)
    assert dataset.parts.num_moved == len(moved)
    assert any(f"{len(moved)} sequences that first held out are held out here too" in n for n in dataset.notes)


@pytest.mark.parametrize("how", ["file", "none"])
def test_without_a_validation_part_such_sequences_are_left_out(root, names, tmp_path, how):
    parent = parent_of(root, names, valid_fraction=0.2, test_fraction=0.2)
    hidden = set(texts(parent.parts.valid) + texts(parent.parts.test))
    valid = {"valid": write(tmp_path / "valid.txt", "unheard\n")} if how == "file" else {"valid_fraction": 0.0}
    dataset = load_after(root, parent, names, test_fraction=0.0, **valid)
    assert texts(dataset.parts.train) == [name for name in NAMES if name not in hidden]
    assert texts(dataset.parts.valid) == (["unheard"] if how == "file" else [])
    assert any(f"{len(hidden)} sequences" in note and "left out" in note for note in dataset.notes)


def test_what_the_first_run_has_seen_is_counted(root, names):
    parent = parent_of(root, names, valid_fraction=0.05, test_fraction=0.0)
    dataset = load_after(root, parent, names, valid_fraction=0.2, test_fraction=0.2)
    seen = set(texts(parent.parts.train)) & set(texts(dataset.parts.valid) + texts(dataset.parts.test))
    assert len(seen) == 42
    assert dataset.parts.num_moved == 0
    assert any("42 held-out sequences occur in the training text of first" in note for note in dataset.notes)


def test_equal_runs_have_nothing_to_say(root, names, play):
    for corpus in (names, play):
        dataset = load_after(root, parent_of(root, corpus), corpus)
        assert all_texts(dataset) == all_texts(load(root, corpus))
        assert not any("first" in note for note in dataset.notes)


def test_a_run_on_what_was_held_out_alone_says_so(root, names, tmp_path):
    """There would be nothing to train on without it."""
    parent = parent_of(root, names, valid_fraction=0.2, test_fraction=0.0)
    hidden = write(tmp_path / "hidden.txt", "".join(f"{text}\n" for text in texts(parent.parts.valid)))
    dataset = load_after(root, parent, hidden, valid_fraction=0.0, test_fraction=0.0, order="independent")
    assert len(dataset.parts.train) == 24
    assert any("24 sequences that first held out occur in the training text" in note for note in dataset.notes)


def test_rows_that_the_first_run_also_trained_on_stay(root, tmp_path):
    logs = write(tmp_path / "logs.txt", "ok\nok\nslow\nok\n" * 50)
    parent = parent_of(root, logs)
    assert len(parent.held_out) == 0
    dataset = load_after(root, parent, logs, valid_fraction=0.0, test_fraction=0.0)
    assert len(dataset.parts.train) == 200


def test_a_longer_part_of_the_same_book_is_told_in_characters(root, play):
    parent = parent_of(root, play, valid_fraction=0.2, test_fraction=0.2)
    dataset = load_after(root, parent, play, valid_fraction=0.1, test_fraction=0.1)
    more = dataset.parts.train.num_chars - parent.parts.train.num_chars
    assert more > 0
    assert any(f"{more:,} characters that first held out occur" in note for note in dataset.notes)
    parent = parent_of(root, play, valid_fraction=0.1, test_fraction=0.1)
    dataset = load_after(root, parent, play, valid_fraction=0.2, test_fraction=0.2)
    assert any(f"{more:,} held-out characters occur in the training text of first" in n for n in dataset.notes)


def test_what_is_asked_for_is_not_explained(root, names):
    dataset = load(root, names, split="line", order="ordered")
    assert (dataset.split, dataset.order) == ("line", "ordered")
    assert all_texts(dataset) == NAMES
    assert not any("--split" in note or "--order" in note for note in dataset.notes)


def test_the_fractions_are_those_of_the_configuration(root, names):
    dataset = load(root, names, valid_fraction=0.25, test_fraction=0.0)
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [90, 30, 0]


def test_the_vocabulary_is_of_the_training_text_alone(root, tmp_path):
    lines = [f"{'ab' * 20}\n"] * 95 + ["zz\n"] * 5
    dataset = load(root, write(tmp_path / "late.txt", "".join(lines)), split="line", order="ordered")
    assert "z" in "".join(texts(dataset.parts.valid) + texts(dataset.parts.test))
    assert dataset.vocabulary.symbols == ("a", "b")


# Streams ---------------------------------------------------------------------------------------------------


def test_without_endings_an_ordered_text_is_one_stream(root, play):
    dataset = load(root, play, stop=("none",))
    assert (dataset.split, dataset.order) == ("file", "ordered")
    assert "".join(all_texts(dataset)) == "\n".join([SPEECH] * 60)
    assert "\n" in dataset.vocabulary.symbols
    (note,) = (note for note in dataset.notes if "--split" in note)
    assert "one stream" in note
    assert any("read as ordered" in note for note in dataset.notes)


def test_without_endings_names_stay_names(root, names):
    dataset = load(root, names, stop=("none",))
    assert (dataset.split, dataset.order) == ("line", "independent")
    assert any("sequences are lines" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("asked", "split", "order"),
    [
        ({"order": "ordered"}, "file", "ordered"),
        ({"order": "independent"}, "line", "independent"),
        ({"split": "line"}, "line", "independent"),
        ({"split": "line", "order": "ordered"}, "line", "ordered"),
    ],
)
def test_a_stream_is_no_more_than_was_asked_for(root, names, asked, split, order):
    dataset = load(root, names, stop=("none",), **asked)
    assert (dataset.split, dataset.order) == (split, order)


def test_what_was_chosen_reads_the_same_again(root, play, names):
    """A run stores what was chosen in place of `auto`."""
    for corpus, stop in ((play, "none"), (play, "eos"), (names, "none"), (names, "eos")):
        first = load(root, corpus, stop=(stop,))
        again = load(root, corpus, stop=(stop,), split=first.split, order=first.order)
        assert all_texts(again) == all_texts(first)
        assert again.corpus.separator == first.corpus.separator


# Marks and forms -------------------------------------------------------------------------------------------


@pytest.fixture
def fortunes(tmp_path: Path) -> str:
    return write(tmp_path / "fortunes", "".join(f"{name}, 100%\n\n-- Anon\n%\n" for name in NAMES))


def test_texts_between_marks(root, fortunes, tmp_path):
    dataset = load(root, fortunes, split_on="%")
    assert (dataset.split, dataset.order, dataset.corpus.separator) == ("mark", "independent", "\n%\n")
    assert Counter(all_texts(dataset)) == Counter(f"{name}, 100%\n\n-- Anon" for name in NAMES)
    assert any("texts between marks" in note and "lines that are '%'" in note for note in dataset.notes)
    again = load(root, fortunes, split_on="%", split=dataset.split, order=dataset.order)
    assert all_texts(again) == all_texts(dataset)
    valid = write(tmp_path / "valid", "50%\n%\nnew")
    assert texts(load(root, fortunes, split_on="%", valid=valid).parts.valid) == ["50%", "new"]
    stream = load(root, fortunes, split_on="%", stop=("none",), order="ordered")
    assert stream.split == "mark"


def test_a_mark_that_is_not_there_is_an_error(root, fortunes):
    with pytest.raises(CorpusError, match="'@@' stands between no two texts"):
        load(root, fortunes, split_on="@@")


@pytest.mark.parametrize("asked", [{"split": "mark"}, {"split": "line", "split_on": "%"}])
def test_a_mark_is_one_way_to_split(asked):
    with pytest.raises(UsageError, match="--split-on"):
        TrainConfig(corpus=("a",), **asked).check()


def test_two_forms_of_a_character_are_noticed_and_made_one(root, tmp_path):
    lines = "".join(f"café {index}\n" if index % 2 else f"cafe\u0301 {index}\n" for index in range(60))
    mixed = write(tmp_path / "mixed.txt", lines)
    dataset = load(root, mixed)
    assert any("'é'" in note and "--normalize nfc" in note for note in dataset.notes)
    composed = load(root, mixed, normalize="nfc")
    assert composed.vocabulary.symbols == tuple(sorted(set(dataset.vocabulary.symbols) - {"\u0301", "e"}))
    assert not any("--normalize" in note for note in composed.notes)


# Validation text as given ----------------------------------------------------------------------------------


def test_validation_text_as_given_takes_nothing_from_the_corpus(root, names, tmp_path):
    valid = write(tmp_path / "valid.txt", "kan\nunheard\nkan\n")
    dataset = load(root, names, valid=valid)
    assert Counter(texts(dataset.parts.train)) == Counter(NAMES)
    assert texts(dataset.parts.valid) == ["kan", "unheard", "kan"]
    assert not len(dataset.parts.test)
    assert any("2 of 3 validation sequences" in note for note in dataset.notes)


def test_no_overlap_is_not_mentioned(root, names, tmp_path):
    dataset = load(root, names, valid=write(tmp_path / "valid.txt", "unheard\n"))
    assert not any("validation sequences" in note for note in dataset.notes)


def test_a_test_split_beside_validation_text_as_given(root, names, tmp_path):
    valid = write(tmp_path / "valid.txt", "unheard\n")
    dataset = load(root, names, valid=valid, test_fraction=0.25)
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [90, 1, 30]


def test_validation_text_is_split_as_the_corpus_is(root, play, tmp_path):
    valid = write(tmp_path / "valid.txt", f"{SPEECH}\n{SPEECH}")
    assert texts(load(root, play, valid=valid).parts.valid) == [SPEECH.rstrip("\n")] * 2
    assert texts(load(root, play, valid=valid, stop=("none",)).parts.valid) == [f"{SPEECH}\n{SPEECH}"]


def test_paths_are_relative_to_a_directory(root, names, tmp_path):
    write(tmp_path / "valid.txt", "unheard\n")
    config = TrainConfig(corpus=("names.txt",), valid="valid.txt")
    dataset = load_dataset(config, root, directory=tmp_path)
    assert Counter(texts(dataset.parts.train)) == Counter(NAMES)
    assert texts(dataset.parts.valid) == ["unheard"]
    with pytest.raises(CorpusError):
        load_dataset(config, root, directory=tmp_path / "elsewhere")
    assert all_texts(load_dataset(TrainConfig(corpus=(names,)), root, directory=tmp_path / "elsewhere"))


# Standard input and what cannot be read --------------------------------------------------------------------


def test_standard_input_is_kept_as_a_file(root, names, monkeypatch):
    data = b"ada\nbob\n"
    kept = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        kept.append(keep_standard_input((names, "-"), root))
    assert kept[0] == kept[1]
    first, second = kept[0]
    assert first == names
    assert Path(second).read_bytes() == data
    assert texts(load(root, second, split="line", valid_fraction=0.0, test_fraction=0.0).parts.train) == [
        "ada",
        "bob",
    ]


def test_files_are_not_copied(root, names):
    assert keep_standard_input((names,), root) == (names,)
    assert not root.exists()


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("", {}, "empty"),
        ("\n\n\n", {"split": "line"}, "no characters"),
        ("ab", {"encoding": "no-such"}, "no-such"),
        ("é", {"encoding": "ascii"}, "ascii"),
    ],
)
def test_a_corpus_without_text_is_an_error(root, tmp_path, text, config, message):
    path = write(tmp_path / "text.txt", text)
    with pytest.raises(CorpusError) as caught:
        load(root, path, **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(root, names, tmp_path):
    missing = str(tmp_path / "missing.txt")
    for corpus, config in ((missing, {}), (names, {"valid": missing})):
        with pytest.raises(CorpusError, match=r"missing\.txt"):
            load(root, corpus, **config)
