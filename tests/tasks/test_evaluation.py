"""The perplexity report: its laws, its figures against a model in plain Python, and the text it is about."""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_models import ENDINGS, alphabet_of, corpus, each_model, make_model, random_params
from reference import ReferenceModel, length_cdf

import charrnn
from charrnn.checkpoint import Checkpoint, RunDirectory, encode_json, resolve_checkpoint
from charrnn.config import StopName
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CheckpointError, CorpusError
from charrnn.metrics.baselines import baselines
from charrnn.metrics.lengths import pit, quantiles
from charrnn.metrics.ngram import NGram
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import SavedModel, load_model
from charrnn.sampling.ancestral import Request, Sampler
from charrnn.sampling.scoring import score
from charrnn.sampling.stepper import Stepper
from charrnn.tasks.generate import evaluate as evaluation_module
from charrnn.tasks.generate import free_running as free_running_module
from charrnn.tasks.generate.evaluate import COLD_BLOCK, LONGEST, STREAM_BLOCK, EvalReport, evaluate, simpler_models
from charrnn.tasks.generate.free_running import CHARS, ROWS, STREAM, draw_texts, free_running
from charrnn.tasks.generate.held_out import HeldOut, held_out
from charrnn.tasks.stored import run_record
from charrnn.training.loop import Metrics

VOCABULARY = alphabet_of(3)
UNSEEN = "ß"
TRAINING_CHARS = 1000
TEXTS = ["abc", "", "bacca", f"a{UNSEEN}{UNSEEN}b", "cccab", "", "abc", "bb"]
TELLS_TIME = ("chars_per_second", "peak_memory_bytes")

every_stop = pytest.mark.parametrize(
    ("stops", "stop"), [*[((s,), s) for s in (*ENDINGS, "none")], *[(ENDINGS, s) for s in ENDINGS]]
)
every_order = pytest.mark.parametrize("order", ["independent", "ordered"])
each_cut = pytest.mark.parametrize(
    "cut", [{}, {"open_start": True}, {"open_end": True}, {"open_start": True, "open_end": True}], ids=str
)


def saved_model(order: str = "independent", *, cell: str = "lstm", seed: int = 5, **settings: Any) -> SavedModel:
    settings = {"vocab_size": 3, "hidden_size": 4, "training_chars": TRAINING_CHARS} | settings
    small = make_model(cell, **settings)
    model = LanguageModel(replace(small.config, order=order))
    params = random_params(model.shapes, seed, dtype=np.float32)
    return SavedModel(model.config, model, params, alphabet_of(model.config.vocab_size), "0" * 64)


def report_on(
    saved: SavedModel, sequences: Sequences | list[str], stop: StopName, *, samples: int = 0, **more: Any
) -> EvalReport:
    if isinstance(sequences, list):
        sequences = corpus(sequences)
    held = HeldOut(name="text", sequences=sequences)
    return evaluate(saved, held, stop=stop, run="run", step=7, samples=samples, **more)


def close(value: float) -> Any:
    """To the precision that is promised of a likelihood in float32."""
    return pytest.approx(value, rel=1e-5, abs=1e-5)


# The oracle: one sequence after the other, one symbol at a time -------------------------------------------


@dataclass
class ByHand:
    """What one sequence costs."""

    nats: float = 0.0
    stopping: float = 0.0
    oov: int = 0
    correct: int = 0
    cdf: tuple[float, float] | None = None
    """F(τ − 1) and F(τ), where an ending was charged."""


