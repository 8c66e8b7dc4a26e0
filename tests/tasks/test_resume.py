"""A run that was stopped or killed, wherever, and resumed ends as one that never was: bit for bit."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from helpers_models import CELL_CASES, each_of

import charrnn
from charrnn.api import train_config
from charrnn.checkpoint import MODEL, TRAINER_STATE, TRAINING_STATE, RunDirectory, encode_json
from charrnn.checkpoint.atomic import write_directory
from charrnn.checkpoint.manifest import make_manifest
from charrnn.config import PastBudget, RunRecord
from charrnn.errors import CheckpointError, CorpusError, UsageError
from charrnn.tasks.run import Outcome, resume_run, start_run
from charrnn.training.loop import TIE, Metrics, Progress
from charrnn.training.observer import Begun, SilentObserver
from charrnn.training.pace import Pace
from charrnn.training.state import TrainerState

ROOT = Path(charrnn.__file__).parents[1]
STEPS = 24

MODES: dict[str, dict[str, Any]] = {
    "independent": {"corpus": "names.txt", "stop": ("eos",), "bptt_steps": 6, "valid_fraction": 0.1},
    "ordered": {"corpus": "plays.txt", "stop": ("halt",), "bptt_steps": 8, "num_layers": 2},
    "all": {"corpus": "plays.txt", "stop": ("eos", "halt", "length"), "bptt_steps": 8, "initial_state": "learned"},
    "given": {"corpus": "sizes.tsv", "context": ("size", "first"), "text_column": "name", "bptt_steps": 6},
    "classify": {"task": "classify", "corpus": "firsts.tsv", "valid_fraction": 0.1, "lm_weight": 0.3},
    "tag": {"task": "tag", "corpus": "spelled.tsv", "feedback": "target", "dropout": 0.2},
    "transduce": {"task": "transduce", "corpus": "firsts.tsv", "stop": ("eos", "length"), "symbol_dropout": 0.2},
    "tree": {
        "task": "tree",
        "corpus": "nested.tsv",
        "leaves": "characters",
        "dropout": 0.2,
        "symbol_dropout": 0.1,
    },
    "stream": {"corpus": "plays.txt", "stop": ("none",), "bptt_steps": 8},
}
"""Names longer than a window are read in several, so that their state is carried too."""

each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls a plug, so nothing need be forced to the disk."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    names = (ROOT / "data" / "names.txt").read_text(encoding="utf-8").split("\n")
    (folder / "names.txt").write_text("\n".join(names[:200]) + "\n", encoding="utf-8")
    rows = [f"{len(name)}\t{name[:1]}\t{name}\n" for name in names[:200]]
    (folder / "sizes.tsv").write_text("".join(["size\tfirst\tname\n", *rows]), encoding="utf-8")
    (folder / "firsts.tsv").write_text("".join(f"{n[:1]}\t{n[1:]}\n" for n in names[:200]), encoding="utf-8")
    (folder / "spelled.tsv").write_text("".join(f"{n}\t{n.upper()}\n" for n in names[:200]), encoding="utf-8")
    nested = (f"{n[:1]}\t( {n[-2:]} ( {n[:2]} {n[1:]} ) {n} )\n" for n in names[:200])
    (folder / "nested.tsv").write_text("".join(nested), encoding="utf-8")
    plays = (ROOT / "data" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    (folder / "plays.txt").write_text(plays[:6000], encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Training:
    """One configuration, trained as often as need be, each time in a folder of its own."""

    texts: Path
    settings: dict[str, Any]

    def start(self, root: Path, **options: Any) -> Outcome:
        settings = dict(self.settings)
        config = train_config(corpus=[self.texts / settings.pop("corpus")], **settings)
        return start_run(config, root=root, name="run", **({"observer": SilentObserver()} | options))

    def resume(self, root: Path, **options: Any) -> Outcome:
        return resume_run(root / "run", root=root, **({"observer": SilentObserver(), "given": {}} | options))

    def with_settings(self, **settings: Any) -> "Training":
        return replace(self, settings=self.settings | settings)


def training(texts: Path, mode: str, cell: str = "lstm", options: dict[str, Any] | None = None) -> Training:
    settings = {
        "cell": cell,
        "hidden_size": 16,
        "steps": STEPS,
        "batch_size": 5,
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "eval_every": STEPS // 2,
        "threads": 1,
        "device": "cpu",
        "seed": 3,
    }
    settings |= options or {}
    return Training(texts, settings | MODES[mode])


def after(step: int) -> Callable[[], bool]:
    """Asks to stop after so many more steps; it is asked once a step."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= step

    return should_stop


