"""What units tell of a text: features, activations and rankings, against other ways to the same numbers."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import MODEL_CASES, _names, make_model, random_params
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.sequences import Sequences
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import UsageError
from charrnn.models.store import SavedModel
from charrnn.sampling.stepper import Stepper
from charrnn.study.features import FEATURE_NAMES, NEAR_END, features
from charrnn.study.states import (
    Activations,
    activations,
    auc,
    correlations,
    first_chars,
    follow,
    has_memory,
    rank,
    sequences_of,
    telling_passage,
    unit_activations,
)

ALPHABET = "ab ()\n"
VOCABULARY = Vocabulary(tuple(sorted(ALPHABET)))


def saved_model(cell: str = "lstm", options: dict[str, Any] | None = None, **settings: Any) -> SavedModel:
    order = settings.pop("order", "independent")
    model = make_model(cell, options, **({"vocab_size": len(ALPHABET), "hidden_size": 4} | settings))
    config = replace(model.config, order=order)
    params = random_params(model.shapes, seed=5, scale=0.6, dtype=np.float32)
    return SavedModel(config, type(model)(config), params, VOCABULARY, "")


# Features


def slow_features(text: str) -> dict[str, list[float]]:
    """Each character's from the whole text before it, looked back on anew."""
    found: dict[str, list[float]] = {name: [] for name in FEATURE_NAMES}
    for i, character in enumerate(text):
        read = text[: i + 1]
        found["position"].append(len(read) - 1 - read.rfind("\n"))
        found["since_space"].append(next((k for k, c in enumerate(reversed(read)) if c.isspace()), len(read)))
        for name, (opening, closing) in {"round": "()", "square": "[]", "curly": "{}"}.items():
            ways = [(c == opening) - (c == closing) for c in read]
            # Of a walk that is never below zero: its end less the lowest point of the free walk.
            heights = [0, *itertools.accumulate(ways)]
            found[name].append(heights[-1] - min(heights))
        found["brackets"].append(found["round"][-1] + found["square"][-1] + found["curly"][-1])
        found["whitespace"].append(character in " \t\n\r")
        found["upper"].append("A" <= character <= "Z")
        found["digit"].append("0" <= character <= "9")
        begin = i
        while begin > 0 and is_in_word(text, begin):
            begin -= 1
        is_letter_of_word = character.isalnum() or is_in_word(text, i)
        begins = character.isalnum() and not (i > 0 and is_in_word(text, i))
        found["word_start"].append(begins)
        found["word"].append(is_letter_of_word and not begins)
        found["to_end"].append(min(NEAR_END, len(text[i + 1 :])))
        found["quotes"].append(is_quoted(text, i))
    return found


def is_in_word(text: str, i: int) -> bool:
    """Whether the character goes on with a word that the one before it belongs to."""
    before = i > 0 and (text[i - 1].isalnum() or is_apostrophe(text, i - 1))
    return before and (text[i].isalnum() or is_apostrophe(text, i))


def is_apostrophe(text: str, i: int) -> bool:
    return text[i] in "'’" and text[i - 1 : i].isalnum() and text[i + 1 : i + 2].isalnum()


def is_quoted(text: str, i: int) -> bool:
    """Of straight double marks alone: whether they are odd in number since the last blank line."""
    lines = text[: i + 1].split("\n")
    begin = max((k for k in range(len(lines) - 1) if not lines[k].strip()), default=-1) + 1
    return "".join(lines[begin:]).count('"') % 2 == 1


TEXTS = [
    "", "a", "\n", "((a)b)c)d(e", "[({]})", ")]}([{", "a\n\nb", "don't 'tis o' the dogs'", "it’s ’tis",
    "A1 b2\tC\r\n3",
    "''a''b'c", "1st e2e", "a'b'c a' 'b", "  a  ", "ab\n(cd\n) e\n\n(", "word " * 5,
]  # fmt: skip