def by_hand(
    saved: SavedModel,
    texts: Sequence[str],
    stop: StopName,
    *,
    carried: bool,
    open_start: bool = False,
    open_end: bool = False,
) -> list[ByHand]:
    reference = ReferenceModel(saved.model.config, saved.params)
    V, kappa = reference.V, reference.kappa
    state, figures = reference.start(), []
    for index, text in enumerate(texts):
        state = state if carried else reference.start()
        cut_start = open_start and index == 0
        cut_end = open_end and index == len(texts) - 1
        symbols, tau, found = VOCABULARY.encode(text).tolist(), len(text), ByHand()
        if stop == "length" and not cut_start and not cut_end:
            h, state = reference.read(V, None, state)
            weights = zip(reference.p["length.weight"], reference.p["length.bias"], strict=True)
            output = [b + sum(w * x for w, x in zip(row, h, strict=True)) for row, b in weights]
            found.cdf = (length_cdf(output, kappa, tau - 1), length_cdf(output, kappa, tau))
            found.stopping = found.nats = -math.log(found.cdf[1] - found.cdf[0])
        told = stop == "length" and not cut_end
        first = V + 1 if cut_start and stop != "none" else V
        survival = 1.0
        h, state = reference.read(first, tau if told else None, state)
        for t, symbol in enumerate(symbols, start=1):
            log_p, known = reference.log_probs(h, stop), symbol < V
            found.nats += -log_p[symbol] if known else math.log(TRAINING_CHARS + 1)
            found.oov += not known
            found.correct += known and max(log_p[:V]) == log_p[symbol]
            if stop in ("eos", "halt"):
                stay = 1.0 - reference.stopping(h, stop)
                survival *= stay
                found.nats -= math.log(stay) if stop == "halt" else 0.0
                found.stopping -= math.log(stay) if stop == "halt" or known else 0.0
            h, state = reference.read(symbol, tau - t if told else None, state)
        if stop in ("eos", "halt") and not cut_end:
            end = reference.stopping(h, stop)
            found.nats -= math.log(end)
            found.stopping -= math.log(end)
            found.cdf = (1.0 - survival, 1.0 - survival * (1.0 - end))
        figures.append(found)
    return figures


def total(figures: list[ByHand], name: str) -> float:
    return sum(getattr(one, name) for one in figures)


# The pass --------------------------------------------------------------------------------------------------


@every_stop
def test_independent_sequences_cost_what_score_says(stops, stop):
    saved = saved_model(stops=stops)
    report = report_on(saved, TEXTS, stop)
    scores = list(score(saved, TEXTS, stop))
    assert report.nll == close(sum(one.nll for one in scores))
    assert report.nll_length == close(sum(one.nll_length for one in scores))
    assert report.num_oov == sum(one.num_oov for one in scores) == 2
    assert not report.state_carried
    assert (report.cold.nll, report.cold.loss, report.cold.block) == (report.nll, report.loss, None)


@each_model
@every_stop
def test_the_pass_is_a_loop_by_hand(cell, options, stops, stop):
    """State carried over the sequences where they are ordered, from the initial state where they are not."""
    for order in ("independent", "ordered"):
        saved = saved_model(order, cell=cell, options=options, stops=stops, initial_state="learned")
        hand = by_hand(saved, TEXTS, stop, carried=order == "ordered")
        report = report_on(saved, TEXTS, stop)
        assert report.nll == close(total(hand, "nats"))
        assert report.nll_length == close(total(hand, "stopping"))
        assert report.num_oov == total(hand, "oov")
        assert report.accuracy == pytest.approx(total(hand, "correct") / report.num_chars)
        assert report.state_carried == (order == "ordered")


@every_stop
@each_cut
def test_a_text_cut_inside_sequences(stops, stop, cut):
    """No BOS and no length at a cut beginning, no ending and no length at a cut end."""
    saved = saved_model("ordered", stops=stops)
    hand = by_hand(saved, TEXTS, stop, carried=True, **cut)
    report = report_on(saved, corpus(TEXTS, **cut), stop)
    assert report.nll == close(total(hand, "nats"))
    assert report.nll_length == close(total(hand, "stopping"))


@every_stop
@every_order
def test_longer_than_a_window(stops, stop, order):
    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("abc"), size=size)) for size in (1500, 3, 900)]
    saved = saved_model(order, stops=stops, length_scale=800.0)
    hand = by_hand(saved, texts, stop, carried=order == "ordered")
    report = report_on(saved, texts, stop)
    assert report.nll == close(total(hand, "nats"))
    assert report.accuracy == pytest.approx(total(hand, "correct") / report.num_chars)


@every_stop
def test_cold_is_the_sum_of_scores(stops, stop):
    """Whatever order a text has: what a stranger would say of each sequence."""
    saved = saved_model("ordered", stops=stops)
    report = report_on(saved, TEXTS, stop)
    scores = list(score(saved, TEXTS, stop))
    assert report.cold.nll == close(sum(one.nll for one in scores))
    assert report.cold.loss == pytest.approx(report.cold.nll / report.num_chars)
    assert report.cold.block is None
    assert report.cold.nll != close(report.nll)


