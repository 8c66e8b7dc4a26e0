"""What the design asks to prove of P(y): that it is the equations, sums to one, and ends.

P(y) is the model's own nll through the real steps; the oracle is the model written out in plain Python. Under
`length` BOS is read twice, without the count where τ is announced and again with it.
"""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from helpers_models import (
    CELL_CASES,
    ENDINGS,
    MODEL_CASES,
    all_texts,
    alphabet_of,
    each_cell,
    each_model,
    each_model_and_stop,
    each_of,
    each_stop,
    make_model,
    output_bound,
    random_params,
    text_nll,
    whole_steps,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel

from charrnn.config import StopName
from charrnn.models.language_model import LanguageModel

Params = dict[str, np.ndarray]

SIZES = [(1, "zero"), (2, "learned")]
each_size = pytest.mark.parametrize(("num_layers", "initial_state"), SIZES)


def model_of(
    cell: str, options: dict, stops: tuple[StopName, ...], num_layers: int, initial_state: str, **sizes: int
) -> LanguageModel:
    return make_model(
        cell, options, stops=stops, num_layers=num_layers, initial_state=initial_state, length_scale=2.0, **sizes
    )


def alive_by_model(model: LanguageModel, params: Params, L: int, stop: StopName) -> float:
    """A_L = Σ_{|y| = L} P(reach y)(1 − stop(y)) from the model's own assessment."""
    vocabulary = alphabet_of(model.config.vocab_size)
    texts = ["".join(text) for text in product(vocabulary.symbols, repeat=L)]
    steps = whole_steps(texts, stop, vocabulary)
    hidden, _ = model.read(params, steps, model.initial_state(params, len(texts)))
    found = model.assess(params, hidden, steps)
    return float(np.exp(-found.nll[:L].sum(axis=0) + found.log_go_on[L]).sum())


def alive(model: LanguageModel, params: Params, L: int, stop: StopName) -> float:
    """A_L; 1 − F(L) under `length`, by the reference's distribution function."""
    if stop == "length":
        return ReferenceModel(model.config, params).alive(L, stop)
    return alive_by_model(model, params, L, stop)


# The equations ---------------------------------------------------------------------------------------------


@each_model_and_stop
@each_size
def test_likelihood_is_the_equations_in_plain_python(cell, options, stops, stop, num_layers, initial_state):
    model = model_of(cell, options, stops, num_layers, initial_state, vocab_size=3)
    params = random_params(model.shapes, seed=3)
    reference = ReferenceModel(model.config, params)
    texts = ["", "a", "cc", "abc", "bacca"]
    expected = [-reference.log_prob(alphabet_of(3).encode(text).tolist(), stop) for text in texts]
    np.testing.assert_allclose(text_nll(model, params, texts, stop), expected, rtol=0, atol=1e-9)


@each_model
@each_size
def test_likelihood_of_a_stream_is_the_equations(cell, options, num_layers, initial_state):
    model = model_of(cell, options, ("none",), num_layers, initial_state, vocab_size=3)
    params = random_params(model.shapes, seed=3)
    reference = ReferenceModel(model.config, params)
    texts = ["", "a", "bacca"]
    expected = [-reference.log_prob(alphabet_of(3).encode(text).tolist(), "none") for text in texts]
    np.testing.assert_allclose(text_nll(model, params, texts, "none"), expected, rtol=0, atol=1e-9)


# (a) The probabilities sum to one --------------------------------------------------------------------------


@each_model_and_stop
@each_size
@pytest.mark.parametrize(("vocab_size", "L"), [(2, 7), (3, 4)])
def test_probabilities_sum_to_one(cell, options, stops, stop, num_layers, initial_state, vocab_size, L):
    """Σ_{|y| ≤ L} P(y) + A_L = 1, over every text of a small alphabet."""
    model = model_of(cell, options, stops, num_layers, initial_state, vocab_size=vocab_size)
    params = random_params(model.shapes, seed=L, scale=0.4)
    texts = all_texts(vocab_size, L)
    assert len(texts) == sum(vocab_size**length for length in range(L + 1))
    ended = np.exp(-text_nll(model, params, texts, stop)).sum()
    assert 0.1 < ended < 0.999999, "nearly all or nothing shows little"
    assert ended + alive(model, params, L, stop) == pytest.approx(1.0, abs=1e-9)


@given(
    case=st.sampled_from(CELL_CASES),
    stop=st.sampled_from(ENDINGS),
    alone=st.booleans(),
    seed=st.integers(0, 2**32),
    scale=st.floats(0.0, 8.0),
)
def test_probabilities_sum_to_one_for_any_weights(case, stop, alone, seed, scale):
    model = model_of(*case, (stop,) if alone else ENDINGS, 2, "learned")
    params = random_params(model.shapes, seed=seed, scale=scale)
    ended = np.exp(-text_nll(model, params, all_texts(2, 4), stop)).sum()
    assert ended + alive(model, params, 4, stop) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.slow
@each_model_and_stop
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_probabilities_of_longer_texts_sum_to_one(cell, options, stops, stop, scale):
    for seed in range(3):
        for vocab_size, L in ((2, 10), (3, 6)):
            model = model_of(cell, options, stops, 2, "learned", vocab_size=vocab_size, hidden_size=8)
            params = random_params(model.shapes, seed=seed, scale=scale)
            ended = np.exp(-text_nll(model, params, all_texts(vocab_size, L), stop)).sum()
            assert ended + alive(model, params, L, stop) == pytest.approx(1.0, abs=1e-9)


@each_stop
def test_texts_of_a_length_have_the_probability_of_that_length(stops, stop):
    """Under `length` they sum to p(τ), under eos and halt to A_(τ−1) − A_τ."""
    model = model_of("gru", {}, stops, 1, "zero")
    params = random_params(model.shapes, seed=5)
    reference = ReferenceModel(model.config, params)
    before = 1.0
    for tau in range(5):
        texts = [text for text in all_texts(2, 4) if len(text) == tau]
        total = np.exp(-text_nll(model, params, texts, stop)).sum()
        after = reference.alive(tau, stop)
        assert total == pytest.approx(before - after, abs=1e-9)
        if stop == "length":
            assert total == pytest.approx(reference.p_length(tau), abs=1e-9)
        before = after


@each_model
@pytest.mark.parametrize("stop", ["eos", "halt"])
def test_what_goes_on_is_the_reference_s(cell, options, stop):
    model = model_of(cell, options, (stop,), 1, "learned")
    params = random_params(model.shapes)
    reference = ReferenceModel(model.config, params)
    for L in range(4):
        assert alive_by_model(model, params, L, stop) == pytest.approx(reference.alive(L, stop), abs=1e-12)


# (b) Every text ends ---------------------------------------------------------------------------------------


def least_stopping(model: LanguageModel, params: Params, stop: StopName) -> float:
    """A lower bound of the stopping probability at every state, from the weights alone.

    A learned initial state, where it is more than what a cell reaches, can carry through.
    """
    starts = [np.abs(value).max() for name, value in params.items() if name.startswith("initial_state")]
    size = np.maximum(output_bound(model, params), max([0.0, *starts]))
    if stop == "halt":
        least = float(params["halt.bias"] - np.abs(params["halt.weight"]) @ size)
        return float(np.exp(-np.logaddexp(0.0, -least)))
    if model.layers[-1].gives_logits:
        reach, bias = size, np.zeros(len(size))
    else:
        reach, bias = np.abs(params["readout.weight"]) @ size, params["readout.bias"]
    others = bias[:-1] + reach[:-1] - (bias[-1] - reach[-1])
    return float(np.exp(-np.logaddexp.reduce([0.0, *others])))


@each_of(
    ("stop", "stops"),
    MODEL_CASES,
    {"eos": ("eos", ("eos",)), "halt": ("halt", ("halt",)), "all-halt": ("halt", ENDINGS)},
    lambda _number: ["eos", "halt"],
)
@each_size
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_what_is_alive_falls_geometrically(cell, options, stop, stops, num_layers, initial_state, scale):
    """A_L ≤ (1 − b)^(L + 1), and A_L ≤ (1 − b) A_(L−1), with b > 0 a function of the weights."""
    model = model_of(cell, options, stops, num_layers, initial_state)
    for seed in range(2):
        params = random_params(model.shapes, seed=seed, scale=scale)
        b = least_stopping(model, params, stop)
        assert b > 0 or scale == 5.0, "only huge weights may make it less than a number can say"
        falling = [1.0, *(alive_by_model(model, params, L, stop) for L in range(7))]
        for L, (before, after) in enumerate(pairwise(falling)):
            assert after <= before * (1.0 - b) + 1e-15
            assert after <= (1.0 - b) ** (L + 1) + 1e-15
        if scale == 0.3:
            assert falling[-1] < 0.3, "the bound must not be all that is seen to fall"


@pytest.mark.parametrize("stop", ["eos", "halt"])
def test_the_bound_is_a_bound(stop):
    """Adversarial: a unit that is saturated against stopping comes close to it but not below."""
    model = make_model("tanh", stops=(stop,), hidden_size=1)
    params = {name: np.zeros(shape) for name, shape in model.shapes.items()}
    params["layers.0.bias"] += 20.0
    if stop == "eos":
        params["readout.weight"] += np.array([[3.0], [3.0], [-3.0]])
    else:
        params["halt.weight"] -= 6.0
    b = least_stopping(model, params, stop)
    falling = [alive_by_model(model, params, L, stop) for L in range(6)]
    for before, after in pairwise(falling):
        assert after / before == pytest.approx(1.0 - b, abs=1e-12)


@each_cell
@pytest.mark.parametrize("stops", [("length",), ENDINGS])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_tail_of_a_drawn_length_falls_geometrically(cell, options, stops, scale):
    """1 − F(k + 1) ≤ ρ (1 − F(k)) from some k on, with ρ < 1 a function of the weights."""
    model = model_of(cell, options, stops, 1, "zero")
    params = random_params(model.shapes, scale=scale)
    steps = whole_steps([""], "length", alphabet_of(2))
    hidden, _ = model.read(params, steps, model.initial_state(params, 1))
    d = model.endings["length"].distribution(params, hidden[0])
    reach = np.abs(params["length.weight"]) @ output_bound(model, params)
    K = len(reach) // 3
    furthest = (np.abs(params["length.bias"]) + reach)[K : 2 * K].max()
    kappa = model.config.length_scale
    first = math.ceil(furthest * kappa)
    assert d.means.max() <= furthest
    rho = 2.0 / (1.0 + math.exp(1.0 / (kappa * math.exp(4.0))))
    k = first + np.arange(2000)
    falls = np.diff(d.log_survival(k))
    assert (falls <= math.log(rho) + 1e-12).all()
