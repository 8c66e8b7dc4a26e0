"""What is chosen where a person has not: every choice is made, and nothing that was asked for is touched."""

import os
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.errors import UsageError
from charrnn.tasks.defaults import EMBEDDING, available_cores
from charrnn.tasks.generate.data import load_dataset
from charrnn.tasks.generate.defaults import (
    CHARS_PER_WEIGHT,
    COST_OF_WIDTH,
    MEMORY_SPAN,
    SMALL_CORPUS,
    WIDTHS,
    resolve,
)

CHOSEN = (
    "hidden_size",
    "num_layers",
    "embedding_size",
    "optimizer",
    "precision",
    "weight_decay",
    "output_depth",
    "dropout",
    "weight_dropout",
    "batch_size",
    "bptt_steps",
    "learning_rate",
    "threads",
)
ASKED: dict[str, Any] = {
    "hidden_size": 7,
    "num_layers": 4,
    "embedding_size": 0,
    "optimizer": "adam",
    "precision": "bfloat16",
    "weight_decay": 0.5,
    "output_depth": 3,
    "dropout": 0.7,
    "weight_dropout": 0.5,
    "batch_size": 3,
    "bptt_steps": 5,
    "learning_rate": 0.125,
    "threads": 1,
}


class Text(SimpleNamespace):
    def __len__(self) -> int:
        return int(self.num_sequences)


def dataset_of(order: str = "independent", num_chars: int = 1000, num_sequences: int = 100) -> Any:
    train = Text(num_chars=num_chars, num_sequences=num_sequences)
    return SimpleNamespace(order=order, split="line", parts=SimpleNamespace(train=train))


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig(corpus=("names.txt",), seed=1, **values)


@pytest.mark.parametrize("order", ["independent", "ordered"])
@pytest.mark.parametrize("num_chars", [1, SMALL_CORPUS - 1, SMALL_CORPUS, 10**9])
def test_every_choice_is_made(order, num_chars):
    found = resolve(config_of(), dataset_of(order, num_chars))
    assert isinstance(found, ResolvedConfig)
    assert all(getattr(found, name) is not None for name in CHOSEN)
    assert (found.split, found.order) == ("line", order)
    assert [found.minutes, found.epochs, found.steps].count(None) == 2
    assert 1 <= found.threads <= available_cores()


@pytest.mark.parametrize("order", ["independent", "ordered"])
def test_what_was_asked_for_stays(order):
    found = resolve(config_of(**ASKED), dataset_of(order))
    assert {name: getattr(found, name) for name in ASKED} == ASKED


@pytest.mark.parametrize("name", CHOSEN)
def test_one_choice_leaves_the_others_alone_but_for_what_fits_it(name):
    """The rate fits the number of steps, which are as many as the model and its windows allow."""
    free = vars(resolve(config_of(), dataset_of()))
    assert free[name] != ASKED[name] or name == "threads"
    found = vars(resolve(config_of(**{name: ASKED[name]}), dataset_of()))
    fitted = {"hidden_size": {"dropout", "learning_rate"}, "batch_size": {"learning_rate"}}
    fitted["bptt_steps"] = fitted["batch_size"]
    others = free.keys() - {name} - fitted.get(name, set())
    assert found[name] == ASKED[name]
    assert {other: found[other] for other in others} == {other: free[other] for other in others}


def test_a_washout_longer_than_a_window_is_refused():
    assert resolve(config_of(washout=64), dataset_of()).washout == 64
    for config in (config_of(washout=65), config_of(washout=5, bptt_steps=4)):
        with pytest.raises(UsageError, match="--bptt-steps"):
            resolve(config, dataset_of())


@pytest.mark.parametrize("budget", [{"minutes": 0.5}, {"epochs": 2.0}, {"steps": 9}])
def test_a_budget_is_not_joined_by_another(budget):
    found = resolve(config_of(**budget), dataset_of())
    assert {
        name: getattr(found, name) for name in ("minutes", "epochs", "steps") if getattr(found, name)
    } == budget


