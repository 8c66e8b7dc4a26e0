"""The names and settings that every layer shares. Imports nothing heavy.

`TrainConfig` is what a person asks for: its fields are the flags of `charrnn train`, the keys of a
`--config` file, the keywords of `charrnn.train` and the `config` of `run.json`. `ModelConfig` is what a
checkpoint must say of itself to be rebuilt: the `config.json` beside its weights.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from msgspec import Meta

CellName = Literal[
    "tanh",
    "leaky",
    "skip",
    "lstm",
    "coupled_lstm",
    "peephole_lstm",
    "layer_norm_lstm",
    "gru",
    "min_gru",
    "min_lstm",
    "output_recurrent",
    "time_delay",
    "echo_state",
]
"""The registry of recurrent cells: `charrnn/cells/NAME.py` defines `CELL`."""

TaskName = Literal["generate", "classify", "tag", "transduce", "tree"]
StopName = Literal["eos", "halt", "length", "none"]
SplitName = Literal["line", "paragraph", "file"]
OrderName = Literal["independent", "ordered"]
HoldOut = Literal["auto", "values", "rows"]
"""Whether all copies of a text are held out together, or rows one by one."""
InitialState = Literal["zero", "learned"]
ContextMode = Literal["add", "init", "both"]
"""How a vector acts on a recurrence: at every step, as its initial state, or both."""
AttentionName = Literal["additive", "dot"]
Direction = Literal["forward", "backward", "both"]
Pooling = Literal["last", "mean", "max"]
OptimizerName = Literal["adam", "muon"]
"""Muon moves the recurrent matrices by orthogonalised momentum, and the rest as Adam does."""
Precision = Literal["float32", "bfloat16"]
CompositionName = Literal["tanh", "tree_lstm", "child_sum"]
"""What a node of a tree makes of its children."""
Leaves = Literal["symbols", "characters"]

CELL_NAMES: tuple[str, ...] = get_args(CellName)
STOP_NAMES: tuple[str, ...] = get_args(StopName)
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
CONTEXT_MODES: tuple[str, ...] = get_args(ContextMode)
ORDER_NAMES: tuple[str, ...] = get_args(OrderName)
INITIAL_STATES: tuple[str, ...] = get_args(InitialState)

ENDING_STOPS: tuple[StopName, ...] = tuple(name for name in get_args(StopName) if name != "none")
"""What `--stop all` means, in the order in which `sample` and `score` prefer them."""

FORMAT_VERSION = 1

MAX_SEED = 2**63 - 1
"""TOML and JSON readers agree on integers up to here."""

Fraction = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]
Depth = Annotated[int, Meta(ge=1, le=64)]
"""Layers of one part of a recurrent network; with 1 it is the usual affine map."""

DEPTHS = ("input_depth", "transition_depth", "output_depth")
"""Settings of the three places where a recurrent network can be deep."""

Option = bool | int | float | str

VocabSize = Annotated[int, Meta(ge=1, le=0x110000)]
Width = Annotated[int, Meta(ge=1, le=65_536)]
EmbeddingSize = Annotated[int, Meta(ge=0, le=65_536)]
VectorSize = Annotated[int, Meta(ge=0, le=0x110000)]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table as a part of the vector that a model is conditioned on: a category or a number."""

    name: Annotated[str, Meta(max_length=1000)]
    values: Annotated[tuple[Annotated[str, Meta(max_length=100_000)], ...], Meta(max_length=0x110000)] = ()
    """The categories, sorted; none for a number."""
    counts: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=0x110000)] = ()
    """How often each category stands in the training rows."""
    mean: float = 0.0
    scale: Positive = 1.0
    """Standard deviation of a number over the training rows, 1 where it does not vary."""

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.values):
            raise ValueError(f"column {self.name!r} has {len(self.values)} values and {len(self.counts)} counts")

    @property
    def size(self) -> int:
        """Entries of the vector."""
        return len(self.values) or 1


