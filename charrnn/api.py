"""charrnn as a library: train a run, load it, sample and score. What the commands do, as functions."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint, Which, resolve_checkpoint
from charrnn.config import STOP_NAMES, StopName, TrainConfig
from charrnn.corpus.columns import encode_columns, parse_given
from charrnn.errors import CorpusError, UsageError
from charrnn.models.given import given as fix_context
from charrnn.models.saved import (
    SavedClassifier,
    SavedModel,
    SavedTagger,
    SavedTransducer,
    SavedTreeModel,
    load_any,
    load_model,
)
from charrnn.models.saved import load_classifier as saved_classifier
from charrnn.sampling.ancestral import Drawn, FinishReason, Request, Sampler
from charrnn.sampling.bayes import posterior
from charrnn.sampling.classifying import classify
from charrnn.sampling.filters import Filters
from charrnn.sampling.prediction import Prediction
from charrnn.sampling.scoring import Score, choose_stop, score
from charrnn.sampling.search import BEAM, Search
from charrnn.sampling.stepper import Stepper
from charrnn.sampling.tagging import tag
from charrnn.sampling.transducing import Alignment, aligned, transduce
from charrnn.sampling.trees import label_trees

if TYPE_CHECKING:
    from charrnn.tasks.observer import RunObserver

CHECKPOINTS = Path("checkpoints")
MAX_CHARS = 20_000
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sample:
    """A drawn text; the fields of a line of `charrnn sample --json`."""

    text: str
    prompt: str
    finish_reason: FinishReason
    num_chars: int
    logprob: float
    """Nats: the model's own ln P(text) at temperature 1, without filters; of a cut text, of the prefix."""
    seed: int


class Model:
    """A trained model, ready to draw and to score text. It needs no torch."""

    def __init__(self, saved: SavedModel, path: Path) -> None:
        self.saved, self.path = saved, path
        self._last: tuple[bytes | None, Stepper] | None = None

    @property
    def stops(self) -> tuple[StopName, ...]:
        """How the model can end a text."""
        return self.saved.model.stops

    def sample(self, n: int = 1, **options: Any) -> list[Sample]:
        """n texts, in the order of their numbers. The options are those of `draw`."""
        found: list[Sample | None] = [None] * n
        for number, sample in self.draw(range(n), **options):
            found[number] = sample
        return [sample for sample in found if sample is not None]

    def draw(self, samples: range, **options: Any) -> Iterator[tuple[int, Sample]]:
        """Texts with their numbers, in the order in which they end. Options:

        stop: "eos", "halt", "length" or "none", the model's first by default; prompt: what every text begins
        with; given: the values that a model is conditioned on, as `--given` takes them; temperature, top_k,
        top_p, min_p; num_chars: exactly so many; max_chars: a cut, reported as finish_reason; seed: drawn when
        None. Raises UsageError, CorpusError.
        """
        sampler, request, prompt = self._sampler(**options)
        for drawn in sampler.draw(samples):
            yield drawn.number, self._sample(drawn, prompt, request.seed)

    def stream(self, number: int = 0, **options: Any) -> Iterator[str | Sample]:
        """The characters of one text as they are drawn, after the prompt, and at last the `Sample`."""
        sampler, request, prompt = self._sampler(**options)
        for item in sampler.stream(number):
            if isinstance(item, Drawn):
                yield self._sample(item, prompt, request.seed)
            else:
                yield self.saved.vocabulary.symbols[item]

    def score(
        self, texts: Iterable[str], stop: StopName | None = None, given: str | Sequence[str] = ()
    ) -> list[Score]:
        """The exact log-likelihood of each text, its ending included, given the initial state and the context."""
        return list(score(self.saved, texts, stop, self.context(given)))

    def predict(
        self, texts: Iterable[str], *, given: Sequence[str] = (), stop: StopName | None = None, n: int = 5
    ) -> Iterator[Prediction]:
        """What each text most probably was given, by Bayes' rule: the n likeliest values of a column."""
        return posterior(self.saved, texts, given=given, stop=stop, n=n)

    def context(self, given: str | Sequence[str] = ()) -> "npt.NDArray[np.float32] | None":
        """(X,) the vector of `--given` values; None for a model without one. Raises UsageError, CorpusError."""
        values = parse_given(self.saved.config.columns, [given] if isinstance(given, str) else given)
        if not self.saved.config.columns:
            return None
        rows = encode_columns(self.saved.config.columns, [[value] for value in values], lambda _: "--given")
        vector: npt.NDArray[np.float32] = rows[0]
        return vector

    def _stepper(self, context: npt.NDArray[np.float32] | None) -> Stepper:
        """The model as it is stepped given a context; the last one is kept."""
        key = None if context is None else context.tobytes()
        if self._last is None or self._last[0] != key:
            model, params = self.saved.model, self.saved.params
            if context is not None:
                model, params = fix_context(model, params, context)
            self._last = key, Stepper(model, params)
        return self._last[1]

    def _sampler(
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
        seed: int | None = None,
        given: str | Sequence[str] = (),
    ) -> tuple[Sampler, Request, str]:
        context, chosen = self.context(given), choose_stop(self.saved.model, stop)
        if chosen == "none" and num_chars is None:
            raise UsageError(
                "this model has no end (--stop none): say how many characters to draw, --num-chars N; "
                "`charrnn train CORPUS --stop eos` trains one that ends by itself"
            )
        for name, value, fits, expected in (
            ("temperature", temperature, temperature >= 0, "0 or more"),
            ("top_k", top_k, top_k is None or top_k >= 1, "1 or more"),
            ("top_p", top_p, top_p is None or 0 < top_p <= 1, "more than 0, at most 1"),
            ("min_p", min_p, min_p is None or 0 <= min_p <= 1, "0 to 1"),
            ("num_chars", num_chars, num_chars is None or num_chars >= 1, "1 or more"),
            ("max_chars", max_chars, max_chars is None or max_chars >= 1, "1 or more"),
            ("seed", seed, seed is None or 0 <= seed <= MAX_SEED, f"0 to {MAX_SEED}"),
        ):
            if not fits:
                raise UsageError(f"{name} = {value}: expected {expected}")
        max_chars = max_chars if num_chars is None else None
        self.saved.vocabulary.require(prompt)
        for flag, limit in (("--num-chars", num_chars), ("--max-chars", max_chars)):
            if limit is not None and len(prompt) > limit:
                raise CorpusError(f"the prompt has {len(prompt)} characters, more than {flag} {limit}")
        request = Request(
            stop=chosen,
            prompt=self.saved.vocabulary.encode(prompt).astype(np.int64),
            filters=Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p),
            num_chars=num_chars,
            max_chars=max_chars,
            seed=int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed,
        )
        return Sampler(self._stepper(context), request), request, prompt

    def _sample(self, drawn: Drawn, prompt: str, seed: int) -> Sample:
        text = self.saved.vocabulary.decode(drawn.symbols)
        return Sample(text, prompt, drawn.finish_reason, len(text), drawn.log_prob, seed)


