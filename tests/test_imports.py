"""The layers of the package, read from its imports: they only ever point down."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

import charrnn
from charrnn.cells import CELLS
from charrnn.config import CELL_NAMES, TaskName
from charrnn.tasks.task import task

ROOT = Path(charrnn.__file__).parent
MODULES = {
    ".".join(["charrnn", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

LAYERS = (
    "cli",
    "api",
    "study",
    "tasks",
    "metrics",
    "training",
    "sampling",
    "models",
    "cells",
    "checkpoint",
    "corpus",
    "words",
    "config",
    "errors",
)
"""From the top to the bottom; a module imports from its own layer and from those below."""

DEPENDENCIES = {"click", "msgspec", "numpy", "rich", "safetensors", "torch"}
EXTRAS = {"matplotlib"}
"""Imported only where they are used, with an error that names them where they are missing."""
TASK_NAMES = get_args(TaskName)
ON_PAIRS = {"tag", "transduce"}
"""Their data is `charrnn.tasks.rows.pairs`."""
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

TORCH_ANYWHERE = {"study", "training"}
TORCH_TO_TRAIN = {"run", "train", "learner", "job", "trial", "scheduled_sampling"}
"""Files of tasks, by their names."""
TORCH_ON_USE = {"cells", "models"}
"""Only inside functions, so that importing the file imports no torch, or for the type checker."""


class Imported(NamedTuple):
    module: str
    on_use: bool
    """Inside a function, or read by the type checker alone."""


def imports(source: str) -> Iterator[Imported]:
    def visit(node: ast.AST, on_use: bool) -> Iterator[Imported]:
        if isinstance(node, ast.Import):
            yield from (Imported(alias.name, on_use) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Imported(inner if inner in MODULES else str(node.module), on_use)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, on_use)
        else:
            inside = on_use or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    return visit(ast.parse(source), False)


def layer(module: str) -> str:
    """The layer of a module of the package; "" for the package itself and `__main__`."""
    name = module.removeprefix("charrnn").removeprefix(".").split(".")[0]
    return "" if name == "__main__" else name


def may_load_torch(module: str, on_use: bool) -> bool:
    here = layer(module)
    trains = here == "tasks" and module.rpartition(".")[2] in TORCH_TO_TRAIN
    return here in TORCH_ANYWHERE or trains or (here in TORCH_ON_USE and on_use)


def slice_of(module: str) -> str | None:
    """The task that a module belongs to; `rows` is what those on tables share."""
    names = module.split(".")
    return names[2] if names[1:2] == ["tasks"] and len(names) > 2 and names[2] in TASK_NAMES else None


def violations(module: str, source: str) -> list[str]:
    """What a module of the package must not do but does, one line each."""
    here, found = layer(module), []
    for name, on_use in imports(source):
        top = name.split(".")[0]
        if top == "charrnn":
            there = layer(name)
            if module == "charrnn" and not on_use:
                found.append(f"{module} imports {name} at once")
            if here and there and LAYERS.index(there) < LAYERS.index(here):
                found.append(f"{module} imports {name}, which lies above it")
            if slice_of(module) and slice_of(name) not in (None, slice_of(module)):
                found.append(f"{module} imports {name}, which is of another task")
            if here == "tasks" and slice_of(module) is None and slice_of(name):
                found.append(f"{module} imports {name}, but tasks are found by their names")
        elif top in PICKLES:
            found.append(f"{module} imports {name}")
        elif on_use and top in EXTRAS:
            continue
        elif top not in DEPENDENCIES and top not in sys.stdlib_module_names:
            found.append(f"{module} imports {name}, which is no dependency")
        elif top in ("click", "rich") and here != "cli":
            found.append(f"{module} imports {name}, which is for the command line")
        elif "torch" in name.split(".") and not may_load_torch(module, on_use):
            found.append(f"{module} imports {name}")
    for node in ast.walk(ast.parse(source)):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in {f"{library}.{verb}" for library in ("torch", "np", "numpy") for verb in ("load", "save")}:
            found.append(f"{module} calls {called}, which knows pickle")
    return found


TYPING = "from typing import TYPE_CHECKING\n"


def test_every_module_has_a_layer():
    assert len(MODULES) > 40
    assert {layer(module) for module in MODULES} - {""} <= set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert violations(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("charrnn.corpus.readers", "from charrnn.models.language_model import LanguageModel"),
        ("charrnn.corpus.readers", "from charrnn import api"),
        ("charrnn.errors", "import charrnn.config"),
        ("charrnn.cells.lstm", "def f():\n    from charrnn.models.store import load_model"),
        ("charrnn.training.loop", f"{TYPING}if TYPE_CHECKING:\n    import charrnn.tasks.run"),
        ("charrnn", "from charrnn import api"),
        ("charrnn.cells.lstm", "import torch"),
        ("charrnn.cells.lstm", "from torch import nn"),
        ("charrnn.models.store", "try:\n    import torch\nexcept ImportError:\n    pass"),
        ("charrnn.sampling.scoring", "def f():\n    import torch.nn"),
        ("charrnn.checkpoint.tensors", "import safetensors.torch"),
        ("charrnn.metrics.lengths", "import click"),
        ("charrnn.tasks.tag.predict", "import torch"),
        ("charrnn.tasks.tag.predict", "from charrnn.tasks.tree.data import load_trees"),
        ("charrnn.tasks.rows.pairs", "import charrnn.tasks.tag.predict"),
        ("charrnn.tasks.run", "from rich.console import Console"),
        ("charrnn.training.state", "import pickle"),
        ("charrnn.training.state", "import torch\ntorch.load('x')"),
        ("charrnn.corpus.store", "import numpy as np\nnp.load('x', allow_pickle=True)"),
        ("charrnn.metrics.lengths", "import scipy.stats"),
    ],
)
def test_a_violation_is_seen(module, source):
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("charrnn.tasks.run", "import charrnn"),
        ("charrnn.cells.lstm", "def f():\n    from torch import nn"),
        ("charrnn.models.store", f"{TYPING}if TYPE_CHECKING:\n    import torch"),
        ("charrnn", "def __getattr__(name):\n    from charrnn import api"),
        ("charrnn.cli.train", "import click\nfrom charrnn.api import load"),
    ],
)
def test_what_is_allowed_is_no_violation(module, source):
    assert violations(module, source) == []


def test_a_cell_is_registered_under_the_name_of_its_file():
    assert tuple(CELLS) == CELL_NAMES
    for name, cell in CELLS.items():
        assert inspect.getmodule(cell) is sys.modules[f"charrnn.cells.{name}"]


def test_a_task_is_a_folder_with_its_files():
    for name in TASK_NAMES:
        files = {path.stem for path in (ROOT / "tasks" / name).glob("*.py")}
        assert {"data", "train", "predict", "evaluate", "words"} <= files | (
            {"data"} if name in ON_PAIRS else set()
        )
        assert task(name).name == name


def test_what_must_be_set_before_torch_is_loaded_loads_no_torch():
    source = MODULES["charrnn.training.threads"].read_text(encoding="utf-8")
    assert [found.module for found in imports(source)] == ["os"]
