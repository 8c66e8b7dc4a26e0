"""Drawn text: its likelihood, its distribution, prompts, cuts and the independence of its rows."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from helpers_models import (
    ENDINGS,
    all_texts,
    alphabet_of,
    assert_follows,
    each_model,
    each_model_and_a_stop,
    each_model_and_length,
    each_model_and_stop,
    each_stop,
    make_model,
    random_params,
    text_nll,
    whole_steps,
)
from reference import ReferenceModel, softmax_logs

from charrnn.cells.cell import state_arrays
from charrnn.config import StopName
from charrnn.models.language_model import LanguageModel
from charrnn.sampling.ancestral import BATCH, Drawn, Request, Sampler
from charrnn.sampling.filters import Filters
from charrnn.sampling.prompt import SUPPORT, length_candidates, read_prefix
from charrnn.sampling.randomness import BLOCK, RowStreams
from charrnn.sampling.stepper import Stepper

Params = dict[str, np.ndarray]
LETTERS = alphabet_of(26)
DRAWS = 3000
FAR = 120
"""More characters than the lengths of the small models here ever have."""
LONG = 25
"""Where a greedy text, which may never end, is cut."""


def ids(text: str) -> np.ndarray:
    return LETTERS.encode(text).astype(np.int64)


def text_of(drawn: Drawn) -> str:
    return LETTERS.decode(drawn.symbols)


def sampler_of(model: LanguageModel, params: Params, prompt: str = "", **request: Any) -> Sampler:
    return Sampler(Stepper(model, params), Request(prompt=ids(prompt), **request))


def draw(model: LanguageModel, params: Params, n: int, prompt: str = "", **request: Any) -> list[Drawn]:
    """Samples 0 … n − 1 in their order."""
    samples = list(sampler_of(model, params, prompt, **request).draw(range(n)))
    assert sorted(sample.number for sample in samples) == list(range(n))
    return sorted(samples, key=lambda sample: sample.number)


def small(
    stops: tuple[StopName, ...], cell: str = "gru", options: dict[str, Any] | None = None, **sizes: Any
) -> tuple[LanguageModel, Params]:
    """A model whose texts have a few characters, and its float64 parameters."""
    model = make_model(cell, options, stops=stops, **{"hidden_size": 4, "length_scale": 2.0, **sizes})
    return model, small_params(model, seed=11)


def small_params(model: LanguageModel, seed: int) -> Params:
    params = random_params(model.shapes, seed=seed, scale=0.6)
    if "eos" in model.stops:
        name = "layers.0.bias_ho" if model.layers[-1].gives_logits else "readout.bias"
        params[name.replace("0", str(len(model.layers) - 1))][-1] = -0.3
    if "halt" in model.stops:
        params["halt.bias"] = np.array(-1.0)
    if "length" in model.stops:
        params["length.weight"] *= 0.5
        params["length.bias"][8:] = [*np.linspace(0.5, 4.0, 8), *np.full(8, -0.7)]
    return params


def as_type(params: Params, dtype: Any) -> Params:
    return {name: value.astype(dtype) for name, value in params.items()}


# The likelihood that a sample carries ----------------------------------------------------------------------


@each_model_and_stop
@pytest.mark.parametrize("prompt", ["", "ab"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_prob_is_the_model_s_own_of_the_text(cell, options, stops, stop, prompt, dtype):
    model, params = small(stops, cell, options, num_layers=2, initial_state="learned")
    params = as_type(params, dtype)
    samples = draw(model, params, 30, prompt, stop=stop)
    nll = text_nll(model, params, [text_of(sample) for sample in samples], stop)
    allowed = 1e-5 * np.maximum(1.0, nll) if dtype == np.float32 else 1e-9
    assert (np.abs(nll + [sample.log_prob for sample in samples]) <= allowed).all()
    assert {sample.finish_reason for sample in samples} == {stop}
    assert all(text_of(sample).startswith(prompt) for sample in samples)
    assert len({len(sample.symbols) for sample in samples}) > 2


@each_stop
@pytest.mark.parametrize("filters", [Filters(temperature=0.3), Filters(top_k=1), Filters(temperature=0.0)])
def test_log_prob_is_that_of_temperature_one_without_filters(stops, stop, filters):
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    for sample in draw(model, params, 10, "b", stop=stop, filters=filters, max_chars=30):
        text = sample.symbols.tolist()
        cut = sample.finish_reason == "max_chars"
        expected = reference.prefix_log_prob(text, stop, FAR) if cut else reference.log_prob(text, stop)
        assert sample.log_prob == pytest.approx(expected, abs=1e-9)


@each_stop
@pytest.mark.parametrize("prompt", ["", "ba"])
def test_num_chars_is_exact(stops, stop, prompt):
    """Under eos and halt its log_prob is that of the prefix; under `length` N is the length drawn."""
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    for sample in draw(model, params, 20, prompt, stop=stop, num_chars=6):
        text = sample.symbols.tolist()
        assert (len(text), sample.finish_reason) == (6, "num_chars")
        assert text[: len(prompt)] == ids(prompt).tolist()
        expected = reference.log_prob(text, stop) if stop == "length" else reference.log_given(text, stop)
        assert sample.log_prob == pytest.approx(expected, abs=1e-9)


def test_a_stream_needs_no_mechanism():
    model, params = small(("none",))
    samples = draw(model, params, 10, "a", stop="none", num_chars=300)
    assert {(len(s.symbols), s.finish_reason) for s in samples} == {(300, "num_chars")}
    nll = text_nll(model, params, [text_of(sample) for sample in samples], "none")
    np.testing.assert_allclose([-sample.log_prob for sample in samples], nll, atol=1e-9)


@each_stop
@pytest.mark.parametrize("prompt", ["", "b"])
@pytest.mark.parametrize("max_chars", [0, 1, 3])
def test_a_cut_text_has_the_log_prob_of_a_prefix(stops, stop, prompt, max_chars):
    """Under `length` the sum over every length that it might have had. A text that ends there is not cut."""
    if max_chars < len(prompt):
        max_chars = len(prompt)
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    samples = draw(model, params, 40, prompt, stop=stop, max_chars=max_chars)
    prefixes: dict[str, float] = {}
    for sample in samples:
        text = sample.symbols.tolist()
        if sample.finish_reason == "max_chars":
            assert len(text) == max_chars
            key = text_of(sample)
            if key not in prefixes:
                prefixes[key] = reference.prefix_log_prob(text, stop, FAR)
            expected = prefixes[key]
        else:
            assert (sample.finish_reason, len(text) <= max_chars) == (stop, True)
            expected = reference.log_prob(text, stop)
        assert sample.log_prob == pytest.approx(expected, abs=1e-8)
    reasons = {(len(s.symbols) == max_chars, s.finish_reason) for s in samples}
    assert {(True, "max_chars"), (True, stop)} <= reasons


# The distribution of samples -------------------------------------------------------------------------------


def assert_texts_follow(
    samples: list[Drawn], probability: Callable[[list[int]], float], longest: int, prompt: str = ""
) -> None:
    """Every text that has at most `longest` characters behind the prompt, and all others together."""
    texts = [prompt + text for text in all_texts(2, longest)]
    expected = [probability(ids(text).tolist()) for text in texts]
    counts = Counter(map(text_of, samples))
    observed = [counts[text] for text in texts]
    assert_follows([*observed, len(samples) - sum(observed)], [*expected, 1.0 - sum(expected)])


@each_model_and_a_stop
def test_samples_follow_the_model(cell, options, stops, stop):
    model, params = small(stops, cell, options)
    reference = ReferenceModel(model.config, params)
    samples = draw(model, params, DRAWS, stop=stop, seed=1)
    assert_texts_follow(samples, lambda text: math.exp(reference.log_prob(text, stop)), 3)


@pytest.mark.slow
@each_model_and_stop
def test_many_samples_follow_the_model(cell, options, stops, stop):
    model, params = small(stops, cell, options, num_layers=2, initial_state="learned")
    reference = ReferenceModel(model.config, params)
    for seed, prompt in enumerate(["", "ab"]):
        samples = draw(model, as_type(params, np.float32), 15 * DRAWS, prompt, stop=stop, seed=seed)
        given = reference.prefix_log_prob(ids(prompt).tolist(), stop, FAR)
        assert_texts_follow(
            samples, lambda text, given=given: math.exp(reference.log_prob(text, stop) - given), 4, prompt
        )


@each_stop
def test_sampled_lengths_follow_the_model(stops, stop):
    """Its own length distribution: A_(τ−1) − A_τ by enumeration, or p(τ)."""
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    alive = [1.0, *(reference.alive(tau, stop) for tau in range(6))]
    probabilities = [before - after for before, after in pairwise(alive)]
    if stop == "length":
        np.testing.assert_allclose(probabilities, [reference.p_length(tau) for tau in range(6)], atol=1e-12)
    counts = Counter(len(s.symbols) for s in draw(model, params, DRAWS, stop=stop, seed=2))
    observed = [counts[tau] for tau in range(6)]
    assert_follows([*observed, DRAWS - sum(observed)], [*probabilities, alive[-1]])


@each_stop
def test_a_cut_cuts_nothing_but_the_rest(stops, stop):
    """Its texts are the prefixes of those without: the mass of what is longer stands at the cut, counted apart."""
    model, params = small(stops)
    whole = draw(model, params, 300, stop=stop, seed=3)
    cut = draw(model, params, 300, stop=stop, seed=3, max_chars=3)
    for a, b in zip(whole, cut, strict=True):
        assert b.symbols.tolist() == a.symbols[:3].tolist()
        assert (b.finish_reason == "max_chars") == (len(a.symbols) > 3)


@each_stop
def test_num_chars_conditions_each_step_on_not_stopping(stops, stop):
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    samples = draw(model, params, DRAWS, stop=stop, num_chars=3, seed=4)
    texts = [list(text) for text in product(range(2), repeat=3)]
    probabilities = []
    for text in texts:
        p = 1.0
        for symbol, h in zip(text, reference.path(text, stop, 3 if stop == "length" else None), strict=False):
            p *= math.exp(softmax_logs(reference.logits(h, stop)[:2])[symbol])
        probabilities.append(p)
    counts = Counter(tuple(s.symbols.tolist()) for s in samples)
    assert_follows([counts[tuple(text)] for text in texts], probabilities)


def tempered(reference: ReferenceModel, text: list[int], stop: str, temperature: float) -> float:
    """P of a text whose character softmax, EOS in it, has a temperature and whose other heads have none."""
    tau = len(text) if stop == "length" else None
    p = reference.p_length(len(text)) if stop == "length" else 1.0
    path = list(reference.path(text, stop, tau))
    for symbol, h in zip(text, path, strict=False):
        p *= math.exp(softmax_logs([x / temperature for x in reference.logits(h, stop)])[symbol])
        p *= 1.0 - reference.halt(h) if stop == "halt" else 1.0
    if stop == "eos":
        p *= math.exp(softmax_logs([x / temperature for x in reference.logits(path[-1], stop)])[2])
    return p * reference.halt(path[-1]) if stop == "halt" else p


@each_stop
@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_temperature_acts_on_the_character_softmax(stops, stop, temperature):
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    samples = draw(model, params, DRAWS, stop=stop, filters=Filters(temperature=temperature), seed=5)
    assert_texts_follow(samples, lambda text: tempered(reference, text, stop, temperature), 3)


def test_a_filter_leaves_the_ending_its_share():
    """With one character left, a text goes on with p(best) : p(EOS)."""
    model, params = small(("eos",))
    reference = ReferenceModel(model.config, params)
    counts = Counter(text_of(s) for s in draw(model, params, DRAWS, stop="eos", filters=Filters(top_k=1), seed=6))
    texts, probabilities, going = [""], [], 1.0
    for _ in range(6):
        *_, h = reference.path(ids(texts[-1]).tolist(), "eos")
        weights = [math.exp(x) for x in reference.log_probs(h, "eos")]
        best = max(weights[:2])
        probabilities.append(going * weights[2] / (weights[2] + best))
        going *= best / (weights[2] + best)
        texts.append(texts[-1] + "ab"[weights.index(best)])
    observed = [counts[text] for text in texts[:-1]]
    assert set(counts) <= set(texts) | {text for text in counts if text.startswith(texts[-1])}
    assert_follows([*observed, DRAWS - sum(observed)], [*probabilities, going])


# Prompts ---------------------------------------------------------------------------------------------------


@each_stop
def test_a_prompt_is_a_prefix_that_is_conditioned_on(stops, stop):
    """P(text given that it begins so), with what P itself says: non-stops of halt, p(τ given τ ≥ k, prompt)."""
    model, params = small(stops)
    reference = ReferenceModel(model.config, params)
    for prompt in ("a", "bb"):
        given = reference.prefix_log_prob(ids(prompt).tolist(), stop, FAR)
        samples = draw(model, params, DRAWS, prompt, stop=stop, seed=7)
        assert_texts_follow(
            samples, lambda text, given=given: math.exp(reference.log_prob(text, stop) - given), 2, prompt
        )


@each_model_and_length
@pytest.mark.parametrize("prompt", ["a", "bab"])
def test_the_length_behind_a_prompt_is_bayes(cell, options, stops, prompt):
    model, params = small(stops, cell, options)
    reference = ReferenceModel(model.config, params)
    candidates = length_candidates(Stepper(model, params), model.endings["length"], ids(prompt))
    k = len(prompt)
    assert candidates.taus.tolist() == list(range(k, k + len(candidates.taus)))
    assert 10 < len(candidates.taus) <= SUPPORT
    taus = candidates.taus[:60].tolist()
    joint = np.array([reference.p_length(tau) for tau in taus]) * [
        math.exp(reference.log_given(ids(prompt).tolist(), "length", tau)) for tau in taus
    ]
    np.testing.assert_allclose(np.exp(candidates.log_prob[:60]), joint, atol=1e-12)
    evidence = reference.prefix_log_prob(ids(prompt).tolist(), "length", FAR)
    assert candidates.log_evidence == pytest.approx(evidence, abs=1e-9)
    np.testing.assert_allclose(candidates.weights[:60], joint / math.exp(evidence), atol=1e-9)
    assert candidates.weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("prompt", ["ba", "ab" * 12])
def test_the_length_of_a_wide_distribution_is_approximated_by_quantiles(prompt):
    """Beyond the support points every length up to thousands is a candidate; the posterior stays close."""
    model, params = small(("length",), length_scale=500.0)
    params["length.bias"][8:16] = np.linspace(1.0, 8.0, 8)
    stepper, k, length = Stepper(model, params), len(prompt), model.endings["length"]
    candidates = length_candidates(stepper, length, ids(prompt))
    assert len(candidates.taus) == SUPPORT
    assert candidates.taus.min() >= k
    taus = np.arange(k, 8000)
    prior = np.exp(length.distribution(params, hidden_after_bos(model, params)).log_prob(taus))
    assert prior.sum() < 0.8 or k == 2, "a long prompt rules lengths out"
    posterior = prior * np.exp(read_prefix(stepper, length, ids(prompt), taus).log_prob)
    exact = np.cumsum(posterior) / posterior.sum()
    order = np.argsort(candidates.taus, kind="stable")
    held = np.cumsum(candidates.weights[order])
    estimate = np.array([0.0, *held])[np.searchsorted(candidates.taus[order], taus, side="right")]
    assert np.abs(estimate - exact).max() < 0.01
    assert candidates.log_evidence == pytest.approx(math.log(posterior.sum()), abs=0.01)


def hidden_after_bos(model: LanguageModel, params: Params) -> np.ndarray:
    """(1, H) what the length head reads."""
    steps = whole_steps([""], "length", alphabet_of(2))
    hidden, _ = model.read(params, steps, model.initial_state(params, 1))
    return hidden[0]


# Temperature zero ------------------------------------------------------------------------------------------


def greedy(reference: ReferenceModel, stop: str, prompt: list[int]) -> list[int]:
    """The most probable character after another; each mechanism ends as the design says."""
    text, going = list(prompt), 1.0
    tau = None
    if stop == "length":
        weights = [
            0.0
            if tau < len(prompt)
            else reference.p_length(tau) * math.exp(reference.log_given(prompt, stop, tau))
            for tau in range(FAR)
        ]
        tau = next(tau for tau in range(FAR) if sum(weights[: tau + 1]) >= 0.5 * sum(weights))
    while True:
        *_, h = reference.path(text, stop, tau)
        logits = reference.logits(h, stop)
        best = logits.index(max(logits))
        if stop == "halt":
            going *= 1.0 - reference.halt(h)
        if best == 2 or len(text) in (tau, LONG) or (stop == "halt" and 1.0 - going >= 0.5):
            return text
        text.append(best)


@each_stop
@pytest.mark.parametrize("prompt", ["", "b", "aab"])
def test_temperature_zero_is_greedy(stops, stop, prompt):
    """Halt ends where its cumulative probability reaches one half, `length` takes its median."""
    lengths = set()
    for seed in range(5):
        model, _ = small(stops)
        params = small_params(model, seed)
        expected = greedy(ReferenceModel(model.config, params), stop, ids(prompt).tolist())
        samples = draw(model, params, 3, prompt, stop=stop, filters=Filters(temperature=0.0), max_chars=LONG)
        assert [sample.symbols.tolist() for sample in samples] == [expected] * 3
        lengths.add(len(expected))
    assert len(lengths) > 1


@pytest.mark.parametrize(("stop", "name"), [("eos", "readout.bias"), ("halt", "halt.bias")])
def test_a_greedy_model_that_never_ends_is_cut(stop, name):
    model, params = small((stop,))
    params[name] = params[name] - (np.array([0.0, 0.0, 50.0]) if stop == "eos" else 50.0)
    (sample,) = draw(model, params, 1, stop=stop, filters=Filters(temperature=0.0), max_chars=70)
    assert (len(sample.symbols), sample.finish_reason) == (70, "max_chars")


# Rows and streams ------------------------------------------------------------------------------------------


@each_stop
@pytest.mark.parametrize("prompt", ["", "ab"])
def test_a_sample_does_not_depend_on_its_neighbours(stops, stop, prompt):
    """Not on how many there are, nor on those that ended before it, nor on which is asked for first."""
    model, params = small(stops)
    assert BATCH < 600
    many = draw(model, params, 600, prompt, stop=stop, seed=8)
    few = draw(model, params, 5, prompt, stop=stop, seed=8)
    sampler = sampler_of(model, params, prompt, stop=stop, seed=8)
    later = {sample.number: sample for sample in sampler.draw(range(550, 600))}
    for one, other in [*zip(few, many, strict=False), *((later[i], many[i]) for i in range(550, 600))]:
        assert one.number == other.number
        assert one.symbols.tolist() == other.symbols.tolist()
        assert one.finish_reason == other.finish_reason
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-9)


REQUESTS: list[dict[str, Any]] = [
    {},
    {"prompt": "ab"},
    {"num_chars": 7},
    {"max_chars": 2},
    {"prompt": "b", "num_chars": 4, "filters": Filters(temperature=0.5, top_k=1)},
    {"num_chars": 0},
]


@each_stop
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_stream_is_the_sample_symbol_by_symbol(stops, stop, request_):
    model, params = small(stops)
    for expected in draw(model, params, 12, stop=stop, seed=9, **request_):
        sampler = sampler_of(model, params, stop=stop, seed=9, **request_)
        *symbols, last = sampler.stream(expected.number)
        assert symbols == expected.symbols[len(request_.get("prompt", "")) :].tolist()
        assert isinstance(last, Drawn)
        assert last.symbols.tolist() == expected.symbols.tolist()
        assert last[0::2] == expected[0::2]
        assert last.log_prob == pytest.approx(expected.log_prob, abs=1e-9)


def test_the_seed_decides():
    model, params = small(("eos",))
    one, same, other = (
        [s.symbols.tolist() for s in draw(model, params, 40, stop="eos", seed=seed)] for seed in (1, 1, 2)
    )
    assert one == same
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 30
    assert len({tuple(symbols) for symbols in one}) > 5


def test_long_samples_of_many_lengths():
    """Rows that outgrow their first room, beside others that end, and more samples than a batch has rows."""
    model, params = small(("length",), length_scale=60.0)
    params["length.bias"][8:16] += 4.0
    samples = draw(model, as_type(params, np.float32), BATCH + 40, "ab", stop="length")
    assert max(len(s.symbols) for s in samples) > 150
    assert min(len(s.symbols) for s in samples) < 30
    nll = text_nll(model, as_type(params, np.float32), [text_of(s) for s in samples], "length")
    allowed = 1e-5 * np.maximum(1.0, nll)
    assert (np.abs(nll + [s.log_prob for s in samples]) <= allowed).all()


def test_row_streams_are_philox_whatever_is_opened_and_dropped_between():
    seed = 5
    expected = {s: np.random.Generator(np.random.Philox(key=[seed, s])).random(3 * BLOCK) for s in range(6)}
    used = dict.fromkeys(expected, 0)
    streams, live = RowStreams(seed), []

    def read(last: int = 0) -> None:
        numbers = streams.uniform_of_last(last) if last else streams.uniform()
        for sample, number in zip(live[-last:], numbers, strict=True):
            assert number == expected[sample][used[sample]]
            used[sample] += 1

    streams.open(range(3))
    live += [0, 1, 2]
    for _ in range(BLOCK + 5):
        read()
    streams.keep(np.array([0, 2]))
    live = [0, 2]
    streams.open(range(3, 6))
    live += [3, 4, 5]
    read(last=3)
    for _ in range(BLOCK):
        read()
    streams.keep(np.array([1, 4]))
    live = [2, 5]
    for _ in range(BLOCK // 2):
        read()
    assert used[2] > 2 * BLOCK


# The stepper -----------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("stops", [("eos",), ("length",), ENDINGS])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_stepper_takes_the_model_s_steps(cell, options, stops, num_layers):
    """Through its table of projections: characters, BOS, the unknown, with and without the count."""
    model = make_model(cell, options, stops=stops, num_layers=num_layers, initial_state="learned")
    params = random_params(model.shapes)
    stepper = Stepper(model, params)
    texts = ["abx", "b", ""]
    stop: StopName = "length" if "length" in stops else "eos"
    steps = whole_steps(texts, stop, alphabet_of(2))
    hidden, final = model.read(params, steps, model.initial_state(params, 3))
    state = stepper.initial_state(3)
    for t in range(len(steps.inputs)):
        absent = (steps.remaining[t] < 0).all()
        h, state = stepper.step(steps.inputs[t], None if absent else steps.remaining[t], state)
        np.testing.assert_allclose(h, hidden[t], atol=1e-12)
    for ours, theirs in zip(state, final, strict=True):
        for a, b in zip(state_arrays(ours), state_arrays(theirs), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
