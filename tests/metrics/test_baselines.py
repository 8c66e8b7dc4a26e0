import json
import lzma
import math
import random
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.corpus.sequences import Sequences, to_code_points
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.metrics import baselines as baselines_module
from charrnn.metrics.baselines import baselines
from charrnn.metrics.ngram import NGram

DATA = Path(charrnn.__file__).parents[1] / "data"
UNKNOWN_NLL = 7.5


class NaiveWittenBell:
    """The definition, one symbol and one dictionary look-up at a time."""

    def __init__(self, vocab_size: int, endings: bool, independent: bool) -> None:
        self.vocab_size, self.endings, self.independent = vocab_size, endings, independent
        self.followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    def histories(self, symbols: list[int], open_start: bool) -> list[list[int]]:
        history = [] if open_start or not (self.endings or self.independent) else [self.vocab_size]
        result = []
        for symbol in symbols:
            result.append(history)
            history = [symbol] if self.independent and symbol == self.vocab_size else [*history, symbol]
        return result

    def is_outcome(self, symbol: int) -> bool:
        return symbol < self.vocab_size or (self.endings and symbol == self.vocab_size)

    def fit(self, symbols: list[int], max_order: int, open_start: bool) -> None:
        for history, symbol in zip(self.histories(symbols, open_start), symbols, strict=True):
            for n in range(1, min(max_order, len(history) + 1) + 1):
                context = tuple(history[len(history) - n + 1 :])
                if self.is_outcome(symbol) and self.vocab_size + 1 not in context:
                    self.followers[context][symbol] += 1

    def probability(self, symbol: int, history: list[int], n: int) -> float:
        if n == 0:
            return 1 / (self.vocab_size + self.endings)
        lower = self.probability(symbol, history, n - 1)
        if n - 1 > len(history):
            return lower
        seen = self.followers.get(tuple(history[len(history) - n + 1 :]))
        if not seen:
            return lower
        return (seen[symbol] + len(seen) * lower) / (seen.total() + len(seen))

    def nll(self, symbols: list[int], n: int, open_start: bool) -> list[float]:
        return [
            UNKNOWN_NLL
            if symbol == self.vocab_size + 1
            else -math.log(self.probability(symbol, history, n))
            if self.is_outcome(symbol)
            else 0.0
            for history, symbol in zip(self.histories(symbols, open_start), symbols, strict=True)
        ]


