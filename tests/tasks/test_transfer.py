"""Starting from another model: what the two share is carried over by character, the rest is as it was drawn."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_models import ENDINGS, each_model, make_model, random_params, text_nll

import charrnn
from charrnn.api import train_config
from charrnn.checkpoint import RunDirectory, resolve_checkpoint
from charrnn.config import RunRecord, StopName
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import SavedModel, load_model
from charrnn.tasks.generate.data import training_text
from charrnn.tasks.generate.transfer import transfer
from charrnn.tasks.run import resume_run, start_run
from charrnn.training.observer import Begun, SilentObserver

OURS, THEIRS = Vocabulary(tuple("abcf")), Vocabulary(tuple("bcde"))
"""They share b and c, at different numbers."""

STOP_SETS: list[tuple[StopName, ...]] = [("eos",), ("halt",), ("length",), ENDINGS, ("none",)]


def saved_model(vocabulary: Vocabulary = THEIRS, seed: int = 1, **settings: Any) -> SavedModel:
    model = make_model(**settings, vocab_size=vocabulary.size)
    return SavedModel(model.config, model, random_params(model.shapes, seed, dtype=np.float32), vocabulary, "")


def fresh_model(vocabulary: Vocabulary = OURS, **settings: Any) -> tuple[LanguageModel, dict[str, np.ndarray]]:
    model = make_model(**settings, vocab_size=vocabulary.size)
    return model, random_params(model.shapes, seed=2, dtype=np.float32)


@each_model
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_rows_follow_their_characters(cell, options, initial_state):
    settings = {"cell": cell, "options": options, "num_layers": 2, "initial_state": initial_state}
    saved = saved_model(**settings)
    model, fresh = fresh_model(**settings)
    if model.layers[-1].gives_logits:
        with pytest.raises(CheckpointError, match="same characters"):
            transfer(fresh, model.config, OURS, saved)
        return
    found = transfer(fresh, model.config, OURS, saved)
    assert {name: value.shape for name, value in found.items()} == model.shapes

    table, new, old = (p[model.input_weight] for p in (found, fresh, saved.params))
    for index, source in enumerate((new[:, 0], old[:, 0], old[:, 1], new[:, 3], old[:, 4])):
        np.testing.assert_array_equal(table[:, index], source, err_msg=f"input {'abcf^'[index]}")
    for name in ("readout.weight", "readout.bias"):
        rows, new, old = (p[name] for p in (found, fresh, saved.params))
        np.testing.assert_array_equal(rows, [new[0], old[0], old[1], new[3], old[4]])
    for name in model.shapes.keys() - {model.input_weight, "readout.weight", "readout.bias"}:
        np.testing.assert_array_equal(found[name], saved.params[name], err_msg=name)


@pytest.mark.parametrize(("ours", "theirs"), list(product(STOP_SETS, repeat=2)))
def test_a_head_comes_along_where_both_have_it(ours: tuple[StopName, ...], theirs: tuple[StopName, ...]):
    saved = saved_model(stops=theirs)
    model, fresh = fresh_model(stops=ours)
    found = transfer(fresh, model.config, OURS, saved)
    assert {name: value.shape for name, value in found.items()} == model.shapes
    shared = set(ours) & set(theirs)
    for name in model.shapes:
        head = name.split(".")[0]
        if head in ("halt", "length"):
            source = saved.params if head in shared else fresh
            np.testing.assert_array_equal(found[name], source[name], err_msg=name)
    if "eos" in ours:
        source = saved.params if "eos" in shared else fresh
        np.testing.assert_array_equal(found["readout.weight"][-1], source["readout.weight"][-1])
        np.testing.assert_array_equal(found["readout.bias"][-1], source["readout.bias"][-1])
    counts = found["layers.0.weight_ih"][:, OURS.bos + 1 :]
    if "length" in ours:
        source = saved.params if "length" in shared else fresh
        np.testing.assert_array_equal(counts, source["layers.0.weight_ih"][:, OURS.bos + 1 :])


def test_a_model_of_the_same_alphabet_is_the_same_model():
    for stops in (("eos",), ("halt",), ("length",), ENDINGS):
        saved = saved_model(OURS, stops=stops)
        model, fresh = fresh_model(stops=stops)
        found = transfer(fresh, model.config, OURS, saved)
        for name, value in saved.params.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_text_of_shared_characters_is_read_as_before():
    """The recurrence knows nothing of alphabets: only the shares of new symbols in the softmax are new."""
    saved = saved_model(Vocabulary(tuple("bc")), stops=("halt",))
    model, fresh = fresh_model(stops=("halt",))
    found = transfer(fresh, model.config, OURS, saved)
    found["readout.bias"][[0, 3]] = -1e9
    texts = ["", "b", "cbbc", "ccccccb"]
    np.testing.assert_allclose(
        text_nll(model, found, texts, "halt", OURS),
        text_nll(saved.model, saved.params, texts, "halt", saved.vocabulary),
        rtol=1e-6,
    )


def test_neither_model_is_changed():
    saved = saved_model()
    model, fresh = fresh_model()
    before = {name: (fresh[name].copy(), saved.params[name].copy()) for name in fresh}
    for value in transfer(fresh, model.config, OURS, saved).values():
        value += 1.0
    for name, (ours, theirs) in before.items():
        np.testing.assert_array_equal(saved.params[name], theirs, err_msg=name)
        np.testing.assert_array_equal(fresh[name], ours, err_msg=name)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"cell": "gru"}, {"cell": "lstm"}, "--cell lstm"),
        ({"hidden_size": 3}, {"hidden_size": 5}, "--hidden-size 5"),
        ({"num_layers": 1}, {"num_layers": 2}, "--num-layers 2"),
        (
            {"cell": "gru", "options": {"reset_gate": "after"}},
            {"cell": "gru", "options": {"reset_gate": "before"}},
            "--reset-gate",
        ),
    ],
)
def test_models_that_differ_in_more_are_refused(ours, theirs, words):
    model, fresh = fresh_model(**ours)
    with pytest.raises(CheckpointError, match=words):
        transfer(fresh, model.config, OURS, saved_model(**theirs))


# As a run asks for it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on lines of a, b and c."""
    folder = tmp_path_factory.mktemp("transfer")
    corpus = folder / "abc.txt"
    corpus.write_text("".join(f"{x}{y}{z}\n" for x in "abc" for y in "abc" for z in "abc"), encoding="utf-8")
    return train_on(corpus, folder / "checkpoints", hidden_size=6, steps=3)