def assert_like_slow(text: str, names: list[str]) -> None:
    found, expected = features(text), slow_features(text)
    assert found.shape == (len(text), len(FEATURE_NAMES))
    for name in names:
        assert found[:, FEATURE_NAMES.index(name)].tolist() == expected[name], (name, text)


WITHOUT_QUOTES = [name for name in FEATURE_NAMES if name != "quotes"]


@pytest.mark.parametrize("text", TEXTS)
def test_features_are_those_of_a_slow_scanner(text):
    assert_like_slow(text, WITHOUT_QUOTES)


@given(st.text(alphabet="ab'’ (()[]{}\n\tA1", max_size=25))
def test_features_are_those_of_a_slow_scanner_on_any_text(text):
    assert_like_slow(text, WITHOUT_QUOTES)


@given(st.text(alphabet='a" \n', max_size=20))
def test_straight_quotation_marks_are_those_of_a_slow_scanner(text):
    assert_like_slow(text, ["quotes"])


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('a "b" c', "..##..."),
        ("a “b” c", "..##..."),
        ("a „b” c", "..##..."),
        ("«a «b» c»", "########."),
        ("“a ‘b’ c” d", "########..."),
        ("‘it’s’ a", "#####..."),  # An apostrophe inside a word closes nothing.
        ("it's 'tis 'a' dogs'", "..................."),
        ("it’s the dogs’ ’a", "................."),
        ("” a “b", "....##"),
        ('"a\n\n"b" c', "###.##..."),
        ('"a\nb" c', "####..."),
        ('"a\r\n \r\nb', "######.."),
        ("“a ‘b” c", "#####..."),  # What is closed closes what was opened in it.
        ('a (b "c) d" e', ".....#####..."),
    ],
)
def test_quotes(text, inside):
    found = features(text)[:, FEATURE_NAMES.index("quotes")]
    assert "".join(".#"[int(x)] for x in found) == inside


def test_a_text_that_was_cut_has_no_end():
    column = FEATURE_NAMES.index("to_end")
    assert features("abc")[:, column].tolist() == [2, 1, 0]
    assert features("abc", has_end=False)[:, column].tolist() == [NEAR_END] * 3


# Sequences


def texts_of(sequences: Sequences) -> list[str]:
    return [sequences.get(s) for s in range(len(sequences))]


def test_a_text_falls_into_sequences_as_a_corpus_does():
    assert texts_of(sequences_of("a\r\nb\n\nc", "line")) == ["a", "b", "", "c"]
    assert texts_of(sequences_of("a\nb\n\nc", "paragraph")) == ["a\nb", "c"]
    assert texts_of(sequences_of("a\nb\n", "file")) == ["a\nb\n"]


@pytest.mark.parametrize("most", range(1, 9))
def test_the_first_characters(most):
    whole = Sequences.from_texts(["ab", "", "cde", "f", ""])
    kept = first_chars(whole, most)
    assert "".join(texts_of(kept)) == "abcdef"[:most]
    is_cut = texts_of(kept) != texts_of(whole)[: len(kept)]
    assert kept.open_end is is_cut
    assert texts_of(kept)[:-1] == texts_of(whole)[: len(kept) - 1]


# Activations