@st.composite
def texts(draw, vocab_size, max_size):
    """Symbols of a text over at most four different characters, with marks and unknown characters."""
    characters = sorted({0, min(1, vocab_size - 1), vocab_size // 2, vocab_size - 1})
    symbols = st.sampled_from([*characters, *characters, vocab_size, vocab_size + 1])
    return draw(st.lists(symbols, max_size=max_size))


@given(data=st.data(), vocab_size=st.sampled_from([1, 2, 5, 0x110000]))
def test_ngram_is_the_definition(data, vocab_size):
    endings, independent = data.draw(st.booleans()), data.draw(st.booleans())
    train, held_out = data.draw(texts(vocab_size, 40)), data.draw(texts(vocab_size, 12))
    open_train, open_held_out = data.draw(st.booleans()), data.draw(st.booleans())
    naive = NaiveWittenBell(vocab_size, endings, independent)
    naive.fit(train, 8, open_train)
    model = NGram(vocab_size, endings, independent, UNKNOWN_NLL).fit(
        np.array(train, int), 8, open_start=open_train
    )
    nll = model.nll(np.array(held_out, int), open_start=open_held_out)
    assert nll.shape == (9, len(held_out))
    for n in range(9):
        assert nll[n] == pytest.approx(naive.nll(held_out, n, open_held_out), abs=1e-12)


@pytest.mark.parametrize("endings", [True, False])
@pytest.mark.parametrize("independent", [True, False])
def test_every_order_sums_to_one_after_every_context(endings, independent):
    vocab_size = 2
    train = np.array([0, 1, 1, 0, 2, 1, 0, 2, 2, 0, 0, 1, 0, 1, 2])
    model = NGram(vocab_size, endings, independent, UNKNOWN_NLL).fit(train, 4)
    num_unseen = 0
    for length in range(5):
        for context in product(range(vocab_size + 2), repeat=length):
            for open_start in (False, True):
                total = np.zeros(5)
                for symbol in range(vocab_size + endings):
                    nll = model.nll(np.array([*context, symbol]), open_start=open_start)[:, -1]
                    total += np.exp(-nll)
                assert total == pytest.approx(np.ones(5), abs=1e-12)
                num_unseen += nll[4] == nll[3]
    assert num_unseen > 100


def test_unfitted_and_empty_models_are_uniform():
    symbols = np.array([0, 2, 3, 1])
    unfitted = NGram(3, True, True, UNKNOWN_NLL)
    assert unfitted.nll(symbols) == pytest.approx(np.full((1, 4), math.log(4)))
    empty = unfitted.fit(np.empty(0, int), 3)
    assert empty.nll(symbols) == pytest.approx(np.full((4, 4), math.log(4)))
    assert empty.nll(np.empty(0, int)).shape == (4, 0)


def test_known_floors_of_tinyshakespeare():
    text = to_code_points((DATA / "tinyshakespeare.txt").read_text())
    cut = int(0.9 * len(text))
    alphabet, ids = np.unique(text, return_inverse=True)
    model = NGram(len(alphabet), False, False, UNKNOWN_NLL).fit(ids[:cut], 6)
    nll = model.nll(ids[cut:], open_start=True).mean(axis=1)
    assert nll[3:] == pytest.approx([2.049, 1.774, 1.669, 1.698], abs=6e-4)


def test_known_floors_of_names():
    words = (DATA / "names.txt").read_text().split()
    random.Random(42).shuffle(words)
    symbols = [np.array([ord(c) - ord("a") for c in word] + [26]) for word in words]
    first, second = int(0.8 * len(words)), int(0.9 * len(words))
    model = NGram(26, True, True, UNKNOWN_NLL).fit(np.concatenate(symbols[:first]), 5)
    nll = model.nll(np.concatenate(symbols[first:second])).mean(axis=1)
    assert nll[[2, 4, 5]] == pytest.approx([2.453, 2.074, 2.035], abs=6e-4)


def make_sequences(texts, *, open_start=False, open_end=False):
    """Sequences of these texts, which stand in reverse order in the encoded corpus, strangers between."""
    corpus = to_code_points("~" + "~~".join(reversed(texts)) + "~")
    alphabet, ids = np.unique(corpus, return_inverse=True)
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = len(corpus) - 1 - np.cumsum(lengths + 2) + lengths + 2
    starts = ends - lengths
    return Sequences(ids.astype(np.uint8), alphabet, starts, ends, open_start, open_end)


def flatten(texts, vocabulary, marks, open_end=False):
    symbols = []
    for text in texts:
        symbols += [vocabulary.symbols.index(c) if c in vocabulary.symbols else vocabulary.size + 1 for c in text]
        symbols += [vocabulary.size] * marks
    return symbols[: len(symbols) - (marks and open_end)]


def spell(texts, ending, open_end):
    text = "".join(text + ending for text in texts)
    return text[: len(text) - len(ending) * open_end]


def xz_size(text):
    data = text.encode()
    window = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}
    return len(lzma.compress(data, lzma.FORMAT_RAW, filters=[window]))


LINES = st.lists(st.text("abé", max_size=6), min_size=1, max_size=12)


@given(
    train=LINES,
    valid=LINES,
    held_out=st.lists(st.text("abéx", max_size=6), max_size=12),
    independent=st.booleans(),
    endings=st.booleans(),
    separator=st.sampled_from(["\n", "\n\n"]),
    opened=st.tuples(*[st.booleans()] * 4),
    piece=st.sampled_from([1, 3, 1 << 18]),
)
def test_baselines_are_the_definitions(train, valid, held_out, independent, endings, separator, opened, piece):
    open_train, train_open_end, open_held_out, open_end = opened
    open_end = open_end and bool(held_out)
    vocabulary = Vocabulary(("a", "b", "é"))
    marks = endings or independent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines_module, "_PIECE_CHARS", piece)
        result = baselines(
            make_sequences(train, open_start=open_train, open_end=train_open_end),
            make_sequences(valid),
            make_sequences(held_out, open_start=open_held_out, open_end=open_end),
            vocabulary,
            training_chars=20,
            independent=independent,
            endings=endings,
            separator=separator,
        ).figures
    json.dumps(result, allow_nan=False)

    naive = NaiveWittenBell(3, endings, independent)
    naive.fit(flatten(train, vocabulary, marks, train_open_end), 8, open_train)
    num_oov = sum(text.count("x") for text in held_out)
    symbols = flatten(held_out, vocabulary, marks, open_end)

    def nll(n):
        nats = naive.nll(symbols, n, open_held_out)
        return sum(nats) + num_oov * (math.log(21) - UNKNOWN_NLL)

    by_order = [sum(naive.nll(flatten(valid, vocabulary, marks), n, False)) for n in range(1, 9)]
    order = result["ngram"]["order"]
    assert by_order[order - 1] == pytest.approx(min(by_order))
    num_chars = sum(map(len, held_out))
    num_endings = (len(held_out) - open_end) * endings
    ending = separator if endings else ""
    prefix = spell(train, ending, train_open_end)
    whole = prefix + spell(held_out, ending, open_end)
    expected = {
        "uniform": (num_chars - num_oov + num_endings) * math.log(3 + endings) + num_oov * math.log(21),
        "unigram": nll(1),
        "ngram": nll(order),
        "xz": 8 * math.log(2) * (xz_size(whole) - xz_size(prefix)),
    }
    for name, nats in expected.items():
        assert result[name]["nll"] == pytest.approx(nats)
        if num_chars:
            assert result[name]["loss"] == pytest.approx(nats / num_chars)
            assert result[name]["bits_per_char"] * num_chars == pytest.approx(nats / math.log(2))
        else:
            assert result[name]["loss"] is result[name]["bits_per_char"] is None
        num_symbols = num_chars + len(held_out) * endings
        if num_symbols:
            assert result[name]["loss_per_symbol"] == pytest.approx(nats / num_symbols)
        else:
            assert result[name]["loss_per_symbol"] is None
    assert result["num_oov"] == num_oov
    assert result["note"] is None