@every_stop
@pytest.mark.parametrize("size", [1, COLD_BLOCK, 3 * COLD_BLOCK + 17])
def test_one_stream_is_cold_in_blocks(stops, stop, size):
    rng = np.random.default_rng(4)
    text = "".join(rng.choice(list("abc"), size=size))
    saved = saved_model("ordered", stops=stops, length_scale=100.0)
    reference, V = ReferenceModel(saved.model.config, saved.params), 3
    expected = 0.0
    for begin in range(0, size, COLD_BLOCK):
        state = reference.start()
        symbol = V if begin == 0 or stop == "none" else V + 1
        for at in range(begin, min(begin + COLD_BLOCK, size)):
            h, state = reference.read(symbol, size - at if stop == "length" else None, state)
            symbol = VOCABULARY.symbols.index(text[at])
            expected -= reference.log_probs(h, stop)[symbol]
            expected -= math.log(1.0 - reference.halt(h)) if stop == "halt" else 0.0
    report = report_on(saved, [text], stop)
    assert report.cold.block == COLD_BLOCK == 64
    assert report.cold.nll == close(expected)


# The figures -----------------------------------------------------------------------------------------------


@every_stop
@every_order
def test_the_laws(stops, stop, order):
    report = report_on(saved_model(order, stops=stops), TEXTS, stop)
    chars, nll = sum(map(len, TEXTS)), report.nll
    assert (report.num_chars, report.num_sequences) == (chars, len(TEXTS))
    assert report.num_bytes == sum(len(text.encode()) for text in TEXTS) == chars + 2
    bits = nll / math.log(2)
    assert report.bits_per_char * report.num_chars == pytest.approx(bits)
    assert report.bits_per_byte * report.num_bytes == pytest.approx(bits)
    assert report.loss == pytest.approx(nll / chars)
    assert report.loss_per_symbol == pytest.approx(nll / (chars + (0 if stop == "none" else len(TEXTS))))
    assert report.perplexity == pytest.approx(math.exp(report.loss))
    assert report.nll_per_sequence == pytest.approx(nll / len(TEXTS))
    assert 0 <= report.nll_length < nll
    assert (report.nll_length == 0) == (stop == "none")
    assert (report.schema, report.run, report.step, report.data) == ("charrnn.eval/1", "run", 7, "text")
    assert (report.stop, report.order, report.model_sha256) == (stop, order, "0" * 64)


@every_stop
@every_order
def test_unseen_characters_are_told_apart(stops, stop, order):
    report = report_on(saved_model(order, stops=stops), TEXTS, stop)
    assert report.num_oov == 2
    without = report.nll - 2 * math.log(TRAINING_CHARS + 1)
    assert report.perplexity_excluding_oov == pytest.approx(math.exp(without / (report.num_chars - 2)))
    seen = report_on(saved_model(order, stops=stops), ["abc", "ba"], stop)
    assert seen.num_oov == 0
    assert seen.perplexity_excluding_oov == pytest.approx(seen.perplexity)


def test_the_standard_error_is_that_of_a_ratio():
    saved = saved_model()
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("abc"), size=size)) for size in rng.integers(0, 30, size=300)]
    report = report_on(saved, texts, "eos")
    nats = np.array([one.nll for one in score(saved, texts)])
    chars = np.array([len(text) for text in texts], float)
    assert report.nll == close(nats.sum())
    loss = nats.sum() / chars.sum()
    variance = np.sum((nats - loss * chars) ** 2) / (len(texts) - 1) * len(texts) / chars.sum() ** 2
    assert report.perplexity_stderr == pytest.approx(math.exp(loss) * math.sqrt(variance), rel=1e-4)

    picks = rng.integers(0, len(texts), size=(4000, len(texts)))
    bootstrap = np.exp(nats[picks].sum(axis=1) / chars[picks].sum(axis=1))
    assert report.perplexity_stderr == pytest.approx(bootstrap.std(), rel=0.1)


