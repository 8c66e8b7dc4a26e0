"""The learner of the task `generate`: what it charges, what it carries, and how it goes on."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import (
    ENDINGS,
    STOP_SETS,
    alphabet_of,
    make_model,
    random_params,
    reader_of,
    text_nll,
    whole_steps,
)

from charrnn.cells.arrays import Params
from charrnn.cells.cell import map_state
from charrnn.config import StopName
from charrnn.corpus.batching import batch_source
from charrnn.corpus.steps import STOP_INDEX, Kind, Steps
from charrnn.models.language_model import LanguageModel
from charrnn.tasks.generate.learner import GenerateLearner
from charrnn.training.dropout import FALL, fallen, weight_dropout

TEXTS = ["abba", "b", "", "aabab", "ba", "bbbbabab", "a", "", "abab", "bb"]
VOCABULARY = alphabet_of(2)


def make_learner(
    model: LanguageModel,
    params: Params,
    order: str,
    texts: list[str],
    *,
    batch_size: int = 3,
    window: int = 4,
    validation: list[str] | None = None,
    dropout: float = 0.0,
    **settings: Any,
) -> GenerateLearner:
    return GenerateLearner(
        model,
        params,
        batch_source(
            reader_of(texts, VOCABULARY), order, model.stops, batch_size=batch_size, window=window, seed=2
        ),
        None if validation is None else reader_of(validation, VOCABULARY),
        order=order,
        dropout=dropout,
        **settings,
        seed=0,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("stops", STOP_SETS)
@pytest.mark.parametrize("window", [1, 3, 100])
def test_independent_sequences_cost_their_likelihoods(stops, window):
    """Each from the initial state, its windows carried, by the mechanism that its lane has drawn."""
    model = make_model(stops=stops, num_layers=2, initial_state="learned")
    params = random_params(model.shapes)
    learner = make_learner(model, params, "independent", TEXTS, window=window)
    alone = {STOP_INDEX[stop]: [step_nll(model, params, text, stop) for text in TEXTS] for stop in stops}
    watcher = batch_source(reader_of(TEXTS, VOCABULARY), "independent", stops, batch_size=3, window=window, seed=2)
    read = np.zeros(3, int)
    begun = 0
    divisors: set[float] = set()
    for step in range(60):
        seen = watcher.next_window()
        read[seen.fresh] = 0
        begun += int(seen.fresh.sum())
        expected, expected_chars = 0.0, 0
        for b, sequence in enumerate(seen.sequence[0]):
            count = int(np.count_nonzero(seen.sequence[:, b] == sequence))
            expected += alone[int(seen.steps.stops[b])][sequence][read[b] : read[b] + count].sum()
            expected_chars += int(np.count_nonzero(seen.steps.kinds[:, b] == Kind.CHARACTER))
            read[b] += count
        nats, divisor, chars = learner.next_loss(step, 0.0)
        assert nats.item() == pytest.approx(expected, abs=1e-9)
        assert chars == expected_chars
        divisors.add(divisor)
    assert begun > len(TEXTS)
    assert len(divisors) == 1, "every term weighs the same, in whatever window it stands"
    assert divisors.pop() > 0


def step_nll(model: LanguageModel, params: Params, text: str, stop: StopName) -> np.ndarray:
    """What each step of a text costs, (T,), read alone and at once."""
    steps = whole_steps([text], stop, VOCABULARY)
    hidden, _ = model.read(params, steps, model.initial_state(params, 1))
    return np.asarray(model.nll(params, hidden, steps))[:, 0]


def read_by_hand(model: LanguageModel, params: Params, columns: list[Steps]) -> float:
    """The nll of one lane's windows in NumPy, the state carried from each to the next."""
    state, total = model.initial_state(params, 1), 0.0
    for steps in columns:
        hidden, state = model.read(params, steps, state)
        total += float(model.nll(params, hidden, steps).sum())
    return total