def test_all_else_is_the_configuration(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_text("".join(f"{a}{b}\n" for a in "abcdefgh" for b in "aeiou"), encoding="utf-8")
    asked = TrainConfig(corpus=(str(path),), seed=3, cell="gru", stop=("halt", "length"), grad_clip=0.5, keep=4)
    dataset = load_dataset(asked, tmp_path / "checkpoints")
    found = resolve(asked, dataset)
    assert (found.split, found.order) == (dataset.split, dataset.order)
    for field in fields(TrainConfig):
        value = getattr(asked, field.name)
        if value is not None and value != "auto":
            assert getattr(found, field.name) == value


def test_first_memories_are_long_for_lists_of_long_texts_and_the_cell_that_has_them():
    speeches = dataset_of(num_chars=10_000)
    assert resolve(config_of(), speeches).memory_span == MEMORY_SPAN
    assert resolve(config_of(memory_span=9), speeches).memory_span == 9
    assert resolve(config_of(), dataset_of(num_chars=600)).memory_span is None
    assert resolve(config_of(), dataset_of("ordered")).memory_span is None
    assert resolve(config_of(forget_bias=2.0), speeches).memory_span is None
    assert resolve(config_of(cell="gru"), speeches).memory_span is None


def test_a_step_reads_a_thousand_characters_of_a_list_however_short_they_are():
    lengths = (1, 7, 15, 31, 63, 500)

    def lanes(epochs: float) -> list[int]:
        lists = [dataset_of(num_chars=n * 1000, num_sequences=1000) for n in lengths]
        return [resolve(config_of(epochs=epochs), dataset).batch_size for dataset in lists]

    assert lanes(epochs=1) == [128, 128, 64, 32, 16, 16]
    # In a run of many steps each reads more.
    assert lanes(epochs=1000) == [128, 128, 128, 128, 64, 64]
    assert resolve(config_of(), dataset_of(num_chars=0, num_sequences=0)).batch_size == 128
    assert resolve(config_of(bptt_steps=5000), dataset_of(num_chars=10**6)).batch_size == 16


def trial_of(speed: float, precision: str = "float32") -> Any:
    return SimpleNamespace(chars_per_second=speed, hidden_size=256, precision=precision, threads=1, seconds=0.5)


@pytest.mark.parametrize("order", ["independent", "ordered"])
def test_the_more_is_read_the_larger_the_model(order):
    text = dataset_of(order, 10**7)
    by_minutes = [resolve(config_of(minutes=m), text).hidden_size for m in (0.1, 1.0, 10.0, 100.0)]
    by_steps = [resolve(config_of(steps=n), text).hidden_size for n in (10**2, 10**3, 10**4)]
    by_speed = [resolve(config_of(), text, trial_of(speed)).hidden_size for speed in (2e3, 2e4, 2e5)]
    for sizes in (by_minutes, by_steps, by_speed):
        assert sizes == sorted(set(sizes))
        assert set(sizes) <= set(WIDTHS)


@pytest.mark.parametrize("minutes", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("speed", [5e3, 5e4, 5e5])
def test_the_width_is_the_largest_that_reads_enough(minutes, speed):
    """By the definition: characters read for each weight, at a speed that falls with the width."""
    found = resolve(config_of(minutes=minutes), dataset_of("ordered", 10**9), trial_of(speed)).hidden_size

    def reads_enough(units: int) -> bool:
        read = 60 * minutes * speed * (256 / units) ** COST_OF_WIDTH
        return read >= CHARS_PER_WEIGHT * 4 * units * (units + EMBEDDING)

    assert reads_enough(found) or found == WIDTHS[0]
    assert not any(reads_enough(units) for units in WIDTHS if units > found)


def test_a_small_corpus_has_a_smaller_model_more_dropout_and_less_time():
    small, usual, large = (resolve(config_of(minutes=3.0), dataset_of(num_chars=n)) for n in (10**4, 10**5, 10**7))
    assert small.hidden_size < usual.hidden_size < large.hidden_size
    assert small.dropout >= usual.dropout > large.dropout == 0.0
    free = resolve(config_of(), dataset_of(num_chars=SMALL_CORPUS - 1))
    assert free.minutes is not None
    assert free.minutes < resolve(config_of(), dataset_of(num_chars=SMALL_CORPUS)).minutes


def test_the_precision_is_that_of_the_trial():
    assert resolve(config_of(), dataset_of(), trial_of(1e5, "bfloat16")).precision == "bfloat16"
    assert resolve(config_of(precision="float32"), dataset_of(), trial_of(1e5, "bfloat16")).precision == "float32"


def test_fewer_steps_have_a_higher_rate():
    rates = [resolve(config_of(steps=n), dataset_of()).learning_rate for n in (100, 1000, 10_000, 100_000)]
    assert rates == sorted(rates, reverse=True)


def test_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 4}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
