"""`score` against the model written out in plain Python, whatever the mechanism, the length and the neighbours."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from helpers_models import (
    ENDINGS,
    all_texts,
    alphabet_of,
    each_model_and_stop,
    make_model,
    random_params,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel

from charrnn.config import StopName
from charrnn.errors import UsageError
from charrnn.models.store import SavedModel
from charrnn.sampling.scoring import BATCH, WORST, Score, choose_stop, score, score_batch

VOCABULARY = alphabet_of(3)
UNSEEN = "z"
TRAINING_CHARS = 1000
FAR = 1000
"""More characters than the lengths of these models ever have."""
TEXTS = ["", "a", "cc", "abc", "bacca", UNSEEN, f"a{UNSEEN}{UNSEEN}b", "", "abc"]

every_stop = pytest.mark.parametrize(
    ("stops", "stop"), [*[((s,), s) for s in (*ENDINGS, "none")], *[(ENDINGS, s) for s in ENDINGS]]
)


def saved_model(cell: str = "lstm", options: dict | None = None, **settings) -> SavedModel:
    settings = {"vocab_size": 3, "training_chars": TRAINING_CHARS, "hidden_size": 4} | settings
    model = make_model(cell, options, **settings)
    return SavedModel(model.config, model, random_params(model.shapes, seed=5, dtype=np.float32), VOCABULARY, "")


def reference_of(saved: SavedModel) -> ReferenceModel:
    return ReferenceModel(saved.model.config, saved.params)


def ids(text: str) -> list[int]:
    return VOCABULARY.encode(text).tolist()


def close(value: float) -> object:
    """To the precision that is promised: 1e-5 of what a text costs, computed in float32."""
    return pytest.approx(value, rel=1e-5, abs=1e-5)


def stopping_nats(reference: ReferenceModel, text: Sequence[int], stop: StopName) -> float:
    """The share of −ln P(text) that is spent on ending here and not before."""
    if stop == "none":
        return 0.0
    if stop == "length":
        return -math.log(reference.p_length(len(text)))
    *before, last = [reference.stopping(h, stop) for h in reference.path(text, stop)]
    # Under eos an unseen character costs what it costs in the place of the softmax, EOS and all.
    charged = [s for s, c in zip(before, text, strict=True) if stop == "halt" or c < VOCABULARY.size]
    return -math.log(last) - sum(math.log(1.0 - s) for s in charged)


def character_nats(reference: ReferenceModel, text: Sequence[int], stop: StopName) -> list[float]:
    """What each character costs; under halt, not to stop before it is part of that."""
    path = reference.path(text, stop, len(text) if stop == "length" else None)
    nats = []
    for symbol, h in zip(text, path, strict=False):
        known = symbol < VOCABULARY.size
        nats.append(-reference.log_probs(h, stop)[symbol] if known else math.log(TRAINING_CHARS + 1))
        if stop == "halt":
            nats[-1] -= math.log(1.0 - reference.halt(h))
    return nats


# One text --------------------------------------------------------------------------------------------------


@each_model_and_stop
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_score_is_the_equations(cell, options, stops, stop, initial_state):
    saved = saved_model(cell, options, stops=stops, initial_state=initial_state, num_layers=2)
    reference = reference_of(saved)
    found = list(score(saved, TEXTS, stop))
    assert [one.text for one in found] == TEXTS
    assert [one.nll for one in found] == [close(-reference.log_prob(ids(text), stop)) for text in TEXTS]
    assert [one.nll_length for one in found] == [
        close(stopping_nats(reference, ids(text), stop)) for text in TEXTS
    ]


def test_a_stream_s_score_is_of_its_characters_alone():
    saved = saved_model(stops=("none",))
    reference = reference_of(saved)
    for one in score(saved, TEXTS):
        assert one.nll == close(-reference.log_given(ids(one.text), "none"))
        assert one.nll_length == 0.0


@pytest.mark.parametrize("stop", ["eos", "halt"])
@pytest.mark.parametrize("stops", [ENDINGS, None])
def test_scores_are_of_probabilities_that_sum_to_one(stops, stop):
    saved = saved_model(stops=stops or (stop,))
    total = sum(math.exp(-one.nll) for one in score(saved, all_texts(3, 4), stop))
    assert total + reference_of(saved).alive(4, stop) == pytest.approx(1.0, abs=1e-5)


@every_stop
def test_the_numbers_of_a_score(stops, stop):
    for one in score(saved_model(stops=stops), TEXTS, stop):
        assert one.num_chars == len(one.text)
        assert one.num_oov == one.text.count(UNSEEN)
        if one.text:
            assert one.bits_per_char is not None
            assert one.bits_per_char * one.num_chars == pytest.approx(one.nll / math.log(2))
        else:
            assert one.bits_per_char is None
            assert one.worst == []
            assert one.nll == close(one.nll_length)
        assert 0 <= one.nll_length <= one.nll + 1e-5


@every_stop
def test_an_unseen_character_costs_its_share(stops, stop):
    """One at the end changes no state that is charged for a character, so it can be told apart."""
    saved = saved_model(stops=stops)
    reference = reference_of(saved)
    (one,) = score(saved, [f"ab{UNSEEN}"], stop)
    nats = character_nats(reference, ids(f"ab{UNSEEN}"), stop)[-1]
    expected = math.log(TRAINING_CHARS + 1)
    if stop == "halt":
        *_, last = reference.path(ids("ab"), stop)
        expected -= math.log(1.0 - reference.halt(last))
    assert nats == pytest.approx(expected)
    assert [w.nats for w in one.worst if w.character == UNSEEN] == [close(nats)]


@every_stop
@pytest.mark.parametrize("text", ["a", "abc", "abcabccba", f"ab{UNSEEN}ca{UNSEEN}b", "aaaaaaaaaaaa"])
def test_the_worst_characters_are_the_least_expected(stops, stop, text):
    saved = saved_model(stops=stops)
    (one,) = score(saved, [text], stop)
    nats = character_nats(reference_of(saved), ids(text), stop)
    assert len(one.worst) == min(WORST, len(text))
    assert all(w.character == text[w.index] and w.nats == close(nats[w.index]) for w in one.worst)
    assert len({w.index for w in one.worst}) == len(one.worst)
    found = [w.nats for w in one.worst]
    assert found == sorted(found, reverse=True)
    left = [n for index, n in enumerate(nats) if index not in {w.index for w in one.worst}]
    assert max(left, default=0.0) <= found[-1] + 1e-5


def test_equally_bad_characters_come_in_the_order_of_the_text():
    (one,) = score(saved_model(), [f"{UNSEEN}a{UNSEEN}b" + UNSEEN * 4])
    assert [w.index for w in one.worst] == [0, 2, 4, 5, 6]


# Long texts and many ---------------------------------------------------------------------------------------


@every_stop
def test_a_text_longer_than_a_window(stops, stop):
    """The state, the sums and the places of the worst characters go on from window to window."""
    saved = saved_model(stops=stops, length_scale=300.0)
    reference = reference_of(saved)
    rng = np.random.default_rng(1)
    texts = [
        "".join(rng.choice(list(f"abc{UNSEEN}"), size=size, p=[0.4, 0.3, 0.29, 0.01])) for size in (530, 255, 256)
    ]
    for text, one in zip(texts, score(saved, texts, stop), strict=True):
        assert one.nll == close(-reference.log_prob(ids(text), stop))
        assert one.nll_length == close(stopping_nats(reference, ids(text), stop))
        assert one.num_oov == text.count(UNSEEN)
        nats = np.array(character_nats(reference, ids(text), stop))
        assert all(w.character == text[w.index] and w.nats == close(nats[w.index]) for w in one.worst)
        assert min(w.nats for w in one.worst) >= np.sort(nats)[-WORST] - 1e-5


@given(
    texts=st.lists(st.text(f"abc{UNSEEN}", max_size=12), min_size=1, max_size=8),
    stop=st.sampled_from(ENDINGS),
    data=st.data(),
)
def test_neighbours_and_order_change_no_score(texts, stop, data):
    saved = saved_model(stops=ENDINGS)
    order = data.draw(st.permutations(range(len(texts))))
    together = list(score(saved, texts, stop))
    shuffled = list(score(saved, [texts[i] for i in order], stop))
    for place, index in enumerate(order):
        (alone,) = score(saved, [texts[index]], stop)
        assert_same(together[index], alone)
        assert_same(shuffled[place], alone)


def assert_same(a: Score, b: Score) -> None:
    assert (a.text, a.num_chars, a.num_oov) == (b.text, b.num_chars, b.num_oov)
    assert a.nll == close(b.nll)
    assert a.nll_length == close(b.nll_length)
    assert [w.nats for w in a.worst] == [close(w.nats) for w in b.worst]


def test_more_texts_than_a_batch_of_all_lengths():
    saved = saved_model(stops=("halt",))
    rng = np.random.default_rng(2)
    texts = ["".join(rng.choice(list("abc"), size=size)) for size in rng.integers(0, 400, size=2 * BATCH + 5)]
    found = list(score(saved, texts))
    assert [one.text for one in found] == texts
    reference = reference_of(saved)
    for index in range(0, len(texts), 10):
        assert found[index].nll == close(-reference.log_prob(ids(texts[index]), "halt"))


def test_no_texts_have_no_scores():
    assert list(score(saved_model(), [])) == []
    assert score_batch(saved_model(), [], "eos") == []


def test_texts_are_read_a_few_ahead():
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "abc"

    found = score(saved_model(), endless())
    list(itertools.islice(found, BATCH + 1))
    assert read == 2 * BATCH


# Which mechanism -------------------------------------------------------------------------------------------


def test_the_first_mechanism_is_meant():
    model = saved_model(stops=ENDINGS).model
    assert choose_stop(model, None) == "eos"
    assert [choose_stop(model, stop) for stop in ENDINGS] == list(ENDINGS)
    assert choose_stop(saved_model(stops=("none",)).model, None) == "none"


@pytest.mark.parametrize(("stops", "asked"), [(("eos", "length"), "halt"), (("none",), "eos"), (("eos",), "none")])
def test_a_mechanism_that_the_model_lacks(stops, asked):
    with pytest.raises(UsageError) as caught:
        list(score(saved_model(stops=stops), ["a"], asked))
    assert f"--stop {asked}" in str(caught.value)
    assert ", ".join(stops) in str(caught.value)
    assert f"charrnn train CORPUS --stop {asked}" in str(caught.value)


# Given a prompt --------------------------------------------------------------------------------------------


@every_stop
@pytest.mark.parametrize("text", ["", "a", f"ca{UNSEEN}ab"])
def test_a_text_after_a_prompt(stops, stop, text):
    """ln P(text | prompt) = ln P(prompt, text) − ln P(a text begins with the prompt); of every single cost too."""
    saved, prompt = saved_model(stops=stops), "ab"
    reference = reference_of(saved)
    (one,) = score(saved, [text], stop, prompt=prompt)
    begins = reference.prefix_log_prob(ids(prompt), stop, longest=FAR)
    assert one.nll == close(begins - reference.log_prob(ids(prompt + text), stop))
    following = character_nats(reference, ids(prompt + text), stop)[len(prompt) :]
    assert one.nats == [*map(close, following), close(one.nll - sum(following))]
    assert sum(one.nats) == pytest.approx(one.nll, abs=1e-9)
    assert (one.text, one.num_chars, one.num_oov) == (text, len(text), text.count(UNSEEN))
    assert all(w.nats == one.nats[w.index] and w.character == text[w.index] for w in one.worst)


@pytest.mark.parametrize("stop", ["eos", "halt"])
def test_after_a_prompt_the_prompt_s_nats_are_not_charged(stop):
    saved, prompt, text = saved_model(stops=ENDINGS), "abc" * 100, "bca"
    (whole,) = score(saved, [prompt + text], stop)
    (one,) = score(saved, [text], stop, prompt=prompt)
    assert one.nats == pytest.approx(whole.nats[len(prompt) :], abs=1e-9)
    assert one.nll == pytest.approx(whole.nll - sum(whole.nats[: len(prompt)]), abs=1e-9)