class PowerCutError(Exception):
    """The process ends here, and nothing more is written."""


class PowerCut(SilentObserver):
    """Ends a run at its n-th sign of life."""

    def __init__(self, signs: int) -> None:
        self._signs = signs

    def _sign(self, *_what: object) -> None:
        self._signs -= 1
        if self._signs <= 0:
            raise PowerCutError

    begun = stepped = validating = validated = logged = sampled = planned = _sign


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def end_of(root: Path) -> dict[str, Any]:
    """What a finished run left, without what the clock decides."""
    run = RunDirectory(root / "run")
    rows = list(run.metrics(Metrics))
    checkpoint = run.select("last")
    state = checkpoint.json(TRAINER_STATE, TrainerState)
    return {
        "step": checkpoint.step,
        "model": sha256(checkpoint.path / MODEL),
        "training state": sha256(checkpoint.path / TRAINING_STATE),
        "position": state.position,
        "progress": replace(state.progress, elapsed_seconds=0.0),
        "best": run.best(),
        "best model": sha256(run.select("best").path / MODEL),
        "steps": [row.step for row in rows],
        "epochs": [row.epoch for row in rows],
        "rates": [row.learning_rate for row in rows],
        "gradients": [row.grad_norm for row in rows],
        "validations": {row.step: row.eval_loss for row in rows if row.eval_loss is not None},
    }


# Stopped and resumed ---------------------------------------------------------------------------------------


@each_of(("mode",), CELL_CASES, {mode: (mode,) for mode in MODES}, lambda _number: [])
def test_a_run_that_was_stopped_ends_the_same(texts, tmp_path, mode, cell, options):
    if (cell, options) == ("output_recurrent", {}):  # it feeds back the true text, and has no other state
        if "task" in MODES[mode]:
            pytest.skip("an input has no true output")
        options = {"context_mode": "add"}
    if cell == "output_recurrent" and mode == "transduce":
        options = options | {"attention": "none"}
    whole = training(texts, mode, cell, options)
    if cell == "output_recurrent" and mode == "tag":  # whose own setting the mode's name would set
        whole = whole.with_settings(feedback=options["feedback"])
    whole.start(tmp_path / "whole")
    outcome = whole.start(tmp_path / "pieces", should_stop=after(1))
    for steps in (2, 4, 5):
        assert not outcome.finished
        outcome = whole.resume(tmp_path / "pieces", should_stop=after(steps))
    assert outcome.progress.step == 12
    assert whole.resume(tmp_path / "pieces").finished
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")
    elapsed = [row.elapsed_seconds for row in RunDirectory(tmp_path / "pieces" / "run").metrics(Metrics)]
    assert elapsed == sorted(elapsed)


@each_mode
def test_wherever_it_was_stopped(texts, tmp_path, mode):
    """A new process for every step."""
    whole = training(texts, mode)
    whole.start(tmp_path / "whole")
    outcome = whole.start(tmp_path / "pieces", should_stop=after(1))
    while not outcome.finished:
        outcome = whole.resume(tmp_path / "pieces", should_stop=after(1))
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


@each_mode
def test_wherever_its_power_was_cut(texts, tmp_path, mode):
    """Before the first save it starts over; later it loses what came after the last one."""
    whole = training(texts, mode).with_settings(save_every=5)
    whole.start(tmp_path / "whole")
    rng = random.Random(mode)
    with pytest.raises(PowerCutError):
        whole.start(tmp_path / "pieces", observer=PowerCut(8))
    assert not RunDirectory(tmp_path / "pieces" / "run").steps()
    cuts = 0
    while cuts < 12:
        try:
            if whole.resume(tmp_path / "pieces", observer=PowerCut(rng.randint(1, 30))).finished:
                break
        except PowerCutError:
            cuts += 1
    whole.resume(tmp_path / "pieces")
    assert cuts > 2
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