@dataclass(frozen=True, kw_only=True)
class LayersConfig:
    """Layers of one cell, whatever they read and whatever is read off them.

    The bounds, here and below, hold for anything read from disk; they stop a hostile file before memory is
    asked for.
    """

    cell: CellName
    cell_options: dict[str, Option] = field(default_factory=dict)
    """Keyword arguments of the cell beyond its sizes, such as `{"reset_gate": "before"}` for a GRU."""
    vocab_size: VocabSize
    """Symbols that are read."""
    hidden_size: Width
    num_layers: Annotated[int, Meta(ge=1, le=64)]
    embedding_size: EmbeddingSize = 0
    """Of the trained vector that is read for each symbol; 0 reads one-hot vectors."""
    input_depth: Depth = 1
    transition_depth: Depth = 1
    output_depth: Depth = 1
    initial_state: InitialState = "zero"


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(LayersConfig):
    """What generates a sequence of symbols, perhaps given a vector and perhaps attending to a memory."""

    context_size: VectorSize = 0
    """Of the vector; 0 for none."""
    context_mode: ContextMode = "both"
    context_readout: bool = False
    """Whether the readout sees the vector beside the last layer's output."""
    attention: AttentionName | None = None
    memory_size: VectorSize = 0
    """Of each vector of the memory."""
    stop: Annotated[tuple[StopName, ...], Meta(min_length=1, max_length=len(STOP_NAMES))]
    length_scale: Positive = 1.0
    """Mean length of the training sequences, in characters: the scale of the length distribution's tail."""
    training_chars: Annotated[int, Meta(ge=1)]
    """Characters in the training split; an unseen character costs ln(training_chars + 1) nats."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What a checkpoint of any task says first of itself."""

    model_type: Literal["charrnn"] = "charrnn"
    format_version: Annotated[int, Meta(ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    task: TaskName


@dataclass(frozen=True, kw_only=True)
class ModelConfig(CheckpointConfig, GeneratorConfig):
    """A language model's shape, and what is needed to read text as it was trained to."""

    task: Literal["generate"] = "generate"
    columns: tuple[Column, ...] = ()
    """What the text is conditioned on; `context_size` is their size."""
    text_column: Annotated[str, Meta(max_length=1000)] | None = None
    """Where the text stands in a table; None where the corpus is plain text."""
    split: SplitName
    order: OrderName
    separator: Annotated[str, Meta(max_length=8)] = "\n"
    """What stood between the sequences of the corpus, and stands between samples."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(LayersConfig):
    """What reads a whole sequence."""

    direction: Direction = "both"
    language_model: bool = False
    """Whether its first layer has a readout of its own, which predicts the input's symbols in training."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(CheckpointConfig):
    """One output for an input: a label or a number. Inputs are read in Unicode form C."""

    task: Literal["classify"] = "classify"
    text_column: Annotated[str, Meta(max_length=1000)]
    source_sep: Annotated[str, Meta(max_length=8)] = ""
    """What stands between the symbols of an input; nothing where each character is one."""
    label: Column
    """What is predicted: its categories, or a number's mean and standard deviation in training."""
    encoder: EncoderConfig
    pooling: Pooling = "last"


@dataclass(frozen=True, kw_only=True)
class TreeConfig(CheckpointConfig):
    """A label or a number for a tree, or for each of its nodes. Expressions are read in Unicode form C."""

    task: Literal["tree"] = "tree"
    text_column: Annotated[str, Meta(max_length=1000)]
    node_labels: bool = False
    """Whether the labels stand in the expressions, at every node, and not in a column."""
    label: Column
    """What is predicted: its categories, or a number's mean and standard deviation in training."""
    vocab_size: VocabSize
    """Symbols that leaves are made of."""
    composition: CompositionName
    hidden_size: Width
    encoder: EncoderConfig | None = None
    """What reads a leaf character by character; None where a leaf is one symbol."""


@dataclass(frozen=True, kw_only=True)
class PairConfig(CheckpointConfig):
    """A sequence for a sequence. Inputs and outputs are read in Unicode form C."""

    source_column: Annotated[str, Meta(max_length=1000)]
    target_column: Annotated[str, Meta(max_length=1000)]
    source_sep: Annotated[str, Meta(max_length=8)] = ""
    target_sep: Annotated[str, Meta(max_length=8)] = ""
    encoder: EncoderConfig


@dataclass(frozen=True, kw_only=True)
class TaggerConfig(PairConfig):
    """A symbol for each symbol of an input."""

    task: Literal["tag"] = "tag"
    num_tags: VocabSize
    """Symbols that are written."""
    training_chars: Annotated[int, Meta(ge=1)]
    """Symbols in the training split; an unseen one that was to be written costs ln(training_chars + 1) nats."""
    decoder: GeneratorConfig | None = None
    """What writes them where each depends on those before it; None where they are independent given the input."""


@dataclass(frozen=True, kw_only=True)
class TransducerConfig(PairConfig):
    """A sequence of any length for a sequence."""

    task: Literal["transduce"] = "transduce"
    columns: tuple[Column, ...] = ()
    """Columns that the output is conditioned on beside the input."""
    decoder: GeneratorConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run as it was asked for. `None` leaves the choice to charrnn, which stores what it chose."""

    corpus: tuple[str, ...]
    valid: str | None = None
    """Validation text as given, instead of a part of the corpus."""
    encoding: str = "utf-8"
    split: SplitName | Literal["auto"] = "auto"
    order: OrderName | Literal["auto"] = "auto"
    valid_fraction: Fraction | None = None
    test_fraction: Fraction | None = None
    hold_out: HoldOut = "auto"

    task: TaskName = "generate"
    label_column: str | None = None
    """Column of what is to be predicted, perhaps with `:number` or `:category`."""
    source_column: str | None = None
    target_column: str | None = None
    source_sep: str = ""
    """What stands between the symbols of an input; nothing where each character is one."""
    target_sep: str = ""
    attention: Literal["additive", "dot", "none"] = "additive"
    direction: Direction = "both"
    pooling: Pooling = "last"
    composition: CompositionName = "tree_lstm"
    leaves: Leaves = "symbols"
    node_labels: bool = False
    """Whether every bracket of an expression begins with its label."""
    text_column: str | None = None
    """Column of a table that holds the text: its name, or its number where the table has no header."""
    context: tuple[str, ...] = ()
    """Columns of a table that the model is conditioned on, each perhaps with `:number` or `:category`."""
    context_mode: ContextMode = "both"

    cell: CellName = "lstm"
    hidden_size: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    num_layers: Annotated[int, Meta(ge=1, le=64)] | None = None
    embedding_size: EmbeddingSize | None = None
    """Of the trained vector that is read for each symbol; 0 reads one-hot vectors."""
    input_depth: Depth = 1
    transition_depth: Depth = 1
    output_depth: Depth | None = None
    initial_state: InitialState = "zero"
    # What only some cells have. Fields of the same names are those cells' options; None is the cell's default.
    forget_bias: float | None = None
    memory_span: Annotated[int, Meta(ge=0)] | None = None
    """Characters that the longest memories last at first; 0 for one forget bias in all units."""
    reset_gate: Literal["after", "before"] | None = None
    leak_alpha: str | None = None
    spectral_radius: Annotated[float, Meta(ge=0)] | None = None
    input_scaling: Annotated[float, Meta(ge=0)] | None = None
    skip_delay: str | None = None
    remove_short: bool | None = None
    feedback: Literal["target", "output"] | None = None
    delay_levels: int | None = None
    dropout: Fraction | None = None
    weight_dropout: Fraction | None = None
    """Share of the hidden-to-hidden weights that is dropped in each training window."""
    symbol_dropout: Fraction | None = None
    """Share of the symbols of inputs that are read as unknown in training."""
    lm_weight: Annotated[float, Meta(ge=0)] | None = None
    """What predicting an input's own symbols counts for at the beginning of training; it wanes to nothing."""
    washout: Annotated[int, Meta(ge=0)] = 0
    """Characters after an initial state that are read in training and not fitted."""
    scheduled_sampling: Fraction = 0.0
    """Share of the characters read in training, at its end, that the model draws itself."""
    stop: tuple[StopName, ...] = ("eos",)

    minutes: Positive | None = None
    epochs: Positive | None = None
    steps: Annotated[int, Meta(ge=1)] | None = None
    batch_size: Annotated[int, Meta(ge=1)] | None = None
    bptt_steps: Annotated[int, Meta(ge=1)] | None = None
    learning_rate: Positive | None = None
    optimizer: OptimizerName | None = None
    precision: Precision | None = None
    """Of the matrix products in training; parameters, and whatever is scored, are of float32."""
    weight_decay: Annotated[float, Meta(ge=0)] | None = None
    grad_clip: Positive = 1.0
    eval_every: Annotated[int, Meta(ge=1)] | None = None
    save_every: Annotated[int, Meta(ge=1)] | None = None
    keep: Annotated[int, Meta(ge=1)] = 2
    patience: Annotated[int, Meta(ge=1)] | None = None
    """Stop after this many validations in a row without a better one."""

    seed: int | None = None
    threads: Annotated[int, Meta(ge=1)] | None = None
    device: str = "auto"
    init_from: str | None = None

    @property
    def has_output_edges(self) -> bool:
        """Whether a tagger's outputs depend on those before them; output_recurrent's own `feedback` is another."""
        return self.task == "tag" and self.feedback is not None and self.cell != "output_recurrent"


@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(TrainConfig):
    """A configuration with every choice made but the number of steps that a budget in minutes has yet to find."""

    split: SplitName
    order: OrderName
    hidden_size: Annotated[int, Meta(ge=1, le=65_536)]
    num_layers: Annotated[int, Meta(ge=1, le=64)]
    embedding_size: EmbeddingSize = 0
    output_depth: Depth
    dropout: Fraction
    weight_dropout: Fraction
    symbol_dropout: Fraction = 0.0
    lm_weight: Annotated[float, Meta(ge=0)] = 0.0
    batch_size: Annotated[int, Meta(ge=1)]
    bptt_steps: Annotated[int, Meta(ge=1)]
    learning_rate: Positive
    optimizer: OptimizerName = "adam"
    precision: Precision = "float32"
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    seed: int
    threads: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What `run.json` says of a run: enough to know what it was and to read its corpus again."""

    name: str
    created: str
    """UTC, ISO 8601."""
    directory: str
    """Where the command was given: the corpus's paths are relative to it."""
    argv: tuple[str, ...]
    config: ResolvedConfig
    versions: dict[str, str]
    corpus_files: tuple[str, ...]
    corpus_sha256: str
    corpus_bytes: int
    num_parameters: int
    parent: "RunRecord | None" = None
    """The run whose weights this one began with, where rows that it holds out had to be kept out of training."""
