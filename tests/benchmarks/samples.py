"""What a person gets from `charrnn sample`: words, repetition and copying at several temperatures.

    python tests/benchmarks/samples.py RUN
    python tests/benchmarks/samples.py RUN --top-p 0.95 --min-p 0.05

The reference row measures as many characters of the run's held-out text in the same way.
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import charrnn
from charrnn.api import Model
from charrnn.checkpoint import RunDirectory
from charrnn.config import RunRecord
from charrnn.corpus.sequences import Sequences
from charrnn.tasks.generate.held_out import training_text

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
STREAM = 2000
"""Characters of each sample of a model that ends no text."""
ROWS = 64
"""Samples drawn side by side."""

Figures = dict[str, float | None]


# Figures of texts ------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Runs of letters, with apostrophes inside, in lower case."""
    return WORD.findall(text.lower())


def share(matches: Iterable[bool]) -> float | None:
    """Of those that are true; None of nothing."""
    found = list(matches)
    return sum(found) / len(found) if found else None


def known_words(texts: Sequence[str], vocabulary: set[str], letters: int = 4) -> float | None:
    """The share of the words of so many letters or more that are in a vocabulary."""
    found = (word for text in texts for word in words(text))
    return share(word in vocabulary for word in found if sum(map(str.isalpha, word)) >= letters)


def seen_before(items: Iterable[Any]) -> Iterator[bool]:
    """For each item whether it came up before."""
    seen = set()
    for item in items:
        yield item in seen
        seen.add(item)


def repeated_grams(texts: Sequence[str], size: int = 4) -> float | None:
    """The share of word n-grams, each within a text, that came up before in the texts."""
    split = [words(text) for text in texts]
    return share(seen_before(tuple(w[at : at + size]) for w in split for at in range(len(w) - size + 1)))


def repeated_lines(texts: Sequence[str]) -> float | None:
    """The share of lines that came up before in the texts; blank ones do not count."""
    lines = (line.strip() for text in texts for line in text.splitlines())
    return share(seen_before(line for line in lines if line))


def copied(texts: Sequence[str], source: str, span: int = 30) -> float | None:
    """The share of characters that lie in spans of `span` characters or more that stand in a source.

    A longer span stands there only if all its parts of `span` characters do, so looking for those is enough.
    """
    asked = {text[at : at + span] for text in texts for at in range(len(text) - span + 1)}
    found = asked.intersection(source[at : at + span] for at in range(len(source) - span + 1))
    covered = 0
    for text in texts:
        end = 0  # of what is covered so far
        for at in range(len(text) - span + 1):
            if text[at : at + span] in found:
                covered += at + span - max(at, end)
                end = at + span
    total = sum(map(len, texts))
    return covered / total if total else None


def distinct_words(texts: Sequence[str], block: int = 1000) -> float | None:
    """How many words differ among 1,000: the mean over blocks of 1,000, or what fewer words make of it."""
    found = [word for text in texts for word in words(text)]
    size = min(block, len(found))
    if not size:
        return None
    blocks = [found[at : at + size] for at in range(0, len(found) - size + 1, size)]
    return block * sum(len(set(part)) for part in blocks) / (size * len(blocks))


def figures(texts: Sequence[str], *, vocabulary: set[str], source: str, entries: set[str] | None) -> Figures:
    """Of texts beside the words that are known, the training text, and the list's entries where it is a list."""
    return {
        "known_words": known_words(texts, vocabulary),
        "repeated_grams": repeated_grams(texts),
        "repeated_lines": repeated_lines(texts),
        "copied": copied(texts, source),
        "distinct_words": distinct_words(texts),
        "in_training": None if entries is None else share(text in entries for text in texts),
        "distinct": None if entries is None else len(set(texts)) / max(len(texts), 1),
    }


# Texts -----------------------------------------------------------------------------------------------------


def without_cut_word(text: str) -> str:
    """A text that was cut at a number of characters, without the word that the cut may have halved."""
    return re.sub(r"[\w'’]+\Z", "", text)