@each_mode
def test_saving_and_validating_change_no_weight(texts, tmp_path, mode):
    settings = [{}, {"save_every": 1}, {"eval_every": 1}, {"eval_every": 7, "save_every": 3, "keep": 1}]
    models = set()
    for number, change in enumerate(settings):
        root = tmp_path / str(number)
        training(texts, mode).with_settings(**change).start(root)
        end = end_of(root)
        models.add((end["step"], end["model"], end["training state"]))
    assert len(models) == 1


def test_another_seed_gives_other_weights(texts, tmp_path):
    """So that equal weights mean something."""
    models = set()
    for seed in (3, 4):
        root = tmp_path / str(seed)
        training(texts, "independent").with_settings(seed=seed).start(root)
        models.add(end_of(root)["model"])
    assert len(models) == 2


def test_a_damaged_last_checkpoint_is_passed_over(texts, tmp_path):
    whole = training(texts, "ordered").with_settings(save_every=3)
    whole.start(tmp_path / "whole")
    whole.start(tmp_path / "pieces", should_stop=after(11))
    run = RunDirectory(tmp_path / "pieces" / "run")
    first, second = run.steps()
    assert second == 11
    model = run.checkpoint_path(second) / MODEL
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    observed: list[Begun] = []

    class Watcher(SilentObserver):
        def begun(self, begun: Begun) -> None:
            observed.append(begun)

    whole.resume(tmp_path / "pieces", observer=Watcher())
    assert [begun.resumed_at for begun in observed] == [first]
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


def test_a_run_that_never_saved_starts_over(texts, tmp_path):
    whole = training(texts, "independent")
    whole.start(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        whole.start(tmp_path / "pieces", observer=PowerCut(9))
    run = RunDirectory(tmp_path / "pieces" / "run")
    assert run.steps() == []
    assert [row.step for row in run.metrics(Metrics)] == [1, 2, 3, 4]
    whole.resume(tmp_path / "pieces")
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


def test_a_best_checkpoint_that_was_saved_but_not_yet_named(texts, tmp_path):
    whole = training(texts, "ordered")
    whole.start(tmp_path)
    end = end_of(tmp_path)
    assert end["best"].step == STEPS
    RunDirectory(tmp_path / "run").best_path.unlink()
    whole.resume(tmp_path)
    assert end_of(tmp_path) == end


def test_a_run_begun_from_another_starts_over_from_it(texts, tmp_path):
    root = tmp_path / "runs"
    other = training(texts, "independent").with_settings(seed=9).start(root).run.rename(root / "other")
    whole = training(texts, "independent").with_settings(init_from=str(other))
    whole.start(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        whole.start(tmp_path / "pieces", observer=PowerCut(9))
    whole.resume(tmp_path / "pieces")
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


# What --resume refuses, and what it leaves alone -----------------------------------------------------------


@pytest.fixture
def stopped(texts, tmp_path) -> tuple[Training, Path]:
    """A run after five steps, with a corpus of its own."""
    shutil.copytree(texts, tmp_path / "texts")
    whole = training(tmp_path / "texts", "independent")
    whole.start(tmp_path / "runs", should_stop=after(5))
    return whole, tmp_path / "runs"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hidden_size": 17}, "--hidden-size 16, not 17"),
        ({"steps": 5}, "trained for 5 steps already, and --steps is the budget of the whole run"),
        ({"minutes": 1e-9}, r"trained for .* minutes already"),
        ({"epochs": 0.01}, r"trained for 0\.\d+ epochs already"),
        ({"stop": ("eos", "halt")}, "--stop eos, not eos halt"),
        ({"seed": 4}, "--seed 3, not 4"),
        ({"corpus": ("other.txt",)}, "not other.txt"),
    ],
)
def test_a_contradiction_is_refused(stopped, given, words):
    whole, root = stopped
    before = contents(root / "run")
    with pytest.raises(UsageError, match=words):
        whole.resume(root, given=given)
    assert contents(root / "run") == before