@pytest.mark.parametrize("what", ["memory", "output"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_activations_are_those_of_torchs_lstm(what, num_layers):
    saved = saved_model(num_layers=num_layers)
    text = "ab (a(b)\nb) a"
    found = activations(saved, Sequences.from_texts([text]), "eos", what)
    H, x = 4, torch.eye(len(ALPHABET) + 1)[[len(ALPHABET), *VOCABULARY.encode(text).tolist()]]
    shown = []
    for layer in range(num_layers):
        lstm = torch.nn.LSTM(x.shape[1], H)
        own = {name: torch.tensor(saved.params[f"layers.{layer}.{name}"]) for name in ("weight_ih", "weight_hh")}
        with torch.no_grad():
            lstm.weight_ih_l0.copy_(own["weight_ih"])
            lstm.weight_hh_l0.copy_(own["weight_hh"])
            lstm.bias_ih_l0.copy_(torch.tensor(saved.params[f"layers.{layer}.bias"]))
            lstm.bias_hh_l0.zero_()
            state, steps = None, []
            for t in range(len(x)):
                _, state = lstm(x[t : t + 1], state)
                steps.append(torch.tanh(state[1][0]) if what == "memory" else state[0][0])
            x, _ = lstm(x)
        shown.append(torch.stack(steps)[1:])
    np.testing.assert_allclose(found.values, torch.cat(shown, dim=1).numpy(), atol=2e-6)


@pytest.mark.parametrize(("cell", "options"), MODEL_CASES, ids=_names(MODEL_CASES))
def test_the_last_layers_outputs_are_what_the_sampler_steps_to(cell, options):
    """Every cell and depth; the readout reads them, so its own layers come between where there are any."""
    saved = saved_model(cell, options)
    text = "ab(b a"
    found = activations(saved, Sequences.from_texts([text]), "eos", "output")
    stepper = Stepper(saved.model, saved.params)
    state = stepper.initial_state(1)
    for t, symbol in enumerate([saved.vocabulary.bos, *saved.vocabulary.encode(text).tolist()]):
        hidden, state = stepper.step(np.array([symbol]), None, state)
        if t > 0:
            top = found.values[t - 1, -saved.model.layers[-1].output_size :]
            expected = saved.model.output(saved.params, top[None], None, None)
            np.testing.assert_allclose(hidden, expected, atol=3e-6)


@pytest.mark.parametrize("stop", ["eos", "halt", "length", "none"])
@pytest.mark.parametrize("order", ["independent", "ordered"])
def test_sequences_are_read_as_the_model_was_trained_to(stop, order):
    """One after the other where the state is carried; BOS first, and twice under `length`, which counts."""
    saved = saved_model("gru", stops=(stop,), order=order)
    texts = ["ab", "", "b(a)z", "a"]
    found = activations(saved, Sequences.from_texts(texts), stop, "output")
    stepper, expected = Stepper(saved.model, saved.params), []
    state = stepper.initial_state(1)
    for text in texts:
        if order == "independent":
            state = stepper.initial_state(1)
        ids = [saved.vocabulary.bos, *saved.vocabulary.encode(text).tolist()]
        if stop == "length":
            _, state = stepper.step(np.array(ids[:1]), None, state)
        for t, symbol in enumerate(ids):
            remaining = np.array([len(text) - t]) if stop == "length" else None
            hidden, state = stepper.step(np.array([symbol]), remaining, state)
            expected += [hidden[0]] if t > 0 else []
    assert (found.text, found.sequence.tolist()) == ("".join(texts), [0, 0, 2, 2, 2, 2, 2, 3])
    assert found.num_oov == 1
    np.testing.assert_allclose(found.values, expected, atol=2e-6)


def test_windows_and_batches_change_nothing(monkeypatch):
    saved = saved_model(num_layers=2)
    texts = Sequences.from_texts(["ab(a)\n" * n for n in (3, 0, 7, 1, 2)])
    whole = activations(saved, texts, "eos", "memory")
    monkeypatch.setattr("charrnn.study.states.WINDOW_STEPS", 6)
    monkeypatch.setattr("charrnn.study.states.BATCH", 2)
    shares: list[float] = []
    cut = activations(saved, texts, "eos", "memory", lambda _what, share: shares.append(share))
    np.testing.assert_allclose(cut.values, whole.values, atol=1e-6)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_context_is_read():
    saved = saved_model("gru")
    config = replace(saved.config, context_size=2, context_mode="both")
    model = type(saved.model)(config)
    given_one = replace(
        saved, config=config, model=model, params=random_params(model.shapes, seed=1, dtype=np.float32)
    )
    contexts = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    texts = replace(Sequences.from_texts(["ab", "ab"]), contexts=contexts)
    found = activations(given_one, texts, "eos", "output")
    stepper = Stepper(model, given_one.params)
    for row in range(2):
        about = stepper.given(contexts[row : row + 1])
        state = stepper.initial_state(1, about)
        for t, symbol in enumerate([saved.vocabulary.bos, *saved.vocabulary.encode("ab").tolist()]):
            hidden, state = stepper.step(np.array([symbol]), None, state, about)
            if t > 0:
                np.testing.assert_allclose(found.values[2 * row + t - 1], hidden[0], atol=2e-6)
    assert not np.allclose(found.values[:2], found.values[2:], atol=1e-2)


def test_which_cells_have_a_memory():
    with_memory = {
        cell for cell in ("lstm", "peephole_lstm", "coupled_lstm", "layer_norm_lstm", "gru", "min_lstm", "tanh")
        if has_memory(make_model(cell))
    }  # fmt: skip
    assert with_memory == {"lstm", "peephole_lstm", "coupled_lstm", "layer_norm_lstm"}


# Figures


def test_correlations_are_numpys(monkeypatch):
    monkeypatch.setattr("charrnn.study.states.BLOCK", 7)
    rng = np.random.default_rng(0)
    values = (1000.0 + rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))).astype(np.float32)
    values[:, 2] = 0.3
    against = rng.normal(size=(50, 3)) + values[:, :3]
    against[:, 1] = 5.0
    found = correlations(values, against)
    for f, u in itertools.product(range(3), range(4)):
        if f == 1 or u == 2:
            assert np.isnan(found[f, u])
        else:
            assert found[f, u] == pytest.approx(np.corrcoef(values[:, u], against[:, f])[0, 1], abs=1e-9)