def test_the_standard_error_of_a_stream_is_over_blocks():
    rng = np.random.default_rng(6)
    sizes = [STREAM_BLOCK, STREAM_BLOCK, 500]
    text = "".join(rng.choice(list("abc"), size=sum(sizes)))
    saved = saved_model("ordered", stops=("none",))
    reference, state = ReferenceModel(saved.model.config, saved.params), None
    state, symbol, nats = reference.start(), 3, []
    for character in text:
        h, state = reference.read(symbol, None, state)
        symbol = VOCABULARY.symbols.index(character)
        nats.append(-reference.log_probs(h, "none")[symbol])
    blocks = [sum(part) for part in np.split(nats, np.cumsum(sizes)[:-1])]
    loss = sum(nats) / len(text)
    squares = sum((block - loss * size) ** 2 for block, size in zip(blocks, sizes, strict=True))
    expected = math.exp(loss) * math.sqrt(squares * 3 / 2) / len(text)
    assert report_on(saved, [text], "none").perplexity_stderr == pytest.approx(expected, rel=1e-3)


def test_one_short_text_has_no_standard_error():
    assert report_on(saved_model(), ["abc"], "eos").perplexity_stderr is None


@every_order
def test_two_evaluations_agree(order):
    saved = saved_model(order, stops=ENDINGS)
    for stop in ENDINGS:
        first, second = (asdict(report_on(saved, TEXTS, stop, samples=40)) for _ in range(2))
        for name in TELLS_TIME:
            assert first.pop(name) > 0
            assert second.pop(name) > 0
        assert first == second


def test_the_data_s_hash_is_of_its_text():
    report = report_on(saved_model(), TEXTS, "eos")
    expected = "".join(f"{text}\n" for text in TEXTS).encode()
    assert report.data_sha256 == hashlib.sha256(expected).hexdigest()


@every_stop
@every_order
def test_what_stands_in_the_training_text_is_told_apart(stops, stop, order):
    """The figures of the other sequences are those of a loop that sums them alone."""
    saved = saved_model(order, stops=stops)
    seen = np.array([text in ("abc", "") for text in TEXTS])
    held = HeldOut(name="text", sequences=corpus(TEXTS), seen=seen)
    report = evaluate(saved, held, stop=stop, run="run", step=7, samples=0)
    hand = by_hand(saved, TEXTS, stop, carried=order == "ordered")
    others = [index for index, text in enumerate(TEXTS) if text not in ("abc", "")]
    nats, chars = sum(hand[index].nats for index in others), sum(len(TEXTS[index]) for index in others)
    assert report.overlap == len(TEXTS) - len(others) == 4
    assert report.unseen.nll == close(nats)
    assert report.unseen.nll < report.nll
    assert report.unseen.loss == pytest.approx(nats / chars, rel=1e-5)
    symbols = chars + (0 if stop == "none" else len(others))
    assert report.unseen.loss_per_symbol == pytest.approx(nats / symbols, rel=1e-5)
    assert (report.unseen.num_chars, report.unseen.num_sequences) == (chars, len(others))


@pytest.mark.parametrize("seen", [None, np.zeros(8, bool), np.ones(8, bool)], ids=["unknown", "none", "all"])
def test_without_both_kinds_there_is_nothing_to_tell_apart(seen):
    held = HeldOut(name="text", sequences=corpus(TEXTS), seen=seen)
    report = evaluate(saved_model(), held, stop="eos", run="run", step=7, samples=0)
    assert report.unseen is None
    assert report.overlap == (None if seen is None else int(seen.sum()))


def test_a_lone_surrogate_is_a_character_too():
    report = report_on(saved_model(), Sequences.from_texts(["a\ud800b"]), "eos")
    assert (report.num_oov, report.num_bytes) == (1, 5)


def test_progress_is_told():
    said: list[tuple[str, float]] = []
    saved = saved_model("ordered")
    report_on(saved, TEXTS * 20, "eos", samples=100, notify=lambda what, share: said.append((what, share)))
    assert {what for what, _ in said} == {"scoring", "sampling"}
    assert all(0 <= share <= 1 for _, share in said)
    assert ("scoring", 1.0) in said


# Lengths ---------------------------------------------------------------------------------------------------