def test_what_was_said_may_be_said_again(stopped):
    whole, root = stopped
    corpus = str(whole.texts / "names.txt")
    given = {"hidden_size": 16, "steps": STEPS, "corpus": (corpus,), "stop": ("eos",), "seed": 3}
    assert whole.resume(root, given=given).finished


def test_a_run_is_resumed_from_anywhere(texts, tmp_path, monkeypatch):
    """A corpus that was named relative to one directory is found, and recognised, from another."""
    whole = training(texts, "ordered")
    monkeypatch.chdir(texts)
    replace(whole, texts=Path()).start(tmp_path / "runs", should_stop=after(5))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    same = os.path.relpath(texts / "plays.txt")
    with pytest.raises(UsageError, match=r"names\.txt"):
        whole.resume(tmp_path / "runs", given={"corpus": (os.path.relpath(texts / "names.txt"),)})
    assert whole.resume(tmp_path / "runs", given={"corpus": (same,)}).finished
    whole.start(tmp_path / "whole")
    assert end_of(tmp_path / "runs") == end_of(tmp_path / "whole")


@pytest.mark.parametrize("change", ["another name\n", None])
def test_a_corpus_that_changed_or_went_is_an_error(stopped, change):
    whole, root = stopped
    corpus = whole.texts / "names.txt"
    before = corpus.read_text(encoding="utf-8")
    if change is None:
        corpus.unlink()
    else:
        corpus.write_text(before + change, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"names\.txt"):
        whole.resume(root)
    corpus.write_text(before, encoding="utf-8")
    assert whole.resume(root).finished


@pytest.mark.parametrize("key", ["corpus", "valid"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(stopped, key):
    whole, root = stopped
    run = RunDirectory(root / "run")
    pipe = whole.texts / "pipe"
    os.mkfifo(pipe)
    record = json.loads(run.run_path.read_bytes())
    record["config"][key] = [str(pipe)] if key == "corpus" else str(pipe)
    run.run_path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CorpusError, match="pipe: the run read a file or a folder here"):
        whole.resume(root)


@pytest.mark.parametrize("mode", ["independent", "ordered"])
@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("position", 0), -1),
        (("position", 1), 2**53),
        (("position", 2, 0, 0), 10_000),
        (("position", 2, 0, 2), 9),
        (("position", 2, 0), [0]),
        (("position", 2), [[0, 0, 0]] * 3),
        (("progress", "step"), 4),
        (("progress", "best_step"), 2**40),
        (("progress", "elapsed_seconds"), -1e9),
        (("progress", "validations"), 2**60),
        (("progress", "validation_share"), 0.0),
        (("progress", "eval_every"), 1),
        (("progress", "schedule", "peak"), 1e300),
        (("progress", "schedule", "pieces"), []),
        (("progress", "schedule", "pieces", 0, 2), 2**50),
        (("progress", "schedule", "pieces", 0, 2), 0),
        (("progress", "schedule", "pieces", 0, 3), True),
        (("threads",), 0),
    ],
)
def test_a_state_that_the_run_cannot_have_is_refused(texts, tmp_path, mode, keys, value):
    if mode == "ordered" and keys == ("position", 1):
        pytest.skip("lanes of a text read it in a cycle, so any number of windows is possible")
    whole = training(texts, mode)
    whole.start(tmp_path, should_stop=after(5))
    checkpoint = RunDirectory(tmp_path / "run").select("last")
    files = {name: (checkpoint.path / name).read_bytes() for name in checkpoint.manifest.files}
    state = json.loads(files[TRAINER_STATE])
    *way, last = keys
    place = state
    for key in way:
        place = place[key]
    place[last] = value
    files[TRAINER_STATE] = encode_json(state)
    shutil.rmtree(checkpoint.path)
    write_directory(checkpoint.path, {**files, "MANIFEST.json": encode_json(make_manifest(5, files))})
    with pytest.raises(CheckpointError, match="checkpoint-00000005"):
        whole.resume(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(stopped, texts, tmp_path):
    whole, root = stopped
    training(texts, "ordered").start(tmp_path / "other")
    (name,) = (path.name for path in (root / "run").glob("checkpoint-*"))
    shutil.rmtree(root / "run" / name)
    shutil.copytree(
        tmp_path / "other" / "run" / f"checkpoint-{STEPS:08d}", root / "run" / f"checkpoint-{STEPS:08d}"
    )
    with pytest.raises(CheckpointError, match=r"run\.json"):
        whole.resume(root)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="no charrnn run"):
        resume_run(tmp_path / "gone", root=tmp_path, observer=SilentObserver(), given={})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("settings", [{}, {"patience": 1, "learning_rate": 1e-30, "eval_every": 3}])