@pytest.mark.parametrize("stops", STOP_SETS)
@pytest.mark.parametrize("texts", [TEXTS * 6, ["abbab" * 40]], ids=["lines", "one text"])
def test_ordered_text_carries_its_state_between_fresh_windows(stops, texts):
    model = make_model(stops=stops, num_layers=2, initial_state="learned")
    params = random_params(model.shapes)
    learner = make_learner(model, params, "ordered", texts)
    watcher = batch_source(reader_of(texts, VOCABULARY), "ordered", stops, batch_size=3, window=4, seed=2)
    total, lanes = 0.0, [[[]] for _ in range(3)]
    for step in range(150):
        total += learner.next_loss(step, 0.0)[0].item()
        window = watcher.next_window()
        for b, pieces in enumerate(lanes):
            if window.fresh[b]:
                pieces.append([])
            alone = [array[:, b : b + 1] for array in window.steps[:4]]
            pieces[-1].append(Steps(*alone, window.steps.stops[b : b + 1]))
    assert all(len(pieces) > 3 for pieces in lanes)
    expected = sum(read_by_hand(model, params, piece) for pieces in lanes for piece in pieces)
    assert total == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("stops", STOP_SETS)
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_every_parameter_has_a_gradient_in_every_window(stops, initial_state):
    """One without is skipped by the optimiser, and its count of steps would not be that of the run."""
    model = make_model(stops=stops, num_layers=2, initial_state=initial_state)
    for order in ("independent", "ordered"):
        learner = make_learner(model, random_params(model.shapes), order, TEXTS * 6)
        for step in range(40):
            for parameter in learner.parameters.values():
                parameter.grad = None
            learner.next_loss(step, 0.0)[0].backward()
            assert all(parameter.grad is not None for parameter in learner.parameters.values())


@pytest.mark.parametrize("order", ["independent", "ordered"])
@pytest.mark.parametrize("stops", STOP_SETS)
def test_a_restored_learner_goes_on_bit_for_bit(order, stops):
    model = make_model(stops=stops, num_layers=2, initial_state="learned")
    params = random_params(model.shapes, dtype=np.float32)

    def losses(learner: GenerateLearner, steps: range) -> list[float]:
        return [learner.next_loss(step, 0.0)[0].item() for step in steps]

    learner = make_learner(model, params, order, TEXTS * 6)
    found: list[float] = []
    restored: dict[int, GenerateLearner] = {}
    for at in (1, 5, 18):
        found += losses(learner, range(len(found), at))
        restored[at] = make_learner(model, params, order, TEXTS * 6)
        restored[at].restore(learner.carried(), learner.source.position)
    found += losses(learner, range(len(found), 40))
    for at, other in restored.items():
        assert losses(other, range(at, 40)) == found[at:]


@pytest.mark.parametrize("stops", STOP_SETS)
def test_validation_of_independent_sequences_is_their_likelihood(stops):
    model = make_model(stops=stops)
    params = random_params(model.shapes)
    learner = make_learner(model, params, "independent", ["ab"], validation=TEXTS)
    per_stop = [text_nll(model, params, TEXTS, stop).sum() for stop in stops]
    expected = np.mean(per_stop) / sum(map(len, TEXTS))
    for _ in range(2):
        assert learner.validate() == pytest.approx(expected, abs=1e-9)
    assert make_learner(model, params, "independent", ["ab"]).validate() is None


@pytest.mark.parametrize("stop", [*ENDINGS, "none"])
def test_validation_of_ordered_text_carries_the_state(stop: StopName):
    """Over a short text every lane reads from the very beginning, so that the estimate is exact."""
    model = make_model(stops=(stop,))
    model = LanguageModel(model.config.__class__(**{**vars(model.config), "order": "ordered"}))
    params = random_params(model.shapes)
    learner = make_learner(model, params, "ordered", ["ab"], validation=TEXTS)
    state, total = model.initial_state(params, 1), 0.0
    for text in TEXTS:
        steps = whole_steps([text], stop, VOCABULARY)
        hidden, state = model.read(params, steps, state)
        total += float(model.nll(params, hidden, steps).sum())
        assert (steps.kinds == Kind.CHARACTER).sum() == len(text)
    assert learner.validate() == pytest.approx(total / sum(map(len, TEXTS)), abs=1e-9)


def test_validating_changes_nothing_that_training_sees():
    model = make_model(stops=ENDINGS)
    params: dict[str, Any] = random_params(model.shapes)
    plain, validating = (make_learner(model, params, "ordered", TEXTS * 6, validation=TEXTS) for _ in range(2))
    for step in range(20):
        validating.validate()
        assert plain.next_loss(step, 0.0)[0].item() == validating.next_loss(step, 0.0)[0].item()