def names_baselines(train, valid, held_out):
    return baselines(
        train,
        valid,
        held_out,
        Vocabulary(tuple("abé")),
        training_chars=20,
        independent=True,
        endings=True,
        separator="\n",
    ).figures


def test_order_is_chosen_on_validation_text_alone():
    train = make_sequences(["abababababab", "aabbaabb"] * 3)
    repetitive, surprising = make_sequences(["abababababab"]), make_sequences(["ébéa"])
    chosen = names_baselines(train, repetitive, surprising)
    assert chosen["ngram"]["order"] > 2
    assert names_baselines(train, surprising, repetitive)["ngram"]["order"] == 1
    assert chosen["ngram"]["nll"] != chosen["unigram"]["nll"]


def test_without_training_text_only_uniform_is_left():
    held_out = make_sequences(["ab", "b"])
    result = names_baselines(None, None, held_out)
    assert result["uniform"]["nll"] == pytest.approx(5 * math.log(4))
    assert result["unigram"] is result["ngram"] is result["xz"] is None
    assert "training text" in result["note"]


def test_without_validation_text_the_order_is_five():
    train, held_out = make_sequences(["abab", "ba"]), make_sequences(["ab", "b"])
    result = names_baselines(train, None, held_out)
    assert result["ngram"]["order"] == 5
    assert "validation text" in result["note"]


@pytest.mark.parametrize("num_bytes", [1, 2, 3, 4, 5, 9, 10, 11, 12, 13])
@pytest.mark.parametrize("texts", [["ébaab", "", "béa"], ["ébaab ba béa"]])
def test_training_text_is_read_from_its_end(monkeypatch, texts, num_bytes):
    whole = "\n".join(texts) + "\n"
    rest = whole.encode()[-num_bytes:].decode(errors="ignore")
    valid, held_out = make_sequences(["ab", "ba"]), make_sequences(["béaéb", "ab"])
    expected = names_baselines(make_sequences(rest.split("\n")[:-1], open_start=rest != whole), valid, held_out)
    monkeypatch.setattr(baselines_module, "TRAINING_BYTES", num_bytes)
    result = names_baselines(make_sequences(texts), valid, held_out)
    assert ("training text" in (result.pop("note") or "")) == (rest != whole)
    expected.pop("note")
    assert result == expected


def test_a_stream_is_read_from_its_end(monkeypatch):
    def stream_baselines(train):
        held_out = make_sequences(["babaab"], open_start=True, open_end=True)
        vocabulary = Vocabulary(("a", "b"))
        options = {"training_chars": 9, "independent": False, "endings": False, "separator": "\n"}
        return baselines(train, held_out, held_out, vocabulary, **options).figures

    expected = stream_baselines(make_sequences(["aababba"], open_start=True, open_end=True))
    monkeypatch.setattr(baselines_module, "TRAINING_BYTES", 7)
    result = stream_baselines(make_sequences(["bbaababba"], open_end=True))
    assert result == expected | {"note": result["note"]}
    assert result["note"] is not None


@pytest.mark.parametrize("piece", [1, 7])
def test_pieces_do_not_shorten_the_longest_context(monkeypatch, piece):
    text = make_sequences(["aaaaaaab" * 20])
    whole = names_baselines(text, text, text)
    assert whole["ngram"]["order"] == baselines_module.MAX_ORDER
    monkeypatch.setattr(baselines_module, "_PIECE_CHARS", piece)
    in_pieces = names_baselines(text, text, text)
    assert in_pieces["ngram"]["nll"] == pytest.approx(whole["ngram"]["nll"])
