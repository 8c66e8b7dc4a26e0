"""The names and settings that every layer shares. Imports nothing heavy.

`TrainConfig` is what a person asks for: its fields are the flags of `charrnn train`, the keys of a
`--config` file, the keywords of `charrnn.train` and the `config` of `run.json`. What a checkpoint must say of
itself to be rebuilt, the `config.json` beside its weights, is beside each model.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_type_hints
from unicodedata import normalize as unicode_form

from msgspec import Meta

from charrnn.errors import UsageError

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
SplitName = Literal["line", "paragraph", "file", "mark"]
_HARMLESS = r"\A[^\x00-\x08\x0b\x0e-\x1b\x7f-\x9f\ud800-\udfff]+\Z"
"""No character that begins a command to a terminal."""
Mark = Annotated[str, Meta(min_length=1, max_length=400, pattern=_HARMLESS)]
Separator = Annotated[str, Meta(min_length=1, max_length=1000, pattern=_HARMLESS)]
"""What can be between the sequences of a corpus: a mark, whose line ends may be CRLF, or line ends."""
Normalize = Literal["none", "nfc"]
"""The Unicode form that text is brought into."""
OrderName = Literal["independent", "ordered"]
HoldOut = Literal["auto", "values", "rows"]
"""Whether all copies of a text are held out together, or rows one by one."""
EncodingErrors = Literal["strict", "replace", "skip"]
"""What becomes of bytes that are not text in an encoding: an error, U+FFFD, or nothing."""
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
ClassWeights = Literal["none", "balanced"]
Prior = Literal["training", "uniform"]
"""How frequent the labels are taken to be, before the text is read."""

CELL_NAMES: tuple[str, ...] = get_args(CellName)
STOP_NAMES: tuple[str, ...] = get_args(StopName)
SPLIT_NAMES: tuple[str, ...] = tuple(name for name in get_args(SplitName) if name != "mark")
"""Those that need no mark."""

ENDING_STOPS: tuple[StopName, ...] = tuple(name for name in get_args(StopName) if name != "none")
"""What `--stop all` means, in the order in which `sample` and `score` prefer them."""

MAX_SEED = 2**63 - 1
"""TOML and JSON readers agree on integers up to here."""

Fraction = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
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


def ordered_stops(given: Sequence[str]) -> tuple[str, ...]:
    """What the values of `--stop` mean, each once and in order of preference; all: every way that ends texts.

    Raises UsageError for none beside another.
    """
    if "none" in given and len(given) > 1:
        raise UsageError("--stop none cannot be combined: a model without an end has no other way to end")
    if "all" in given:
        given = (*given, *ENDING_STOPS)
    known = [stop for stop in ENDING_STOPS if stop in given]
    return (*known, *(stop for stop in given if stop not in (*ENDING_STOPS, "all")))


# What a person asks for --------------------------------------------------------------------------------------

MODEL, ONE_CELL, STOPPING, TEXT = "Model", "Model: what only some cells have", "How texts end", "Text"
PAIRS = "A sequence for a sequence (--task tag, transduce)"
LABELLED = "A label or a number (--task classify, tree)"
READ = "Inputs that are read whole (--task classify, tag, transduce, tree)"
TREES = "A label or a number for each tree (--task tree)"
GIVEN = "Tables (.tsv, .csv): the text, and columns that it is conditioned on"
BUDGET, OPTIMISATION, RUN = "Budget (one of them; by default a few minutes)", "Optimisation", "Run"
HEADINGS = (BUDGET, MODEL, ONE_CELL, STOPPING, TEXT, LABELLED, TREES, READ, PAIRS, GIVEN, OPTIMISATION, RUN)
"""Of settings, in the order in which the help shows them."""

BUDGETS = ("minutes", "epochs", "steps")


def budget_of(config: "TrainConfig | PastBudget") -> tuple[str, float]:
    """The unit of a budget and how many there are. Raises ValueError for none and for several."""
    found = [(name, value) for name in BUDGETS if (value := getattr(config, name)) is not None]
    if len(found) != 1:
        raise ValueError("has not one budget: minutes, epochs or steps")
    return found[0]


@dataclass(frozen=True)
class Setting:
    """What there is to know of a field of `TrainConfig` beside its type, bounds and default."""

    heading: str
    """The help groups settings by it."""
    help: str
    unset: str | None = "fits the corpus"
    """What None comes to; None where that goes without saying."""
    metavar: str | None = None
    tasks: tuple[TaskName, ...] = get_args(TaskName)
    """Those that have it."""
    common: bool = False
    """Whether the short help shows it."""


def flag(name: str) -> str:
    """`--hidden-size` of a field's name."""
    return "--" + name.replace("_", "-")