@pytest.mark.parametrize("rows", [0, 1])
def test_of_one_character_nothing_correlates(rows):
    assert np.isnan(correlations(np.ones((rows, 2), np.float32), np.ones((rows, 3)))).all()


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=12)
)
def test_auc_counts_pairs(on, off):
    pairs = [(a > b) + 0.5 * (a == b) for a in on for b in off]
    assert auc(np.array(on, np.float32), np.array(off, np.float32)) == pytest.approx(sum(pairs) / len(pairs))


def made_up(text: str, values: np.ndarray, layers: tuple[int, ...]) -> Activations:
    return Activations(text, np.zeros(len(text), np.int64), values.astype(np.float32), layers, 0, features(text))


def test_units_are_chosen_on_the_first_half_and_measured_on_the_second():
    text = ("ab (ab) a\n" * 20) * 2
    half, rng = len(text) // 2, np.random.default_rng(1)
    on = features(text)[:, FEATURE_NAMES.index("whitespace")]
    values = rng.normal(size=(len(text), 5))
    values[:, 3] = -on + 0.5 * values[:, 3]
    values[:half, 1], values[half:, 1] = on[:half], on[half:][::-1] * 0  # Perfect, and then gone.
    (found,) = rank(made_up(text, values, (2, 3)), ["whitespace"], top=2)
    first, second = found.units
    assert (first.layer, first.unit, first.found) == (0, 1, pytest.approx(1.0))
    assert (first.correlation, first.auc) == (None, 0.5)
    assert (second.layer, second.unit) == (1, 1)
    unit = values[:, 3].astype(np.float32)
    assert second.found == pytest.approx(np.corrcoef(unit[:half], on[:half])[0, 1])
    assert second.correlation == pytest.approx(np.corrcoef(unit[half:], on[half:])[0, 1])
    below = [a < b for a in unit[half:][on[half:] > 0] for b in unit[half:][on[half:] == 0]]
    assert second.auc == pytest.approx(np.mean(below))  # Negative, so it is below that tells.
    assert found.mean == pytest.approx(on[half:].mean())


