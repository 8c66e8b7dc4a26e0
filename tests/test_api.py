"""charrnn as a library: train, load, sample and score, and what is said of values that cannot be meant."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn import api
from charrnn.api import Model, Sample, train_config
from charrnn.checkpoint import RunDirectory
from charrnn.config import MAX_SEED, RunRecord, TrainConfig
from charrnn.errors import CheckpointError, CorpusError, UsageError
from charrnn.tasks.generate import data as run_text
from charrnn.training.loop import Metrics
from charrnn.training.observer import SilentObserver

NAMES = [f"{a}{b}{c}" for a in "klmnpr" for b in "aeiou" for c in ("", "n", "sa", "tte")]
SETTINGS: dict[str, Any] = {
    "hidden_size": 8,
    "steps": 12,
    "eval_every": 4,
    "batch_size": 16,
    "threads": 1,
    "device": "cpu",
    "seed": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    return folder


def train_on(folder: Path, name: str | None = None, **config: Any) -> Path:
    root, settings = folder / "checkpoints", SETTINGS | config
    return charrnn.train(folder / "names.txt", checkpoints=root, name=name, settings=settings)


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return train_on(folder, stop=("eos", "halt", "length"))


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return charrnn.load(run)


@pytest.fixture(scope="module")
def stream(folder: Path) -> Model:
    return charrnn.load(train_on(folder, stop="none", steps=2))


def python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    environment = os.environ | {"PYTHONPATH": str(Path(charrnn.__file__).parents[1])}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# What is imported ------------------------------------------------------------------------------------------

LOADED = "import sys; print(*sorted({'torch', 'numpy', 'click', 'rich', 'msgspec'} & sys.modules.keys()))"


def test_the_package_imports_nothing_heavy():
    assert python(f"import charrnn; charrnn.__version__; {LOADED}") == ""


@pytest.mark.parametrize(
    "use",
    [
        "model.sample(3, seed=1, prompt='k')",
        "list(model.stream(seed=1, stop='halt'))",
        "model.score(['kan', '', 'rosa'], stop='length')",
    ],
)
def test_a_model_is_used_without_torch(run, use):
    code = f"import charrnn; model = charrnn.load({str(run)!r}); assert {use}; {LOADED}"
    assert python(code) == "msgspec numpy"


def test_training_needs_no_command_line():
    assert python(f"import charrnn.tasks.run; {LOADED}") == "msgspec numpy torch"


def test_the_package_offers_what_it_names():
    for name in charrnn.__all__:
        assert getattr(charrnn, name) is not None
    assert charrnn.load is api.load
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = charrnn.nothing_such


# Training --------------------------------------------------------------------------------------------------


def test_a_run_is_what_was_asked_for(run):
    directory = RunDirectory(run)
    record = directory.read_run(RunRecord)
    assert record.name == run.name == "names"
    assert record.config.stop == ("eos", "halt", "length")
    assert (record.config.hidden_size, record.config.seed) == (8, 1)
    assert directory.steps()[-1] == 12
    assert [row.step for row in directory.metrics(Metrics)] == list(range(1, 13))


def test_names_are_unique_or_given(folder, tmp_path):
    root = tmp_path / "checkpoints"

    def train(name: str | None = None, overwrite: bool = False, **options: Any) -> Path:
        settings = SETTINGS | {"steps": 1} | options
        names = folder / "names.txt"
        return charrnn.train(names, checkpoints=root, name=name, overwrite=overwrite, settings=settings)

    assert [train().name for _ in range(2)] == ["names", "names-2"]
    assert train(name="mine").name == "mine"
    with pytest.raises(UsageError, match="exists"):
        train(name="mine")
    assert train(name="mine", overwrite=True, seed=5) == root / "mine"
    assert RunDirectory(root / "mine").read_run(RunRecord).config.seed == 5


def test_an_observer_is_told(folder, tmp_path):
    class Watcher(SilentObserver):
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.texts: list[str] = []

        def stepped(self, progress: Any, metrics: Any, seconds_left: Any) -> None:
            self.steps.append(progress.step)

        def sampled(self, text: str) -> None:
            self.texts.append(text)

    watcher = Watcher()
    charrnn.train(folder / "names.txt", checkpoints=tmp_path, observer=watcher, settings=SETTINGS)
    assert watcher.steps == list(range(1, 13))
    assert len(watcher.texts) == 3
    assert set("".join(watcher.texts)) <= set("".join(NAMES))


def test_without_a_seed_one_is_drawn_and_stored(folder, tmp_path):
    runs = [
        charrnn.train(folder / "names.txt", checkpoints=tmp_path, settings=SETTINGS | {"seed": None, "steps": 1})
        for _ in range(2)
    ]
    first, second = (RunDirectory(run).read_run(RunRecord).config.seed for run in runs)
    assert first != second


# Loading ---------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_path_by_name_and_by_age(run, model, folder):
    root = folder / "checkpoints"
    assert charrnn.load("names", checkpoints=root).path == model.path
    assert charrnn.load(model.path).path == model.path
    newest = train_on(folder, name="newest", steps=1)
    assert charrnn.load(checkpoints=root).path.parent == newest
    assert charrnn.load(run, checkpoint="last").path.name == "checkpoint-00000012"
    assert charrnn.load(run, checkpoint=12).path.name == "checkpoint-00000012"
    assert model.stops == ("eos", "halt", "length")


@pytest.mark.parametrize(("name", "options"), [("gone", {}), ("names", {"checkpoint": 11})])
def test_what_is_not_there_cannot_be_loaded(run, folder, name, options):
    with pytest.raises(CheckpointError):
        charrnn.load(name, checkpoints=folder / "checkpoints", **options)


# Sampling and scoring --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
@pytest.mark.parametrize("prompt", ["", "ka"])
def test_a_sample_s_logprob_is_its_score(model, stop, prompt):
    samples = model.sample(40, stop=stop, prompt=prompt, seed=3)
    assert len(samples) == 40
    assert {sample.finish_reason for sample in samples} == {stop}
    for sample, scored in zip(samples, model.score([s.text for s in samples], stop), strict=True):
        assert sample.text.startswith(prompt)
        assert (sample.prompt, sample.seed, sample.num_chars) == (prompt, 3, len(sample.text))
        assert sample.logprob == pytest.approx(-scored.nll, rel=1e-5, abs=1e-5)


def same(sample: Sample) -> Sample:
    """The sample, whoever its neighbours are: in a batch of another size products round differently."""
    return replace(sample, logprob=pytest.approx(sample.logprob, rel=1e-5))


def test_the_seed_decides_and_a_number_is_a_number(model):
    samples = model.sample(20, seed=7)
    assert model.sample(20, seed=7) == samples
    assert model.sample(20, seed=8) != samples
    assert model.sample(5, seed=7) == [same(sample) for sample in samples[:5]]
    drawn = dict(model.draws(seed=7).draw(range(10, 20)))
    assert drawn == {number: same(samples[number]) for number in range(10, 20)}


def test_a_drawn_seed_is_reported_and_draws_the_same(model):
    first, second = model.sample(4), model.sample(4)
    assert first[0].seed != second[0].seed
    assert model.sample(4, seed=first[0].seed) == first


@pytest.mark.parametrize("options", [{}, {"stop": "halt"}, {"stop": "length"}, {"num_chars": 9}, {"prompt": "ka"}])
def test_a_stream_is_the_sample_character_by_character(model, options):
    for number, sample in enumerate(model.sample(5, seed=2, **options)):
        *characters, last = model.draws(seed=2, **options).stream(number)
        assert last == same(sample)
        assert sample.prompt + "".join(characters) == sample.text


def test_exactly_so_many_characters(model, stream):
    for one, options in ((model, {}), (model, {"stop": "length"}), (stream, {}), (stream, {"prompt": "ka"})):
        for sample in one.sample(3, num_chars=11, seed=1, **options):
            assert (sample.num_chars, sample.finish_reason) == (11, "num_chars")
            assert len(sample.text) == 11


def test_exactly_so_many_characters_are_never_cut(model):
    for options in ({}, {"stop": "length"}, {"prompt": "kan" * 4}):
        (sample,) = model.sample(num_chars=20, max_chars=8, seed=1, **options)
        assert (sample.num_chars, sample.finish_reason) == (20, "num_chars")


def test_a_cut_is_reported(model):
    cut = [sample for sample in model.sample(50, seed=1, max_chars=2) if sample.finish_reason == "max_chars"]
    assert cut
    assert all(len(sample.text) == 2 for sample in cut)


def test_temperature_zero_and_a_single_candidate_are_greedy(model):
    texts = {
        sample.text
        for options in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0})
        for sample in model.sample(3, stop="length", num_chars=12, **options)
    }
    assert len(texts) == 1


def test_a_stream_needs_a_number_of_characters(stream):
    with pytest.raises(UsageError, match="--num-chars") as caught:
        stream.sample()
    assert "--stop eos" in str(caught.value)


def test_scores_come_in_the_order_of_the_texts(model):
    texts = ["kan", "", "rosa", "kan"]
    scores = model.score(iter(texts))
    assert [one.text for one in scores] == texts
    assert scores[0] == scores[3]
    assert all(math.isfinite(one.nll) for one in scores)
    assert model.score([]) == []


# What cannot be meant --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("hidden_size", 0, ">= 1"),
        ("hidden_size", 2.5, "int"),
        ("hidden_size", "8", "int"),
        ("num_layers", 65, "<= 64"),
        ("steps", 0, ">= 1"),
        ("minutes", 0, "> 0"),
        ("minutes", -1.5, "> 0"),
        ("minutes", math.nan, "finite"),
        ("epochs", math.inf, "finite"),
        ("learning_rate", math.inf, "finite"),
        ("forget_bias", math.nan, "finite"),
        ("dropout", 1.0, "< 1"),
        ("dropout", -0.1, ">= 0"),
        ("valid_fraction", 1.0, "< 1"),
        ("grad_clip", 0.0, "> 0"),
        ("cell", "elman", "lstm"),
        ("stop", "never", "eos"),
        ("stop", ("eos", "never"), "halt"),
        ("split", "word", "line"),
        ("order", "random", "independent"),
        ("reset_gate", "never", "before"),
        ("initial_state", "random", "learned"),
        ("seed", -1, "0 to"),
        ("seed", MAX_SEED + 1, "0 to"),
    ],
)
def test_a_value_out_of_bounds(tmp_path, field, value, expected):
    """The message names the field, what came and what was expected."""
    with pytest.raises(UsageError) as caught:
        charrnn.train("unread.txt", checkpoints=tmp_path, settings={field: value})
    name, _, rest = str(caught.value).partition(" = ")
    assert name == field
    assert (str(value) if not isinstance(value, tuple) else value[1]) in rest
    assert expected in rest.split(":", 1)[1]
    assert "\n" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hiden_size": 8}, "'hiden_size'"),
        ({"stop": ("none", "eos")}, "--stop none"),
        ({"stop": ()}, "stop is empty"),
        ({"steps": 3, "minutes": 1}, "one budget"),
        ({"epochs": 3, "minutes": 1}, "one budget"),
        ({"device": "abacus"}, "--device abacus"),
    ],
)
def test_settings_that_do_not_go_together(folder, tmp_path, config, words):
    with pytest.raises(UsageError, match=words):
        charrnn.train(folder / "names.txt", checkpoints=tmp_path / "checkpoints", settings=config)


def test_a_config_that_names_a_mechanism_twice():
    with pytest.raises(UsageError, match="twice"):
        TrainConfig(corpus=("a",), stop=("eos", "eos")).check()


def test_a_name_that_cannot_be_one(folder, tmp_path):
    with pytest.raises(UsageError, match="name"):
        charrnn.train(folder / "names.txt", checkpoints=tmp_path / "checkpoints", name="../outside")


@pytest.mark.parametrize("texts", [["emma", "ava", "", "zoë"] * 20, ["two\nlines", "one", "a\r\nb"] * 20])
def test_a_list_of_texts_is_a_corpus(tmp_path, texts):
    run = charrnn.train(texts, steps=1, checkpoints=tmp_path, settings=SETTINGS | {"valid_fraction": 0.0})
    record = RunDirectory(run).read_run(RunRecord)
    read = run_text.training_text(record, tmp_path).corpus.sequences
    assert sorted(read.get(i) for i in range(len(read))) == sorted(texts)
    assert record.config.order == "independent"


def test_evaluate_gives_a_report_for_each_way_to_end(run, folder):
    reports = charrnn.evaluate(run)
    assert [report.stop for report in reports] == ["eos", "halt", "length"]
    (one,) = charrnn.evaluate(run, folder / "names.txt", stop="halt")
    assert one.num_sequences == len(NAMES)


def test_load_serves_every_task(tmp_path):
    table = tmp_path / "kinds.tsv"
    table.write_text("".join(f"{'long' if len(n) > 4 else 'short'}\t{n}\n" for n in NAMES), encoding="utf-8")
    run = charrnn.train(table, task="classify", checkpoints=tmp_path / "runs", settings=SETTINGS)
    (found,) = charrnn.load(run).predict(["klan"], n=2)
    assert {candidate.value for candidate in found.candidates} == {"long", "short"}
    (report,) = charrnn.evaluate(run)
    assert report.task == "classify"


def test_a_string_is_one_text(model):
    assert [score.text for score in model.score("klan")] == ["klan"]


def test_the_package_lists_what_it_offers():
    assert {"train", "load", "evaluate", "Model", "Sample", "CharRNNError"} <= set(dir(charrnn))
    assert all(getattr(charrnn, name) is not None for name in dir(charrnn))


def test_none_is_no_choice():
    assert train_config(corpus=["a"], steps=None, cell=None) == train_config(corpus=["a"])
    assert train_config(corpus=[Path("a")], stop="halt").stop == ("halt",)
    assert train_config(corpus=("a",), stop=["halt", "eos", "halt"]).stop == ("eos", "halt")
    assert train_config(corpus=("a",), stop="all").stop == ("eos", "halt", "length")
    assert train_config(corpus=["a"], minutes=2).minutes == 2.0


def test_a_corpus_that_is_not_there(tmp_path):
    for corpus in ((), (tmp_path / "gone.txt",)):
        with pytest.raises(CorpusError):
            charrnn.train(*corpus, checkpoints=tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.5),
        ("temperature", math.nan),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("num_chars", 0),
        ("num_chars", -3),
        ("max_chars", 0),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
    ],
)
def test_a_sampling_option_out_of_bounds(model, field, value):
    with pytest.raises(UsageError, match=f"^{field} = {value}: expected"):
        model.sample(**{field: value})


def test_options_and_mechanisms_that_do_not_exist(model, stream):
    with pytest.raises(TypeError, match="temprature"):
        model.sample(temprature=1.0)
    with pytest.raises(UsageError, match="--stop none"):
        model.sample(stop="none")
    with pytest.raises(UsageError, match="--stop eos"):
        stream.sample(stop="eos", num_chars=3)
    with pytest.raises(UsageError, match="--stop eos"):
        stream.score(["a"], "eos")


def test_a_prompt_that_cannot_be(model):
    with pytest.raises(CorpusError, match=r"U\+0058"):
        model.sample(prompt="kaX")
    for limit in ("num_chars", "max_chars"):
        with pytest.raises(CorpusError, match="3 characters"):
            model.sample(prompt="kan", **{limit: 2})
    (sample,) = model.sample(prompt="kan", num_chars=3)
    assert isinstance(sample, Sample)
    assert sample.text == "kan"