class LabelModel:
    """A trained model of a label or a number for each text. It needs no torch."""

    def __init__(self, saved: SavedClassifier, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(self, texts: Iterable[str], *, n: int = 5) -> Iterator[Prediction]:
        """The n most probable labels of each text, or its number. Raises CorpusError for too long a text."""
        return classify(self.saved, texts, n=n)


class TreeModel:
    """A trained model of a label or a number for each tree. It needs no torch."""

    def __init__(self, saved: SavedTreeModel, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(self, texts: Iterable[str], *, n: int = 5, number: int = 0) -> Iterator[Prediction]:
        """The n most probable labels of each expression's root, or its number.

        number: of the first text. Raises CorpusError, by a text's number, for what is no expression.
        """
        return label_trees(self.saved, texts, n=n, number=number)


class Tagger:
    """A trained model of a symbol for each symbol. It needs no torch."""

    def __init__(self, saved: SavedTagger, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(
        self, texts: Iterable[str], *, how: Search = BEAM, n: int = 1, number: int = 0
    ) -> Iterator[Prediction]:
        """The n likeliest outputs for each input, or n that are drawn. Raises CorpusError for too long a text.

        number: of the first text, which decides what is drawn for it.
        """
        return tag(self.saved, texts, how=how, n=n, number=number)


class Transducer:
    """A trained model of a sequence for a sequence. It needs no torch."""

    def __init__(self, saved: SavedTransducer, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(
        self,
        texts: Iterable[str],
        *,
        given: Sequence[str] = (),
        stop: StopName | None = None,
        how: Search = BEAM,
        n: int = 1,
        number: int = 0,
    ) -> Iterator[Prediction]:
        """The n best outputs for each input, or n drawn. Raises UsageError, CorpusError for what cannot be read.

        With columns, those are given for all inputs, or stand behind each input in its line, between tabs.
        number: of the first text, which decides what is drawn for it.
        """
        chosen = choose_stop(self.saved.model.decoder, stop)
        return transduce(self.saved, texts, given=given, stop=chosen, how=how, n=n, number=number)

    def alignment(
        self, prediction: Prediction, given: Sequence[str] = (), *, stop: StopName | None = None
    ) -> Alignment:
        """Where the model looked in an input when it wrote its prediction. Raises UsageError without attention."""
        chosen = choose_stop(self.saved.model.decoder, stop)
        return aligned(self.saved, prediction.input, str(prediction.prediction), given, stop=chosen)


Predictor: TypeAlias = Model | LabelModel | Tagger | Transducer | TreeModel


def load_classifier(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> LabelModel:
    """As `load`, of a run of the task `classify`. Raises CheckpointError."""
    found = _found(run, checkpoint, checkpoints)
    return LabelModel(saved_classifier(found), found.path)


def load_predictor(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Predictor:
    """As `load`, of any task. Raises CheckpointError."""
    found = _found(run, checkpoint, checkpoints)
    match load_any(found):
        case SavedModel() as saved:
            return Model(saved, found.path)
        case SavedClassifier() as saved:
            return LabelModel(saved, found.path)
        case SavedTagger() as saved:
            return Tagger(saved, found.path)
        case SavedTransducer() as saved:
            return Transducer(saved, found.path)
        case SavedTreeModel() as saved:
            return TreeModel(saved, found.path)


def _found(run: str | Path | None, which: Which, root: str | Path) -> Checkpoint:
    return resolve_checkpoint(None if run is None else str(run), Path(root), which)


def load(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Model:
    """A model from a run (the newest by default), a run's checkpoint, or a path to either.

    checkpoint: "best", "last" or a step. Raises CheckpointError.
    """
    found = _found(run, checkpoint, checkpoints)
    return Model(load_model(found), found.path)


def train(
    *corpus: str | Path,
    checkpoints: str | Path = CHECKPOINTS,
    name: str | None = None,
    overwrite: bool = False,
    observer: "RunObserver | None" = None,
    **config: Any,
) -> Path:
    """Trains a model and returns its run directory. `config` are the fields of `TrainConfig`.

    `stop` may be one name or several. Nothing is shown unless an observer is given. Raises UsageError for a
    value out of bounds, and whatever else `charrnn train` reports.
    """
    from charrnn.training.threads import wait_briefly

    wait_briefly()
    from charrnn.tasks.observer import SilentObserver
    from charrnn.tasks.train import start_run

    outcome = start_run(
        train_config(corpus=corpus, **config),
        root=Path(checkpoints),
        observer=observer or SilentObserver(),
        name=name,
        overwrite=overwrite,
    )
    return outcome.run


def train_config(**values: Any) -> TrainConfig:
    """A checked configuration. Raises UsageError that names the field, what came and what was expected."""
    values = {key: value for key, value in values.items() if value is not None}
    values["corpus"] = [str(path) for path in values.get("corpus", ())]
    stop = values.get("stop", "eos")
    values["stop"] = [stop] if isinstance(stop, str) else list(stop)
    context = values.get("context", ())
    values["context"] = [context] if isinstance(context, str) else list(context)
    unknown = values.keys() - TrainConfig.__dataclass_fields__.keys()
    if unknown:
        raise UsageError(f"there is no option {min(unknown)!r}")
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} = {value}: expected a finite number")
    try:
        config = msgspec.convert(values, type=TrainConfig, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(_misfit(error, values)) from error
    if config.seed is not None and not 0 <= config.seed <= MAX_SEED:
        raise UsageError(f"seed = {config.seed}: expected 0 to {MAX_SEED}")
    if not config.stop:
        raise UsageError(f"stop is empty: expected one or more of {', '.join(STOP_NAMES)}")
    if "none" in config.stop and len(config.stop) > 1:
        raise UsageError("--stop none cannot be combined: a model without an end has no other way to end")
    if len(set(config.stop)) < len(config.stop):
        raise UsageError("--stop names a mechanism twice")
    if sum(value is not None for value in (config.minutes, config.epochs, config.steps)) > 1:
        raise UsageError("give one budget: --minutes, --epochs or --steps")
    return config


def _misfit(error: msgspec.ValidationError, values: dict[str, Any]) -> str:
    """What the error says of a field, with the field's value and, for a name, the names there are."""
    what, _, place = str(error).partition(" - at `$.")
    name = re.split(r"\W", place)[0]
    hint = get_type_hints(TrainConfig)[name]
    if what.startswith("Invalid enum value"):
        what = f"expected {', '.join(_choices(hint))}"
    return f"{name} = {values[name]!r}: {what[0].lower()}{what[1:]}"


def _choices(hint: Any) -> list[str]:
    """The values of every Literal in a type."""
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    return [choice for part in get_args(hint) for choice in _choices(part)]