def test_dropout_falls_to_nothing_at_the_end_of_the_run():
    assert [fallen(0.4, share) for share in (0.0, 0.5, 1.0)] == [0.4, 0.4, 0.0]
    assert fallen(0.4, 1.0 - FALL / 2) == pytest.approx(0.2)
    model = make_model(stops=("eos",))
    params: dict[str, Any] = random_params(model.shapes)
    noisy, plain = (make_learner(model, params, "ordered", TEXTS * 6, dropout=p) for p in (0.5, 0.0))
    for step, share in enumerate((0.0, 1.0 - FALL / 2, 1.0)):
        same = noisy.next_loss(step, share)[0].item() == plain.next_loss(step, share)[0].item()
        assert same == (share == 1.0)
        noisy.state = plain.state


def test_weight_dropout_masks_the_recurrent_weights_alone_and_keeps_their_mean():
    params = {name: torch.ones(40, 50) for name in ("layers.0.weight_hh", "layers.0.weight_ih", "readout.weight")}
    rng = np.random.default_rng(0)
    dropped = weight_dropout(params, 0.25, rng)
    assert {name for name in params if dropped[name] is not params[name]} == {"layers.0.weight_hh"}
    masked = dropped["layers.0.weight_hh"]
    assert set(masked.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert float(masked.mean()) == pytest.approx(1.0, abs=4 * (0.25 / 0.75 / masked.numel()) ** 0.5)
    assert weight_dropout(params, 0.0, rng) is params


def test_what_is_washed_out_is_read_but_not_charged():
    """The first steps behind an initial state, and only those: everything else costs what it did."""
    model = make_model("echo_state", stops=("eos",), hidden_size=4)
    params = random_params(model.shapes)
    text = ["abbab" * 40]
    plain = make_learner(model, params, "ordered", text)
    washed = make_learner(model, params, "ordered", text, washout=2)
    watcher = batch_source(reader_of(text, VOCABULARY), "ordered", ("eos",), batch_size=3, window=4, seed=2)
    state = model.initial_state(params, 3)
    seen = 0
    for step in range(60):
        window = watcher.next_window()
        initial = model.initial_state(params, 3)
        state = tuple(
            map_state(lambda a, b, fresh=window.fresh: np.where(fresh[:, None], a, b), new, old)
            for new, old in zip(initial, state, strict=True)
        )
        hidden, state = model.read(params, window.steps, state)
        nll = np.asarray(model.nll(params, hidden, window.steps))
        full, less = plain.next_loss(step, 0.0)[0].item(), washed.next_loss(step, 0.0)[0].item()
        assert full == pytest.approx(nll.sum(), abs=1e-9)
        assert full - less == pytest.approx(nll[:2, window.fresh].sum(), abs=1e-9)
        seen += int(window.fresh.sum())
    assert seen > 3


def test_what_is_frozen_is_not_trained():
    model = make_model("echo_state", stops=("eos",), num_layers=2)
    learner = make_learner(model, random_params(model.shapes), "ordered", TEXTS * 6)
    learner.next_loss(0, 0.0)[0].backward()
    assert learner.trained.keys() == {"readout.weight", "readout.bias"}
    assert all(learner.parameters[name].grad is None for name in model.frozen)


def test_scheduled_sampling_grows_with_the_run():
    """At its beginning the model reads the text; later its own characters change what the text costs."""
    model = make_model("gru", stops=("eos",), hidden_size=6)
    params = random_params(model.shapes)
    plain = make_learner(model, params, "ordered", TEXTS * 6, validation=TEXTS)
    own = make_learner(model, params, "ordered", TEXTS * 6, validation=TEXTS, scheduled_sampling=0.9)
    first = [learner.next_loss(0, 0.0)[0].item() for learner in (plain, own)]
    assert first[0] == pytest.approx(first[1], abs=1e-9)
    late = [learner.next_loss(1, 1.0)[0].item() for learner in (plain, own)]
    assert abs(late[0] - late[1]) > 0.1
    assert plain.validate() == own.validate()