@every_stop
@each_cut
def test_the_length_distribution_along_the_text(stops, stop, cut):
    """F(k) = 1 − Π (1 − s_j) by hand; a sequence that was cut has no length."""
    for order in ("independent", "ordered"):
        saved = saved_model(order, stops=stops)
        report = report_on(saved, corpus(TEXTS, **cut), stop)
        if stop == "none":
            assert report.lengths is None
            assert report.cut_at is None
            continue
        hand = by_hand(saved, TEXTS, stop, carried=order == "ordered", **cut)
        whole = slice(bool(cut.get("open_start")), len(TEXTS) - bool(cut.get("open_end")))
        before, at = zip(*[one.cdf for one in hand[whole]], strict=True)
        expected = pit(before, at)
        assert report.lengths.pit.histogram == pytest.approx(expected.histogram, abs=1e-4)
        assert report.lengths.pit.mean == pytest.approx(expected.mean, abs=1e-4)
        assert report.lengths.held_out == quantiles([len(text) for text in TEXTS[whole]])


@pytest.mark.parametrize("stop", ENDINGS)
@pytest.mark.parametrize("stops", [ENDINGS, None])
def test_sampled_lengths_are_the_model_s(stops, stop):
    """A quantile q of M samples lies where F is q, within four standard deviations of a share."""
    saved, M = saved_model(stops=stops or (stop,), vocab_size=1), 2000
    report = report_on(saved, ["", "a"], stop, samples=M)
    reference = ReferenceModel(saved.model.config, saved.params)
    assert (report.num_sampled, report.num_cut) == (M, 0)
    drawn = report.lengths.sampled
    for q, found in ((0.25, drawn.p25), (0.5, drawn.p50), (0.75, drawn.p75)):
        below, spread = math.floor(found) - 1, 4 * math.sqrt(q * (1 - q) / M)
        before = 1.0 - reference.alive(below, stop) if below >= 0 else 0.0
        assert before - spread <= q <= 1.0 - reference.alive(math.ceil(found), stop) + spread


def test_samples_that_never_end_are_cut_and_counted():
    saved = saved_model()
    saved.params["readout.bias"][-1] = -1e4
    for texts, cut_at in ((["abc"], LONGEST * 100), (["a" * 150], LONGEST * 150)):
        report = report_on(saved, texts, "eos", samples=3)
        assert (report.num_sampled, report.num_cut, report.cut_at) == (3, 3, cut_at)
        assert report.lengths.sampled.min == cut_at


def test_the_training_lengths_stand_beside():
    saved = saved_model()
    held = HeldOut(name="text", sequences=corpus(["a", "ab"]), train=corpus(["ab", "abc"]))
    report = evaluate(saved, held, stop="eos", run="run", step=None, samples=0)
    assert report.lengths.ks_training == 0.5
    assert report_on(saved, ["a", "ab"], "eos").lengths.ks_training is None


