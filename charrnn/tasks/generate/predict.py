"""A trained model of text: its samples, its log-likelihoods, what may come next, and the likeliest condition."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import MAX_SEED, StopName
from charrnn.corpus.columns import encode_columns, parse_given
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CorpusError, UsageError
from charrnn.models.store import SavedModel, load_model
from charrnn.sampling.ancestral import Drawn, FinishReason, Request, Sampler
from charrnn.sampling.filters import Filters
from charrnn.sampling.fix_context import fix_context
from charrnn.sampling.likeliest import likeliest
from charrnn.sampling.prediction import END, Prediction, most_probable, next_probabilities
from charrnn.sampling.scoring import Score, choose_stop, score
from charrnn.sampling.stepper import Stepper
from charrnn.tasks.generate.bayes import posterior

MAX_CHARS = 20_000


def open_model(checkpoint: Checkpoint) -> "Model":
    """Raises CheckpointError."""
    return Model(load_model(checkpoint), checkpoint.path)


@dataclass(frozen=True)
class Sample:
    """A sampled text; the fields of a line of `charrnn sample --json`."""

    text: str
    prompt: str
    finish_reason: FinishReason
    num_chars: int
    logprob: float
    """Nats: the model's own ln P(text) at temperature 1, without filters; for a cut text, of the prefix. It does
    not know of texts that were skipped."""
    seed: int | None
    """None for a text that was found by search."""


class Model:
    """A trained model, ready to sample and to score text. It needs no torch."""

    def __init__(self, saved: SavedModel, path: Path) -> None:
        self.saved, self.path = saved, path
        self._last: tuple[bytes | None, Stepper] | None = None

    @property
    def stops(self) -> tuple[StopName, ...]:
        """The model's stopping mechanisms."""
        return self.saved.model.stops

    def sample(
        self,
        n: int = 1,
        *,
        stop: StopName | None = None,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        num_chars: int | None = None,
        max_chars: int | None = MAX_CHARS,
        until: str | None = None,
        max_words: int | None = None,
        seed: int | None = None,
        given: str | Sequence[str] = (),
    ) -> list[Sample]:
        """n texts, in the order of their numbers. The keywords are those of `draws`."""
        draws = self.draws(
            stop=stop,
            prompt=prompt,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            num_chars=num_chars,
            max_chars=max_chars,
            until=until,
            max_words=max_words,
            seed=seed,
            given=given,
        )
        return [sample for _, sample in sorted(draws.draw(range(n)), key=lambda drawn: drawn[0])]

    def stream(
        self,
        *,
        stop: StopName | None = None,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        num_chars: int | None = None,
        max_chars: int | None = MAX_CHARS,
        until: str | None = None,
        max_words: int | None = None,
        seed: int | None = None,
        given: str | Sequence[str] = (),
    ) -> Iterator[str | Sample]:
        """The characters of one text as they are sampled, after the prompt, and finally the `Sample`."""
        return self.draws(
            stop=stop,
            prompt=prompt,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            num_chars=num_chars,
            max_chars=max_chars,
            until=until,
            max_words=max_words,
            seed=seed,
            given=given,
        ).stream()

    def draws(
        self,
        *,
        stop: StopName | None = None,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        num_chars: int | None = None,
        max_chars: int | None = MAX_CHARS,
        until: str | None = None,
        max_words: int | None = None,
        cut_logprob: bool = True,
        seed: int | None = None,
        given: str | Sequence[str] = (),
    ) -> "Draws":
        """Texts to be sampled, by their numbers; the same seed gives the same texts.

        stop: by default the model's first mechanism; prompt: what every text begins with; temperature: below 1 for
        likelier text; top_k, top_p, min_p: filters of the characters; num_chars: the exact length. Three ways to
        cut a text are reported as finish_reason: max_chars, the most characters; until, what it ends with, which
        is part of it; max_words, the most words, set off by white space. cut_logprob: whether to compute the
        logprob of a cut text, which takes long for a long one under `length`; given: the values that a model is
        conditioned on, in the form of `--given`. Raises UsageError, CorpusError.
        """
        context, chosen = self.context(given), choose_stop(self.saved.model, stop)
        if chosen == "none" and num_chars is None and until is None and max_words is None:
            raise UsageError(
                "this model has no end (--stop none): say how many characters to draw, --num-chars N, or where to "
                "end, --until TEXT or --max-words N; `charrnn train CORPUS --stop eos` trains one that ends by "
                "itself"
            )
        for name, value, fits, expected in (
            ("temperature", temperature, temperature >= 0, "0 or more"),
            ("top_k", top_k, top_k is None or top_k >= 1, "1 or more"),
            ("top_p", top_p, top_p is None or 0 < top_p <= 1, "more than 0, at most 1"),
            ("min_p", min_p, min_p is None or 0 <= min_p <= 1, "0 to 1"),
            ("num_chars", num_chars, num_chars is None or num_chars >= 1, "1 or more"),
            ("max_chars", max_chars, max_chars is None or max_chars >= 1, "1 or more"),
            ("until", until, until != "", "at least one character"),
            ("max_words", max_words, max_words is None or max_words >= 1, "1 or more"),
            ("seed", seed, seed is None or 0 <= seed <= MAX_SEED, f"0 to {MAX_SEED}"),
        ):
            if not fits:
                raise UsageError(f"{name} = {value}: expected {expected}")
        if num_chars is not None and (until is not None or max_words is not None):
            raise UsageError("--num-chars is exact, --until and --max-words end a text earlier; give one kind")
        max_chars = max_chars if num_chars is None else None
        vocabulary = self.saved.vocabulary
        vocabulary.require(prompt + (until or ""))
        for flag, limit in (("--num-chars", num_chars), ("--max-chars", max_chars)):
            if limit is not None and len(prompt) > limit:
                raise CorpusError(f"the prompt has {len(prompt)} characters, more than {flag} {limit}")
        request = Request(
            stop=chosen,
            prompt=vocabulary.encode(prompt).astype(np.int64),
            filters=Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p),
            num_chars=num_chars,
            max_chars=max_chars,
            until=None if until is None else vocabulary.encode(until).astype(np.int64),
            max_words=max_words,
            spaces=np.array([*map(str.isspace, vocabulary.symbols), False]),
            cut_log_prob=cut_logprob,
            seed=int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed,
        )
        return Draws(Sampler(self._stepper(context), request), vocabulary, prompt, request.seed)

    def likeliest(
        self,
        n: int = 1,
        *,
        stop: StopName | None = None,
        prompt: str = "",
        max_chars: int = MAX_CHARS,
        given: str | Sequence[str] = (),
    ) -> Iterator[Sample]:
        """The n likeliest texts of at most `max_chars` characters that begin with the prompt, the likeliest first.

        Raises UsageError, CorpusError, and FewerTextsError after the texts that are certain, if they are fewer.
        """
        chosen, vocabulary = choose_stop(self.saved.model, stop), self.saved.vocabulary
        if chosen == "none":
            raise UsageError(
                "texts of this model have no end (--stop none), so none is the likeliest; `charrnn train CORPUS "
                "--stop eos` trains one that ends by itself"
            )
        vocabulary.require(prompt)
        if len(prompt) > max_chars:
            raise CorpusError(f"the prompt has {len(prompt)} characters, more than --max-chars {max_chars}")
        stepper = self._stepper(self.context(given))
        symbols = vocabulary.encode(prompt).astype(np.int64)
        for found in likeliest(stepper, stepper.model.endings[chosen], n, prompt=symbols, max_chars=max_chars):
            text = vocabulary.decode(found.symbols)
            yield Sample(text, prompt, chosen, len(text), found.log_prob, None)

    def score(
        self,
        texts: Iterable[str],
        stop: StopName | None = None,
        given: str | Sequence[str] = (),
        prompt: str = "",
    ) -> list[Score]:
        """The exact log-likelihood of each text, its ending included, given the initial state and the context.

        A string is one text. prompt: what stands before each text; it is read, but not charged.
        """
        texts = [texts] if isinstance(texts, str) else texts
        return list(score(self.saved, texts, stop, self.context(given), prompt))

    def predict(
        self,
        texts: Iterable[str],
        *,
        given: Sequence[str] = (),
        stop: StopName | None = None,
        n: int = 5,
        number: int = 0,
    ) -> Iterator[Prediction]:
        """The n likeliest next characters of each beginning, the end of the text (END) among them.

        Of a model that is conditioned on a column beside what is given: the n most probable values of that column,
        by Bayes' rule. Raises UsageError, and CorpusError for a beginning with a character that is not known.
        """
        if len(given) < len(self.saved.config.columns):
            return posterior(self.saved, texts, given=given, stop=stop, n=n)
        return self._next(texts, given, choose_stop(self.saved.model, stop), n)

    def _next(
        self, beginnings: Iterable[str], given: Sequence[str], stop: StopName, n: int
    ) -> Iterator[Prediction]:
        stepper, vocabulary = self._stepper(self.context(given)), self.saved.vocabulary
        values, ending = (*vocabulary.symbols, END), self.saved.model.endings[stop]
        for text in beginnings:
            vocabulary.require(text)
            p = next_probabilities(stepper, ending, vocabulary.encode(text).astype(np.int64))
            yield most_probable(text, values, p, n)

    def context(self, given: str | Sequence[str] = ()) -> "npt.NDArray[np.float32] | None":
        """(X,) the vector of `--given` values; None without columns. Raises UsageError, CorpusError."""
        values = parse_given(self.saved.config.columns, [given] if isinstance(given, str) else given)
        if not self.saved.config.columns:
            return None
        rows = encode_columns(self.saved.config.columns, [[value] for value in values], lambda _: "--given")
        vector: npt.NDArray[np.float32] = rows[0]
        return vector

    def _stepper(self, context: npt.NDArray[np.float32] | None) -> Stepper:
        """A stepper for the model in a context; the last one is kept."""
        key = None if context is None else context.tobytes()
        if self._last is None or self._last[0] != key:
            model, params = self.saved.model, self.saved.params
            if context is not None:
                model, params = fix_context(model, params, context)
            self._last = key, Stepper(model, params)
        return self._last[1]


@dataclass(frozen=True)
class Draws:
    """Texts of one request."""

    sampler: Sampler
    vocabulary: Vocabulary
    prompt: str
    seed: int

    def draw(self, numbers: range) -> Iterator[tuple[int, Sample]]:
        """Texts with their numbers, in the order in which they end."""
        for drawn in self.sampler.draw(numbers):
            yield drawn.number, self._sample(drawn)

    def stream(self, number: int = 0) -> Iterator[str | Sample]:
        """The characters of one text as they are sampled, after the prompt, and finally the `Sample`."""
        for item in self.sampler.stream(number):
            yield self._sample(item) if isinstance(item, Drawn) else self.vocabulary.symbols[item]

    def _sample(self, drawn: Drawn) -> Sample:
        text = self.vocabulary.decode(drawn.symbols)
        return Sample(text, self.prompt, drawn.finish_reason, len(text), drawn.log_prob, self.seed)