def test_a_finished_run_does_nothing(texts, tmp_path, settings):
    """At the end of its budget, or of its patience."""
    whole = training(texts, "independent").with_settings(**settings)
    first = whole.start(tmp_path)
    assert first.finished
    assert first.progress.early_stopped == bool(settings)
    assert first.progress.step == (6 if settings else STEPS)
    before = contents(tmp_path / "run")

    class Watcher(SilentObserver):
        def stepped(self, *_what: object) -> None:
            raise AssertionError("it went on")

    again = whole.resume(tmp_path, observer=Watcher())
    assert again.finished
    assert again.progress == first.progress
    assert contents(tmp_path / "run") == before


# A new budget ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ordered", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES)])
def test_a_finished_run_goes_on_and_may_be_stopped_again(texts, tmp_path, mode):
    """It is another run from there on, with another end, and the best checkpoint stays the best of all."""
    short = training(texts, mode).with_settings(eval_every=4)
    before = short.start(tmp_path / "whole").progress
    shutil.copytree(tmp_path / "whole", tmp_path / "pieces")
    whole = short.resume(tmp_path / "whole", given={"steps": 2 * STEPS})
    assert (whole.progress.step, whole.finished) == (2 * STEPS, True)
    outcome = short.resume(tmp_path / "pieces", given={"steps": 2 * STEPS}, should_stop=after(1))
    for steps in (4, 7):
        assert not outcome.finished
        outcome = short.resume(tmp_path / "pieces", should_stop=after(steps))
    assert short.resume(tmp_path / "pieces", given={"steps": 2 * STEPS}).finished
    end = end_of(tmp_path / "pieces")
    assert end == end_of(tmp_path / "whole")
    losses = end["validations"].values()
    assert len(losses) == 12
    assert before.best_loss is not None
    assert end["best"].loss <= before.best_loss * (1 + TIE)
    assert end["best"].loss == pytest.approx(min(losses), rel=TIE)
    record = RunDirectory(tmp_path / "whole" / "run").read_run(RunRecord)
    assert (record.config.steps, record.past_budgets) == (48, (PastBudget(until=24, planned=48, steps=24),))


def test_budgets_follow_one_another(texts, tmp_path):
    """In any unit, before the end of the last one or behind it; also after a checkpoint was lost."""
    whole = training(texts, "independent").with_settings(save_every=2, keep=100)
    whole.start(tmp_path, should_stop=after(7))
    run = RunDirectory(tmp_path / "run")
    given = [({"epochs": 9.0}, after(4)), ({"steps": 400}, after(3)), ({"minutes": 9.0}, after(6)), ({}, after(1))]
    for budget, stop in given:
        outcome = whole.resume(tmp_path, given=budget, should_stop=stop)
        assert not outcome.finished
    assert outcome.progress.step == 21
    record = run.read_run(RunRecord)
    assert [(b.until, b.steps, b.epochs, b.minutes) for b in record.past_budgets] == [
        (7, STEPS, None, None), (11, None, 9.0, None), (14, 400, None, None),
    ]  # fmt: skip
    assert [piece.step for piece in outcome.progress.schedule.pieces if piece.warms_up] == [7, 11, 14]
    for step in (step for step in run.steps() if step > 11):
        shutil.rmtree(run.checkpoint_path(step))
    assert whole.resume(tmp_path, given={"steps": 30}, should_stop=after(1)).progress.step == 12
    assert whole.resume(tmp_path).progress.step == 30
    record = run.read_run(RunRecord)
    assert [(b.until, b.steps, b.epochs) for b in record.past_budgets] == [(7, STEPS, None), (11, None, 9.0)]