class Encoding(str):
    """How bytes become text: the name of an encoding, what becomes of bytes that are not text and a form."""

    errors: EncodingErrors
    normalize: Normalize

    def __new__(
        cls, name: str, errors: EncodingErrors | None = None, normalize: Normalize | None = None
    ) -> "Encoding":
        """What is left out is as in `name` if that says it, else strict and none."""
        found = super().__new__(cls, name)
        given = name if isinstance(name, Encoding) else None
        found.errors = errors or (given.errors if given else "strict")
        found.normalize = normalize or (given.normalize if given else "none")
        return found

    def in_form(self, text: str) -> str:
        """The text in the form."""
        return unicode_form("NFC", text) if self.normalize == "nfc" else text


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run as it was asked for. `None` leaves the choice to charrnn, which stores what it chose."""

    corpus: tuple[str, ...]
    valid: Annotated[
        str | None, Setting(TEXT, "Validation text, instead of a part of the corpus.", unset=None, metavar="FILE")
    ] = None
    encoding: Annotated[str, Setting(TEXT, "Text encoding of the files.", metavar="NAME")] = "utf-8"
    errors: Annotated[
        EncodingErrors,
        Setting(TEXT, "Bytes that are not text: refuse them, put U+FFFD in their place, or skip them."),
    ] = "strict"
    normalize: Annotated[
        Normalize, Setting(TEXT, "nfc: text is read in Unicode form C, where é is one character, not two.")
    ] = "none"
    split: Annotated[
        SplitName | Literal["auto"],
        Setting(TEXT, "What a sequence is; auto looks at the text and says what it chose.", common=True),
    ] = "auto"
    split_on: Annotated[
        Mark | None,
        Setting(
            TEXT,
            "What stands between sequences, such as %; if it is a whole line anywhere, only whole lines count.",
            unset=None,
            metavar="TEXT",
            tasks=("generate",),
        ),
    ] = None
    order: Annotated[
        OrderName | Literal["auto"],
        Setting(TEXT, "Whether sequences are independent, like names, or ordered, like a book."),
    ] = "auto"
    valid_fraction: Annotated[
        Fraction | None,
        Setting(TEXT, "Share of the corpus for validation.", unset="5 %, at most 500,000 characters"),
    ] = None
    test_fraction: Annotated[
        Fraction | None,
        Setting(TEXT, "Share of the corpus for `charrnn eval`.", unset="5 %, at most 500,000 characters"),
    ] = None
    hold_out: Annotated[
        HoldOut,
        Setting(TEXT, "Hold out all copies of a text (values), or single rows; auto: rows where many repeat."),
    ] = "auto"

    task: Annotated[
        TaskName,
        Setting(
            MODEL,
            "Generate text, classify it, tag each symbol, transduce it into other text, or read trees.",
            common=True,
        ),
    ] = "generate"
    label_column: Annotated[
        str | None,
        Setting(
            LABELLED,
            "Column of what is predicted (NAME:category, NAME:number decide).",
            unset="the first of two",
            metavar="NAME",
            tasks=("classify", "tree"),
            common=True,
        ),
    ] = None
    class_weights: Annotated[
        ClassWeights,
        Setting(
            LABELLED,
            "balanced: in training all labels count the same, however rare.",
            tasks=("classify", "tree"),
        ),
    ] = "none"
    source_column: Annotated[
        str | None,
        Setting(PAIRS, "Column of the inputs.", unset="the first", metavar="NAME", tasks=("tag", "transduce")),
    ] = None
    target_column: Annotated[
        str | None,
        Setting(PAIRS, "Column of the outputs.", unset="the second", metavar="NAME", tasks=("tag", "transduce")),
    ] = None
    source_sep: Annotated[
        str,
        Setting(
            READ,
            "What separates the symbols of an input.",
            metavar="TEXT",
            tasks=("classify", "tag", "transduce"),
        ),
    ] = ""
    target_sep: Annotated[
        str,
        Setting(
            PAIRS,
            "What separates the symbols of an output, such as a space.",
            metavar="TEXT",
            tasks=("tag", "transduce"),
        ),
    ] = ""
    attention: Annotated[
        Literal["additive", "dot", "none"],
        Setting(PAIRS, "Of transduce: how the decoder looks back at the input.", tasks=("transduce",)),
    ] = "additive"
    direction: Annotated[
        Direction, Setting(READ, "How an input is read.", tasks=("classify", "tag", "transduce", "tree"))
    ] = "both"
    pooling: Annotated[
        Pooling,
        Setting(
            LABELLED,
            "Of classify: the last output of each direction, or the mean or maximum of all.",
            tasks=("classify",),
        ),
    ] = "last"
    composition: Annotated[
        CompositionName,
        Setting(
            TREES,
            "What makes a node of its children: of two (tanh, tree_lstm), of any number (child_sum).",
            tasks=("tree",),
        ),
    ] = "tree_lstm"
    leaves: Annotated[
        Leaves,
        Setting(TREES, "A leaf is one symbol, or --cell reads it character by character.", tasks=("tree",)),
    ] = "symbols"
    node_labels: Annotated[
        bool,
        Setting(
            TREES, "Each bracket begins with the label of its node; there is no column of labels.", tasks=("tree",)
        ),
    ] = False
    text_column: Annotated[
        str | None,
        Setting(
            GIVEN,
            "Column of the text, by name, or by number without a header.",
            unset="the only other",
            metavar="NAME",
            tasks=("generate", "classify", "tree"),
            common=True,
        ),
    ] = None
    context: Annotated[
        tuple[str, ...],
        Setting(
            GIVEN,
            "A column that the text is conditioned on, a category or a number (NAME:category, NAME:number "
            "decide); repeat it for several.",
            metavar="NAME",
            tasks=("generate", "transduce"),
            common=True,
        ),
    ] = ()
    context_mode: Annotated[
        ContextMode,
        Setting(
            GIVEN, "Columns act at every step, on the initial state, or both.", tasks=("generate", "transduce")
        ),
    ] = "both"

    cell: Annotated[
        CellName, Setting(MODEL, "Recurrent cell; `charrnn cells` lists them.", metavar="NAME", common=True)
    ] = "lstm"
    hidden_size: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)] | None, Setting(MODEL, "Units of a layer.", common=True)
    ] = None
    num_layers: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None, Setting(MODEL, "Layers, one above the other.", common=True)
    ] = None
    embedding_size: Annotated[
        EmbeddingSize | None,
        Setting(MODEL, "Size of each symbol's trained vector; 0: one-hot vectors."),
    ] = None
    input_depth: Annotated[
        Depth, Setting(MODEL, "Layers between the characters and the units, the units' own included.")
    ] = 1
    transition_depth: Annotated[Depth, Setting(MODEL, "Layers between a step's units and the next step's.")] = 1
    output_depth: Annotated[
        Depth | None,
        Setting(
            MODEL,
            "Layers between the units and the outputs, the outputs' own included.",
            unset="1; min_gru, min_lstm 2",
        ),
    ] = None
    initial_state: Annotated[InitialState, Setting(MODEL, "State before the first character.")] = "zero"
    # What only some cells have. Fields of the same names are those cells' options; None is the cell's default.
    forget_bias: Annotated[
        float | None, Setting(ONE_CELL, "Of LSTMs: the forget gate's first bias.", unset="1")
    ] = None
    memory_span: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Setting(ONE_CELL, "Of lstm: steps that first memories last, up to this; 0: one bias."),
    ] = None
    reset_gate: Annotated[
        Literal["after", "before"] | None,
        Setting(ONE_CELL, "Of gru: it acts after or before the matrix product.", unset="after"),
    ] = None
    leak_alpha: Annotated[
        str | None,
        Setting(
            ONE_CELL,
            "Of leaky, echo_state: the memory's share, such as 0.9, 0:0.9 or learned.",
            unset="0:0.5; echo_state 0",
            metavar="X",
        ),
    ] = None
    spectral_radius: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Setting(ONE_CELL, "Of echo_state: the largest eigenvalue of its fixed recurrent weights.", unset="0.9"),
    ] = None
    input_scaling: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Setting(ONE_CELL, "Of echo_state: bound of its fixed input weights and biases.", unset="1"),
    ] = None
    skip_delay: Annotated[
        str | None,
        Setting(
            ONE_CELL, "Of skip: delays of the long connections, such as 5 or 5,20.", unset="5", metavar="N,..."
        ),
    ] = None
    remove_short: Annotated[bool | None, Setting(ONE_CELL, "Of skip: no connection of one step.", unset="no")] = (
        None
    )
    feedback: Annotated[
        Literal["target", "output"] | None,
        Setting(
            ONE_CELL,
            "Of output_recurrent: the true output, or the model's own, is fed back. Of --task tag: each output "
            "depends on those before it.",
            unset="target",
        ),
    ] = None
    delay_levels: Annotated[
        int | None, Setting(ONE_CELL, "Of time_delay: it sees 2 to the power of this many characters.", unset="5")
    ] = None
    dropout: Annotated[
        Fraction | None, Setting(MODEL, "Share of each layer's outputs that is dropped in training.")
    ] = None
    weight_dropout: Annotated[
        Fraction | None,
        Setting(
            MODEL,
            "Share of the recurrent weights that is dropped in training.",
            tasks=("generate", "classify", "tag", "transduce"),
        ),
    ] = None
    symbol_dropout: Annotated[
        Fraction | None,
        Setting(
            READ,
            "Share of an input's symbols that are read as unknown in training.",
            unset="fits the task",
            tasks=("classify", "tag", "transduce", "tree"),
        ),
    ] = None
    lm_weight: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Setting(
            READ,
            "Weight of a language-model loss on the inputs; it fades to 0.",
            unset="fits the task",
            tasks=("classify", "tag", "transduce"),
        ),
    ] = None
    washout: Annotated[
        Annotated[int, Meta(ge=0)],
        Setting(
            OPTIMISATION, "Characters after an initial state that are read and not fitted.", tasks=("generate",)
        ),
    ] = 0
    scheduled_sampling: Annotated[
        Fraction,
        Setting(
            OPTIMISATION,
            "Share of the characters read that the model draws itself, reached at the end.",
            tasks=("generate",),
        ),
    ] = 0.0
    stop: Annotated[
        tuple[StopName, ...],
        Setting(
            STOPPING,
            "A symbol that ends the text (eos), an output that may halt it, or its length drawn first; repeat it, "
            "or say all, for a model with several; none for an endless stream.",
            tasks=("generate", "transduce"),
            common=True,
        ),
    ] = ("eos",)

    minutes: Annotated[
        Positive | None, Setting(BUDGET, "Wall time from the first to the last step.", unset=None, common=True)
    ] = None
    epochs: Annotated[
        Positive | None,
        Setting(BUDGET, "Passes over the training text, such as 0.5.", unset=None, common=True),
    ] = None
    steps: Annotated[
        Annotated[int, Meta(ge=1)] | None, Setting(BUDGET, "Optimisation steps.", unset=None, common=True)
    ] = None
    batch_size: Annotated[
        Annotated[int, Meta(ge=1)] | None, Setting(OPTIMISATION, "Sequences, or lanes of a text, side by side.")
    ] = None
    bptt_steps: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Setting(OPTIMISATION, "Characters between truncations of the gradient.", tasks=("generate",)),
    ] = None
    learning_rate: Annotated[Positive | None, Setting(OPTIMISATION, "Peak rate; it falls over the budget.")] = None
    optimizer: Annotated[
        OptimizerName | None,
        Setting(OPTIMISATION, "Adam, or Muon for the matrices of cells and Adam for the rest."),
    ] = None
    precision: Annotated[
        Precision | None,
        Setting(OPTIMISATION, "Number type of the matrix products in training; bfloat16 if the processor has it."),
    ] = None
    weight_decay: Annotated[
        Annotated[float, Meta(ge=0)] | None, Setting(OPTIMISATION, "Decoupled weight decay.")
    ] = None
    grad_clip: Annotated[Positive, Setting(OPTIMISATION, "Largest norm of a gradient.")] = 1.0
    eval_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Setting(OPTIMISATION, "Steps between validations.", unset="ten times a run"),
    ] = None
    save_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Setting(RUN, "Steps between saves, beside the saves at validations.", unset="once a minute"),
    ] = None
    keep: Annotated[Annotated[int, Meta(ge=1)], Setting(RUN, "Checkpoints to keep, beside the best.")] = 2
    patience: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Setting(OPTIMISATION, "Stop after this many validations without a gain.", unset="never"),
    ] = None

    seed: Annotated[
        int | None,
        Setting(RUN, "Seed of all random choices.", unset="random", common=True),
    ] = None
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None, Setting(RUN, "CPU threads.", unset="one a core, at most 4", common=True)
    ] = None
    device: Annotated[str, Setting(RUN, "cpu, cuda or auto.", metavar="NAME")] = "auto"
    init_from: Annotated[
        str | None,
        Setting(
            RUN,
            "Begin with the weights, shape and characters of another run.",
            unset=None,
            metavar="RUN",
            tasks=("generate",),
        ),
    ] = None

    def check(self) -> None:
        """Raises UsageError for what cannot be asked for together, and for what the task does not have."""
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"seed = {self.seed}: expected 0 to {MAX_SEED}")
        if not self.stop:
            raise UsageError(f"stop is empty: expected one or more of {', '.join(STOP_NAMES)}")
        if len(ordered_stops(self.stop)) < len(self.stop):
            raise UsageError("--stop names a mechanism twice")
        if sum(getattr(self, budget) is not None for budget in BUDGETS) > 1:
            raise UsageError("give one budget: --minutes, --epochs or --steps")
        if self.split == "mark" and self.split_on is None:
            raise UsageError("--split mark needs a mark: name it with --split-on")
        if self.split_on is not None and self.split not in ("auto", "mark"):
            raise UsageError(f"--split-on and --split {self.split} are two ways to split a text; give one of them")
        for name, setting in settings().items():
            value, default = getattr(self, name), TrainConfig.__dataclass_fields__[name].default
            if value and value != default and self.task not in setting.tasks:
                owners = ", ".join(setting.tasks)
                raise UsageError(f"--task {self.task} has no {flag(name)}; it is an option of {owners}")

    @property
    def text_encoding(self) -> Encoding:
        """How the files are decoded."""
        return Encoding(self.encoding, self.errors, self.normalize)

    @property
    def has_output_edges(self) -> bool:
        """Whether a tagger's outputs depend on those before them; output_recurrent's own `feedback` is another."""
        return self.task == "tag" and self.feedback is not None and self.cell != "output_recurrent"


@cache
def settings() -> dict[str, Setting]:
    """What is known of each field of `TrainConfig` that can be set."""
    return {
        name: next(item for item in hint.__metadata__ if isinstance(item, Setting))
        for name, hint in setting_types().items()
    }


@cache
def setting_types() -> dict[str, Any]:
    """The annotation of each of them."""
    hints = get_type_hints(TrainConfig, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "corpus"}


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
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)]
    threads: Annotated[int, Meta(ge=1, le=65_536)]

    def __post_init__(self) -> None:
        budget_of(self)
        # A field that a stored run leaves out would get the None that means "to be chosen" in TrainConfig.
        for name in ResolvedConfig.__annotations__:
            if getattr(self, name) is None:
                raise ValueError(f"has no {name}")


@dataclass(frozen=True, kw_only=True)
class PastBudget:
    """A budget that a run had until it was given another one."""

    until: Annotated[int, Meta(ge=1, le=2**53)]
    """The steps that were made with it."""
    planned: Annotated[int, Meta(ge=1, le=2**53)]
    """The steps of the whole run, as they were planned for the next budget."""
    minutes: Positive | None = None
    epochs: Positive | None = None
    steps: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        budget_of(self)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What `run.json` says of a run: enough to know what it was and to read its corpus again."""

    name: str
    created: Annotated[datetime.datetime, Meta(tz=True)]
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
    parent_symbols: Annotated[str, Meta(max_length=0x110000)] = ""
    """The characters of the model that this one began with, which are characters of this one too."""
    past_budgets: Annotated[tuple[PastBudget, ...], Meta(max_length=1000)] = ()
    """The earliest first."""