# Strict JSON -----------------------------------------------------------------------------------------------


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture
def _few_characters_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for every field of a report to be there, where none of its values is looked at."""
    monkeypatch.setattr(free_running_module, "CHARS", 200)
    monkeypatch.setattr(free_running_module, "ROWS", 16)


@every_stop
@every_order
@pytest.mark.usefixtures("_few_characters_drawn")
@pytest.mark.parametrize(
    "texts", [TEXTS, [""], ["", ""], [UNSEEN], [UNSEEN, "", "a"]], ids=["usual", "empty", "empties", "oov", "few"]
)
def test_the_report_is_strict_json(stops, stop, order, texts):
    saved = saved_model(order, stops=stops)
    held = HeldOut(name="text", sequences=corpus(texts), train=corpus(["abc", "ba"]), valid=corpus(["ab"]))
    simpler = simpler_models(saved, held)
    report = evaluate(saved, held, stop=stop, run="run", step=None, simpler=simpler, samples=3)
    json.dumps(asdict(report), allow_nan=False)
    decoded = json.loads(encode_json(report), parse_constant=refuse)
    assert decoded["schema"] == "charrnn.eval/1"
    assert decoded["nll"] == pytest.approx(report.nll)
    if not "".join(texts):
        assert decoded["loss"] is decoded["perplexity"] is decoded["bits_per_byte"] is decoded["accuracy"] is None
        assert decoded["cold"]["loss"] is None
    if set("".join(texts)) == {UNSEEN}:
        assert decoded["perplexity_excluding_oov"] is None


def test_a_perplexity_beyond_all_numbers_is_null():
    saved = saved_model()
    saved.params["readout.bias"][0] = -1e4
    report = report_on(saved, ["aaa"], "eos")
    assert report.loss > 700
    assert report.perplexity is None
    json.dumps(asdict(report), allow_nan=False)


# Of a run --------------------------------------------------------------------------------------------------

DATA = Path(charrnn.__file__).parents[1] / "data"
SMALL = {
    "hidden_size": 16,
    "steps": 40,
    "eval_every": 20,
    "threads": 1,
    "device": "cpu",
    "seed": 1,
    "batch_size": 16,
}


@dataclass
class Trained:
    run: Path
    root: Path
    corpus: Path

    def checkpoint(self) -> Checkpoint:
        return resolve_checkpoint(str(self.run), self.root, "last")


def train_on(root: Path, corpus: Path, **config: Any) -> Trained:
    return Trained(charrnn.train(corpus, checkpoints=root, settings=SMALL | config), root, corpus)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    names = (DATA / "names.txt").read_text(encoding="utf-8").split("\n")
    (folder / "names.txt").write_text("\n".join(names[:6000:10]) + "\n", encoding="utf-8")
    plays = (DATA / "tinyshakespeare.txt").read_text(encoding="utf-8")
    (folder / "plays.txt").write_text(plays[:30_000], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def names(folder: Path) -> Trained:
    with validated_whole():
        return train_on(folder / "checkpoints", folder / "names.txt", stop=ENDINGS, valid_fraction=0.2)


@pytest.fixture(scope="module")
def plays(folder: Path) -> Trained:
    """No test split; a validation text long enough that training reads it in lanes."""
    config = {"stop": ENDINGS, "valid_fraction": 0.4, "test_fraction": 0.0, "learning_rate": 0.02}
    with validated_whole():
        return train_on(folder / "checkpoints", folder / "plays.txt", **config)


@contextmanager
def validated_whole() -> Iterator[None]:
    """However short the run is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.training.loop.VALIDATED_SHARE", 1e9)
        yield


@pytest.fixture
def copied(names: Trained, tmp_path: Path) -> Trained:
    """The run on names with a corpus of its own, to be spoilt."""
    corpus = tmp_path / "names.txt"
    shutil.copy(names.corpus, corpus)
    return train_on(tmp_path / "checkpoints", corpus, steps=1)


@pytest.mark.parametrize(("which", "tolerance"), [("names", 1e-5), ("plays", 1e-2)])
def test_the_validation_split_reads_as_in_training(which, tolerance, request):
    """Ordered text is read in lanes that warm up while training, in one while evaluating."""
    trained = request.getfixturevalue(which)
    *_, last = RunDirectory(trained.run).metrics(Metrics)
    checkpoint = trained.checkpoint()
    assert last.step == checkpoint.step == 40
    held = held_out(checkpoint, trained.root, part="valid")
    saved = load_model(checkpoint)
    losses = [report_on(saved, held.sequences, stop).loss for stop in ENDINGS]
    assert sum(losses) / 3 == pytest.approx(last.eval_loss, abs=tolerance)


def test_a_run_s_own_parts(names, plays):
    checkpoint = names.checkpoint()
    parts = {part: held_out(checkpoint, names.root, part=part) for part in ("train", "valid", "test")}
    counts = {part: len(held.sequences) for part, held in parts.items()}
    assert sum(counts.values()) == 600
    assert counts["valid"] > counts["test"] > 0
    usual = held_out(checkpoint, names.root)
    assert usual.name == "test"
    assert usual.overlap == 0
    assert held_out(plays.checkpoint(), plays.root).overlap is None
    assert usual.train is not None
    assert usual.valid is not None
    assert (len(usual.train), len(usual.valid)) == (counts["train"], counts["valid"])
    assert held_out(plays.checkpoint(), plays.root).name == "valid"