def enough(texts: Iterable[str], num_chars: int) -> list[str]:
    """The first texts that together, an end counted with each, have so many characters."""
    kept, total = [], 0
    for text in texts:
        if total >= num_chars:
            break
        kept.append(text)
        total += len(text) + 1
    return kept


def drawn(model: Model, num_chars: int, **options: Any) -> list[str]:
    """Samples of about so many characters together; of a model that ends no text, of STREAM each."""
    if model.stops == ("none",):
        rows = -(-num_chars // STREAM)
        samples = model.sample(rows, num_chars=-(-num_chars // rows), **options)
        return [without_cut_word(sample.text) for sample in samples]
    batches = (dict(model.draw(range(first, first + ROWS), **options)) for first in count(0, ROWS))
    return enough((batch[number].text for batch in batches for number in sorted(batch)), num_chars)


def held_out(parts: Sequence[Sequences], num_chars: int) -> tuple[list[str], list[str]]:
    """About so many characters from the beginning of the held-out text, in sequences, and the sequences left.

    A sequence that is too long, such as a stream, is cut.
    """
    texts = [text for part in parts for text in texts_of(part)]
    first = enough(texts, num_chars)
    rest = texts[len(first) :]
    if first and (excess := sum(map(len, first)) - num_chars) > STREAM:
        at = len(first[-1]) - excess
        rest = [first[-1][at:], *rest]
        first[-1] = without_cut_word(first[-1][:at])
    return first, rest


def texts_of(part: Sequences) -> Iterator[str]:
    return (part.get(number) for number in range(len(part)))


# The command -----------------------------------------------------------------------------------------------

HEADINGS = {
    "known_words": "known words",
    "repeated_grams": "4-grams again",
    "repeated_lines": "lines again",
    "copied": "copied 30+",
    "distinct_words": "words in 1,000",
    "in_training": "in the list",
    "distinct": "dis- tinct",
}


def table(rows: dict[str, Figures]) -> Table:
    """A row for each way to draw; a column that has no figure is left out."""
    names = [name for name in HEADINGS if any(row[name] is not None for row in rows.values())]
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column("drawn with", no_wrap=True)
    for name in names:
        shown.add_column(HEADINGS[name], justify="right", max_width=8)
    for label, row in rows.items():
        shown.add_row(label, *(_cell(name, row[name]) for name in names))
    return shown


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name == "distinct_words" else f"{value:.1%}"


def settings(temperatures: list[float], top_p: list[float], min_p: list[float]) -> dict[str, dict[str, float]]:
    """By label: each temperature without a filter, then with each filter."""
    filters = [{}, *({"top_p": value} for value in top_p), *({"min_p": value} for value in min_p)]
    found = [{"temperature": t, **chosen} for chosen in filters for t in temperatures]
    return {
        ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in options.items()): options
        for options in found
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    parser.add_argument("--top-p", type=float, nargs="+", default=[], help="draw so at each temperature too")
    parser.add_argument("--min-p", type=float, nargs="+", default=[], help="draw so at each temperature too")
    parser.add_argument("--chars", type=int, default=20_000, help="characters for each row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), metavar="DIR")
    a = parser.parse_args()

    model = charrnn.load(a.run, checkpoints=a.checkpoints)
    dataset = training_text(RunDirectory(model.path.resolve().parent).read_run(RunRecord), a.checkpoints)
    train, separator = list(texts_of(dataset.parts.train)), dataset.corpus.separator
    excerpt, rest = held_out((dataset.parts.valid, dataset.parts.test), a.chars)
    vocabulary = {word for text in train + rest for word in words(text)}
    beside: dict[str, Any] = {"source": separator.join(train)}
    beside["entries"] = set(train) if (dataset.split, dataset.order) == ("line", "independent") else None

    rows = {"held-out text": figures(excerpt, vocabulary=vocabulary, **beside)}
    vocabulary |= {word for text in excerpt for word in words(text)}
    for label, options in settings(a.temperatures, a.top_p, a.min_p).items():
        texts = drawn(model, a.chars, seed=a.seed, **options)
        rows[label] = figures(texts, vocabulary=vocabulary, **beside)
    Console().print(table(rows))
    if a.json is not None:
        a.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