def train_on(corpus: Path, checkpoints: Path, **config: Any) -> Path:
    settings = {"dropout": 0.0, "batch_size": 4, "threads": 1, "device": "cpu", "seed": 1, "valid_fraction": 0.2}
    return charrnn.train(corpus, checkpoints=checkpoints, settings=settings | config)


def best(run: Path) -> SavedModel:
    return load_model(resolve_checkpoint(str(run), run.parent))


def test_a_run_begins_with_the_other_run_s_weights(first, tmp_path):
    """A step at a rate of nearly nothing shows what it began with: the other's best, of the other's size."""
    corpus = tmp_path / "bcd.txt"
    corpus.write_text("".join(f"{x}{y}{z}\n" for x in "bcd" for y in "bcd" for z in "bcd"), encoding="utf-8")
    run = train_on(corpus, first.parent, init_from=first.name, steps=1, learning_rate=1e-30)
    old, new = best(first), best(run)
    assert new.model.config.hidden_size == 6
    for name in old.params.keys() - {"embedding.weight", "readout.weight", "readout.bias"}:
        np.testing.assert_array_equal(new.params[name], old.params[name], err_msg=name)
    assert new.vocabulary.symbols == tuple("abcd"), "a stays, though it is not in the text"
    for name in ("readout.weight", "embedding.weight"):
        there, here = (m.params[name] for m in (old, new))
        np.testing.assert_array_equal(here[[0, 1, 2, 4]], there, err_msg="a, b, c; EOS or BOS")
        assert not np.isin(here[3], there).any()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"hidden_size": 5, "num_layers": 2},
            "--hidden-size 6 --num-layers 1: this one",
        ),
        ({"cell": "tanh"}, "--cell lstm"),
        ({"init_from": "none-such"}, "no run"),
    ],
)
def test_a_run_that_cannot_begin_so_is_refused(first, tmp_path, config, words):
    corpus = tmp_path / "abc.txt"
    corpus.write_text("abc\n" * 30, encoding="utf-8")
    with pytest.raises(CheckpointError, match=words):
        train_on(corpus, first.parent, steps=1, **({"init_from": first.name} | config))


def test_what_is_not_set_is_the_other_run_s(tmp_path):
    corpus = tmp_path / "abc.txt"
    corpus.write_text("ab\nc\n\nca\n\nbb\na\n\n" * 20, encoding="utf-8")
    shape = {"cell": "gru", "reset_gate": "before", "hidden_size": 5, "num_layers": 2, "embedding_size": 3}
    read = {"split": "paragraph", "order": "ordered", "stop": ("halt",), "output_depth": 2}
    parent = train_on(corpus, tmp_path / "runs", **shape, **read, steps=1)
    corpus.write_text("ab\ncd\n" * 40, encoding="utf-8")
    runs = [
        train_on(corpus, parent.parent, init_from=parent.name, steps=1, **own)
        for own in ({}, {"order": "independent", "stop": ("eos",), "cell": "gru"})
    ]
    found = [RunDirectory(run).read_run(RunRecord).config for run in runs]
    taken = {name: getattr(found[0], name) for name in shape | read}
    assert taken == shape | read
    assert (found[1].split, found[1].order, found[1].stop) == ("paragraph", "independent", ("eos",))