def test_a_part_of_repeated_rows_is_told_apart(tmp_path):
    """Half of the rows repeat, so rows are held out one by one: some of those held out are trained on too."""
    rng = np.random.default_rng(2)
    lines = ["".join(rng.choice(list("ab"), size=rng.integers(1, 12))) for _ in range(400)]
    lines_file = tmp_path / "ab.txt"
    lines_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    trained = train_on(tmp_path / "checkpoints", lines_file, steps=1, valid_fraction=0.3)
    held = {part: held_out(trained.checkpoint(), trained.root, part=part) for part in ("train", "valid")}
    texts = {part: [h.sequences.get(i) for i in range(len(h.sequences))] for part, h in held.items()}
    assert held["valid"].seen.tolist() == [text in texts["train"] for text in texts["valid"]]
    assert 0 < held["valid"].overlap < 120
    assert held["train"].seen is None


def test_an_empty_part_is_an_error(plays):
    with pytest.raises(CorpusError, match="test split of plays is empty"):
        held_out(plays.checkpoint(), plays.root, part="test")


def test_a_file_as_given(names, tmp_path):
    known = names.corpus.read_text(encoding="utf-8").split("\n")[0]
    train = held_out(names.checkpoint(), names.root, part="train").sequences
    in_training = {train.get(index) for index in range(len(train))}
    file = tmp_path / "file.txt"
    file.write_text(f"{known}\nunheardof\n{known}\n\nx", encoding="utf-8")
    held = held_out(names.checkpoint(), names.root, file=str(file))
    assert [held.sequences.get(i) for i in range(5)] == [known, "unheardof", known, "", "x"]
    assert held.name == str(file)
    assert held.overlap == (2 if known in in_training else 0) + ("" in in_training)
    assert held.train is not None
    assert held.notes == ()
    whole = held_out(names.checkpoint(), names.root, file=str(file), split="file").sequences
    assert [whole.get(i) for i in range(len(whole))] == [file.read_text(encoding="utf-8")]
    with pytest.raises(CorpusError, match="gone"):
        held_out(names.checkpoint(), names.root, file="gone.txt")


@pytest.mark.parametrize("change", ["another name", None])
def test_a_corpus_that_changed_or_went(copied, change, tmp_path):
    """Its parts are no longer there to be read; a file is, but the baselines have nothing to learn from."""
    if change is None:
        copied.corpus.unlink()
    else:
        copied.corpus.write_text(copied.corpus.read_text(encoding="utf-8") + change, encoding="utf-8")
    checkpoint = copied.checkpoint()
    with pytest.raises(CorpusError, match=r"names\.txt"):
        held_out(checkpoint, copied.root)
    file = tmp_path / "file.txt"
    file.write_text("anna\nbea\n", encoding="utf-8")
    held = held_out(checkpoint, copied.root, file=str(file))
    assert (held.train, held.valid, held.overlap) == (None, None, None)
    (note,) = held.notes
    assert "names.txt" in note
    saved = load_model(checkpoint)
    found = simpler_models(saved, held)
    assert found.figures["ngram"] is found.figures["xz"] is found.figures["unigram"] is None
    report = evaluate(saved, held, stop="eos", run="names", step=1, simpler=found, samples=0)
    assert report.notes == held.notes