def test_a_run_that_ended_early_goes_on(texts, tmp_path):
    whole = training(texts, "independent").with_settings(patience=1, learning_rate=1e-30, eval_every=3)
    assert whole.start(tmp_path).progress.early_stopped
    outcome = whole.resume(tmp_path, given={"steps": 2 * STEPS})
    assert (outcome.progress.step, outcome.progress.early_stopped) == (9, True), (
        "one more validation without a gain"
    )


def test_a_run_without_a_checkpoint_begins_with_the_new_budget(texts, tmp_path):
    whole = training(texts, "independent")
    with pytest.raises(PowerCutError):
        whole.start(tmp_path / "pieces", observer=PowerCut(9))
    whole.resume(tmp_path / "pieces", given={"steps": 30})
    whole.with_settings(steps=30).start(tmp_path / "whole")
    assert end_of(tmp_path / "pieces") == end_of(tmp_path / "whole")


def test_a_finished_run_in_minutes_goes_on_at_the_speed_it_had(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "off_course", lambda *_: False)
    whole = training(texts, "independent").with_settings(steps=None, minutes=0.01, eval_every=100)
    first = whole.start(tmp_path).progress
    outcome = whole.resume(tmp_path, given={"minutes": 60.0}, should_stop=after(1))
    last = outcome.progress.schedule.pieces[-1]
    assert last.warms_up
    assert last.steps == pytest.approx(first.step * 3600.0 / first.elapsed_seconds, abs=1)
    assert whole.resume(tmp_path, should_stop=after(1)).progress.schedule == outcome.progress.schedule


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("config", "steps"), 1000),
        (("past_budgets", 0, "planned"), 1000),
        (("past_budgets", 0, "until"), 3),
        (("past_budgets", 0, "steps"), 25),
        (("past_budgets", 0, "steps"), None),
        (("past_budgets", 0, "minutes"), 1.0),
        (("past_budgets", 0, "until"), 2**50),
        (("past_budgets",), []),
    ],
)
def test_budgets_that_the_run_did_not_have_are_refused(texts, tmp_path, keys, value):
    whole = training(texts, "independent")
    whole.start(tmp_path, should_stop=after(4))
    whole.resume(tmp_path, given={"steps": 30}, should_stop=after(1))
    path = RunDirectory(tmp_path / "run").run_path
    record = json.loads(path.read_bytes())
    *way, last = keys
    place = record
    for key in way:
        place = place[key]
    place[last] = value
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CheckpointError):
        whole.resume(tmp_path)


# A budget in minutes ---------------------------------------------------------------------------------------


class StopAfterPlan(SilentObserver):
    """Asks to stop so many steps after the budget was turned into steps."""

    def __init__(self, steps: int) -> None:
        self.plan: Progress | None = None
        self.step, self._steps = 0, steps

    def planned(self, progress: Progress) -> None:
        self.plan = progress

    def stepped(self, progress: Progress, *_what: object) -> None:
        self.step = progress.step

    def __call__(self) -> bool:
        return self.plan is not None and self.step >= self.plan.step + self._steps


def test_a_run_in_minutes_whose_schedule_holds_ends_the_same(texts, tmp_path, monkeypatch):
    """However busy the machine is, no new piece is begun here."""
    monkeypatch.setattr(Pace, "off_course", lambda *_: False)
    whole = training(texts, "all").with_settings(steps=None, minutes=0.2, eval_every=4, save_every=1, keep=1000)
    watcher = StopAfterPlan(12)
    whole.start(tmp_path / "whole", observer=watcher, should_stop=watcher)
    plan, run = watcher.plan, RunDirectory(tmp_path / "whole" / "run")
    assert plan is not None
    assert plan.schedule.steps is not None
    assert plan.schedule.steps > plan.step + 12
    assert run.steps()[-12:] == list(range(plan.step + 1, plan.step + 13))
    rows = [row.step for row in run.metrics(Metrics)]
    assert rows == sorted(set(rows))

    for kept in (1, 5):
        root = tmp_path / f"kept-{kept}"
        shutil.copytree(tmp_path / "whole", root)
        for step in range(plan.step + kept + 1, plan.step + 13):
            shutil.rmtree(RunDirectory(root / "run").checkpoint_path(step))
        outcome = whole.resume(root, should_stop=after(12 - kept))
        assert outcome.progress.schedule == plan.schedule
        ends = [end_of(folder) for folder in (root, tmp_path / "whole")]
        assert ends[0] == ends[1]