def test_the_alphabet_is_that_of_both_runs_and_the_difference_is_said(parent, tmp_path):
    """Also when the run goes on after the other has gone."""
    corpus = tmp_path / "bcd.txt"
    corpus.write_text(lines_of("bcdé"), encoding="utf-8")
    run, notes = begin(corpus, parent)
    (note,) = (note for note in notes if "alphabet is" in note)
    assert note.startswith(f"the alphabet is that of {parent}, 3 characters, and 2 new")
    assert "untrained: 'dé'; 1 of " in note
    assert note.endswith("not in the training text: 'a'")
    shutil.rmtree(parent)
    resume_run(run, root=run.parent, observer=SilentObserver(), given={"steps": 3})
    last = load_model(resolve_checkpoint(str(run), run.parent, "last"))
    assert (last.vocabulary.symbols, last.params["readout.weight"].shape[0]) == (tuple("abcdé"), 6)


# What the other run held out -------------------------------------------------------------------------------


def parts_of(run: Path) -> dict[str, set[str]]:
    dataset = training_text(RunDirectory(run).read_run(RunRecord), run.parent)
    parts = {part: dataset.part(part) for part in ("train", "valid", "test")}
    return {name: {part.get(index) for index in range(len(part))} for name, part in parts.items()}


def lines_of(letters: str) -> str:
    return "".join(f"{x}{y}{z}\n" for x in letters for y in letters for z in letters)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    corpus = tmp_path / "abc.txt"
    corpus.write_text(lines_of("abc"), encoding="utf-8")
    return train_on(corpus, tmp_path / "runs", hidden_size=6, steps=1, test_fraction=0.2)


class Notes(SilentObserver):
    def begun(self, begun: Begun) -> None:
        self.notes = begun.dataset.notes  # type: ignore[union-attr]


def begin(corpus: Path, parent: Path, **config: Any) -> tuple[Path, tuple[str, ...]]:
    """A run that begins with another's weights, and what it says of its text."""
    observer = Notes()
    settings = {"corpus": (str(corpus),), "init_from": str(parent), "steps": 2, "batch_size": 4, "seed": 2}
    asked = train_config(**(settings | {"threads": 1, "device": "cpu", "test_fraction": 0.1} | config))
    return start_run(asked, root=parent.parent, observer=observer).run, observer.notes


def test_held_out_lines_stay_held_out(parent, tmp_path):
    """Also when the run is evaluated or resumed, though the other run is gone by then."""
    corpus = tmp_path / "abcd.txt"
    corpus.write_text(lines_of("abcd"), encoding="utf-8")
    hidden = parts_of(parent)["valid"] | parts_of(parent)["test"]
    run, notes = begin(corpus, parent, valid_fraction=0.1)
    assert any("sequences that abc held out are held out here too" in note for note in notes)
    shutil.rmtree(parent)
    parts = parts_of(run)
    assert hidden <= parts["valid"] | parts["test"]
    assert len(parts["train"] | parts["valid"] | parts["test"]) == 64
    weights = best(run).params
    resume_run(run, root=run.parent, observer=SilentObserver(), given={"steps": 2})
    assert best(run).params.keys() == weights.keys()


def test_a_run_on_other_lines_needs_the_other_text_no_more(parent, tmp_path):
    corpus = tmp_path / "xyz.txt"
    corpus.write_text(lines_of("xyz"), encoding="utf-8")
    run, notes = begin(corpus, parent)
    assert not any("held out" in note for note in notes)
    assert RunDirectory(run).read_run(RunRecord).parent is None
    (tmp_path / "abc.txt").unlink()
    assert len(parts_of(run)["train"]) > 20


@pytest.mark.parametrize("what", ["corpus", "run"])
def test_what_cannot_be_known_is_said(parent, tmp_path, what):
    corpus = tmp_path / "bcd.txt"
    corpus.write_text(lines_of("bcd"), encoding="utf-8")
    (tmp_path / "abc.txt" if what == "corpus" else parent / "run.json").unlink()
    if what == "run":
        parent = resolve_checkpoint(str(next(parent.glob("checkpoint-*"))), tmp_path).path
    run, notes = begin(corpus, parent)
    (note,) = (note for note in notes if "cannot be known" in note)
    assert ("abc.txt" if what == "corpus" else "no run beside it") in note
    assert parts_of(run)["train"]