def test_a_checkpoint_alone(names, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(names.checkpoint().path, alone)
    checkpoint = resolve_checkpoint(str(alone), tmp_path)
    assert run_record(checkpoint) is None
    with pytest.raises(CheckpointError, match="FILE"):
        held_out(checkpoint, tmp_path)
    file = tmp_path / "file.txt"
    file.write_text("anna\nbea\n", encoding="utf-8")
    held = held_out(checkpoint, tmp_path, file=str(file))
    assert len(held.sequences) == 2
    assert held.train is None


@pytest.mark.parametrize("which", ["names", "plays"])
def test_baselines_read_what_the_model_read(which, request):
    trained = request.getfixturevalue(which)
    checkpoint = trained.checkpoint()
    saved, held = load_model(checkpoint), held_out(checkpoint, trained.root, part="valid")
    train = held_out(checkpoint, trained.root, part="train").sequences
    found = simpler_models(saved, held)
    expected = baselines(
        train,
        held.sequences,
        held.sequences,
        saved.vocabulary,
        training_chars=train.num_chars,
        independent=which == "names",
        endings=True,
        separator="\n" if which == "names" else "\n\n",
    )
    assert found.figures == expected.figures
    report = evaluate(saved, held, stop="eos", run=which, step=40, simpler=found, samples=0)
    assert report.baselines == expected.figures
    weights = checkpoint.path / "model.safetensors"
    assert report.model_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


@every_order
@pytest.mark.parametrize("stop", ["eos", "none"])
def test_baselines_pay_for_what_the_model_pays(stop, order):
    """The uniform one by hand: endings where they are charged, and an unseen character what it costs here."""
    saved = saved_model(order, stops=(stop,))
    held = HeldOut(name="text", sequences=corpus(TEXTS), train=corpus(["abc", "ba"]), valid=corpus([]))
    chars = sum(map(len, TEXTS)) - 2
    outcomes, symbols = (3, chars) if stop == "none" else (4, chars + len(TEXTS))
    found = simpler_models(saved, held)
    assert found.figures["num_oov"] == 2
    assert found.figures["uniform"]["nll"] == pytest.approx(
        symbols * math.log(outcomes) + 2 * math.log(TRAINING_CHARS + 1)
    )
    assert found.figures["ngram"]["order"] == 5


# Samples as the n-gram sees them ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop", ["eos", "none", *(pytest.param(stop, marks=pytest.mark.slow) for stop in ("halt", "length"))]
)
def test_a_model_s_samples_cost_the_n_gram_what_a_loop_by_hand_says(stop):
    """A fresh model of two letters; the n-gram of order 1 is counted by hand."""
    texts = ["aab", "ab", "aaab", "b"] * 4
    model = make_model("gru", stops=(stop,), hidden_size=4, length_scale=2.0)
    saved = SavedModel(model.config, model, random_params(model.shapes, seed=11, scale=0.5), alphabet_of(2), "")
    ngram = NGram(2, stop != "none", False, unknown_nll=9.0)
    ids = {"a": 0, "b": 1}
    marks = [2] * (stop != "none")
    ngram = ngram.fit(np.array([i for text in texts for i in [*(ids[c] for c in text), *marks]]), 1)
    drawn = draw_texts(saved, stop, seed=3)
    found = free_running(saved, drawn, ngram, 1, 0.7)
    assert found.ngram_loss_held_out == 0.7
    assert found.num_chars >= CHARS // 2

    flat = [c for text in texts for c in text] + ["end"] * (len(texts) if marks else 0)
    outcomes, kinds = len(set(flat)), len(flat)
    nats = {c: -math.log((flat.count(c) + outcomes / outcomes) / (kinds + outcomes)) for c in set(flat)}
    endless = stop == "none"
    request = Request(stop=stop, num_chars=STREAM if endless else None, max_chars=CHARS // 8, seed=3)
    first = Sampler(Stepper(model, saved.params), request).draw(range(ROWS))
    for number, symbols in sorted((one.number, one.symbols.tolist()) for one in first):
        assert drawn[number].symbols.tolist() == symbols
    total, chars = 0.0, 0
    for one in drawn:
        if chars < CHARS:
            total += sum(nats["ab"[symbol]] for symbol in one.symbols) + (0.0 if endless else nats["end"])
            chars += len(one.symbols)
    assert (found.num_chars, found.ngram_loss_sampled) == (chars, pytest.approx(total / chars, rel=1e-9))


@pytest.mark.parametrize("stop", ENDINGS)
def test_what_a_report_draws_is_bounded(stop, monkeypatch):
    """The model hardly ever ends a text, and the held-out texts are as long as all that may be drawn."""
    monkeypatch.setattr(free_running_module, "CHARS", 400)
    for module in (free_running_module, evaluation_module):
        monkeypatch.setattr(module, "MOST_CHARS", 4000)
        monkeypatch.setattr(module, "ROWS", 16)
    saved = saved_model(stops=(stop,), vocab_size=2)
    saved.params["readout.bias"][-1] = -1e4
    saved.params.update(
        {name: np.float32(-1e4) + 0 * saved.params[name] for name in saved.params if name == "halt.bias"}
    )
    held = HeldOut(name="text", sequences=corpus(["ab" * 2000, "ab"]), train=corpus(["ab" * 2000]))
    report = evaluate(saved, held, stop=stop, run="run", step=None)
    if stop == "length":
        assert (report.num_sampled, report.num_cut) == (2000, 0)
        return
    assert (report.num_sampled, report.num_cut, report.cut_at) == (16, 16, 250)
    assert report.lengths.ks_distance == 0.5  # below 250 characters there is the text of two