def test_a_run_in_minutes_stopped_before_that_goes_on_measuring(texts, tmp_path):
    """The measured start is long enough for a first step on a busy machine."""
    whole = training(texts, "independent").with_settings(steps=None, minutes=0.5)
    outcome = whole.start(tmp_path, should_stop=after(1))
    assert outcome.progress.schedule.steps is None
    watcher = StopAfterPlan(1)
    whole.resume(tmp_path, observer=watcher, should_stop=watcher)
    assert watcher.plan is not None
    assert watcher.plan.step > 1
    rows = [row.step for row in RunDirectory(tmp_path / "run").metrics(Metrics)]
    assert rows == sorted(set(rows))


# Real processes and real signals ---------------------------------------------------------------------------

ENDLESS = 100_000


def command_line(training: Training, root: Path) -> list[str]:
    settings = dict(training.settings)
    command = [sys.executable, "-m", "charrnn", "train", str(training.texts / settings.pop("corpus"))]
    command += ["--name", "run", "--checkpoints", str(root)]
    for name, value in settings.items():
        for one in value if isinstance(value, tuple) else [value]:
            command += [f"--{name.replace('_', '-')}", str(one)]
    return command


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGKILL)),
    ],
    ids=lambda number: number.name,
)
def test_a_signal_ends_a_process_but_not_the_run(texts, tmp_path, number):
    """Asked to stop, it saves, says so and exits with 128 and the number; killed, it has what it saved before."""
    whole = training(texts, "independent").with_settings(steps=ENDLESS, eval_every=4, save_every=3)
    root, environment = tmp_path / "pieces", os.environ | {"PYTHONPATH": str(ROOT)}
    command = command_line(whole, root)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        run = RunDirectory(root / "run")
        while not (run.path.exists() and run.steps()):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate()
    assert out == ""
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number, err
        assert "saved" in err.splitlines()[-1]
        assert "--resume" in err.splitlines()[-1]
        assert "Traceback" not in err
    last = run.latest_valid()
    assert last is not None
    resumed = whole.resume(root, should_stop=after(5))
    assert resumed.progress.step == last.step + 5
    whole.start(tmp_path / "whole", should_stop=after(last.step + 5))
    assert end_of(root) == end_of(tmp_path / "whole")


KILLER = """
import os, random, signal, sys, time, traceback
from pathlib import Path

import torch
from test_resume import end_of, training

torch.set_num_threads(1)
# The first optimiser of a process imports half of torch; the children shall find it done.
torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)

texts, root, wanted = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
os.fsync = lambda descriptor: None
rng = random.Random(wanted)


def forked(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def until_killed(work, seconds):
    # Whether a child that does the work was killed: after so many seconds, unless it is done by then.
    child = forked(work)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def go_on(whole, root):
    # As a person would: what cannot be resumed, because it never came to be a run, is begun anew.
    if (root / "run" / "run.json").exists():
        whole.resume(root)
    else:
        whole.start(root)


kills, trial, expected = 0, 0, {}
while kills < wanted or trial % 4:
    mode = ["independent", "ordered", "all", "stream"][trial % 4]
    whole = training(texts, mode).with_settings(save_every=1, eval_every=5)
    there = root / mode
    if not there.exists():
        begin = time.monotonic()
        os.waitpid(forked(lambda: whole.start(there)), 0)
        expected[mode] = (end_of(there), time.monotonic() - begin)
    end, seconds = expected[mode]
    pieces = root / f"trial-{trial}"
    while until_killed(lambda: go_on(whole, pieces), rng.uniform(0, seconds)):
        kills += 1
    assert end_of(pieces) == end, (trial, mode)
    trial += 1
"""


def kill_at_random(texts: Path, root: Path, kills: int) -> None:
    """Runs killed at so many random moments, in forks of one process that has torch loaded."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", KILLER, str(texts), str(root), str(kills)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_killed_at_random_moments(texts, tmp_path):
    kill_at_random(texts, tmp_path, kills=40)