def test_figures_of_one_unit_are_those_of_the_ranking():
    text = "ab (ab) a\n" * 30
    found = made_up(text, np.random.default_rng(2).normal(size=(len(text), 3)), (3,))
    ranked = {f.feature: {u.unit: u for u in f.units} for f in rank(found, top=3)}
    for feature in follow(found, 2):
        assert len(feature.units) == (len(ranked[feature.feature]) > 0)
        for unit in feature.units:
            same = ranked[feature.feature][2]
            assert (unit.layer, unit.unit, unit.auc) == (0, 2, same.auc)
            assert unit.found == pytest.approx(same.found, rel=1e-9)
            assert unit.correlation == pytest.approx(same.correlation, rel=1e-9)
    assert ranked["quotes"] == {}
    own = unit_activations(found, 2)
    assert (own.layer, own.unit, own.text) == (0, 2, text)
    assert own.values == tuple(found.values[:, 2].tolist())


def test_names_of_units():
    found = made_up("a", np.zeros((1, 5)), (2, 3))
    assert [found.name(column) for column in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert [found.column(*found.name(column)) for column in range(5)] == list(range(5))
    for place in ((0, 2), (1, 3), (2, 0), (-1, 0), (0, -1)):
        with pytest.raises(UsageError, match="0:0 to 0:1, 1:0 to 1:2"):
            found.column(*place)


def test_a_passage_is_where_the_feature_varies_most():
    text = "aaaa\n" * 40 + "aaaa\n" * 20 + "aa(aa)a\n" + "aaaa\n" * 12
    found = made_up(text, np.zeros((len(text), 1)), (1,))
    where = telling_passage(found, "round", 16)
    assert where.stop - where.start == 16
    assert where.start >= len(text) // 2
    assert text[where.start - 1] == "\n"
    assert "(aa)" in text[where]
    assert telling_passage(found, "round", 10**6) == slice(len(text) // 2, len(text))


# Planted units


def planted() -> SavedModel:
    """Unit 2 holds a bracket until it is closed; unit 1 counts characters of the line; the others are noise."""
    saved = saved_model(hidden_size=4)
    H, params = 4, {name: 0.3 * value for name, value in saved.params.items()}
    U, W, b = (params[f"layers.0.{name}"] for name in ("weight_ih", "weight_hh", "bias"))
    i, f, g = (np.arange(gate * H, (gate + 1) * H) for gate in range(3))
    symbol = {character: k for k, character in enumerate(VOCABULARY.symbols)}
    for unit in (1, 2):
        for gate in (i, f, g):
            U[gate[unit]] = W[gate[unit]] = 0.0
    b[[i[2], f[2], g[2]]] = -20.0, 20.0, 20.0  # Nothing is written and all is kept,
    U[i[2], symbol["("]] = 40.0  # but for one bracket, which writes 1,
    U[f[2], symbol[")"]] = -40.0  # and another, which forgets it.
    b[[i[1], f[1], g[1]]] = -3.0, 20.0, 20.0  # σ(−3) = 0.047 is added at each step
    U[[i[1], f[1]], symbol["\n"]] = -40.0  # until the line ends.
    return replace(saved, params=params)


def test_planted_units_are_found_first():
    rng = np.random.default_rng(3)
    lines = ["".join(rng.choice(list("ab "), rng.integers(2, 9))) for _ in range(120)]
    text = "".join(f"{a}({b}){a}\n" if k % 3 else f"{a}\n" for k, (a, b) in enumerate(itertools.pairwise(lines)))
    found = activations(planted(), Sequences.from_texts([text]), "eos", "memory")
    ranked = {feature.feature: feature for feature in rank(found, top=1)}
    (bracket,), (position,) = ranked["round"].units, ranked["position"].units
    assert (bracket.layer, bracket.unit) == (0, 2)
    assert bracket.found == pytest.approx(1.0, abs=1e-3)
    assert bracket.correlation == pytest.approx(1.0, abs=1e-3)
    assert (position.layer, position.unit) == (0, 1)
    assert position.correlation is not None
    assert position.correlation > 0.97  # tanh bends what is counted.
