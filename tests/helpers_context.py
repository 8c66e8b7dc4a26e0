"""Small models of texts that are given a vector."""

from typing import Any

from charrnn.corpus.steps import Steps
from charrnn.models.language_model import GeneratorConfig, LanguageModel

TEXTS = ["abba", "", "b"]
X = 2
MODES = ("add", "init", "both")


def conditioned(cell: str, options: dict[str, Any], mode: str, **settings: Any) -> LanguageModel:
    depths = {name: value for name, value in options.items() if name.endswith("_depth")}
    return LanguageModel(
        GeneratorConfig(
            cell=cell,  # type: ignore[arg-type]
            cell_options={name: value for name, value in options.items() if name not in depths},
            **depths,
            **{"vocab_size": 2, "hidden_size": 3, "num_layers": 2, "stop": ("eos", "length"), **settings},
            training_chars=9,
            context_size=X,
            context_mode=mode,  # type: ignore[arg-type]
        )
    )


def nll(model: LanguageModel, params: Any, steps: Steps, memory: Any = None) -> Any:
    """(B,)"""
    state = model.initial_state(params, steps.inputs.shape[1], steps.context)
    hidden, _ = model.read(params, steps, state, memory=memory)
    return model.nll(params, hidden, steps).sum(0)


def stateless(cell: str, options: dict[str, Any], mode: str) -> bool:
    return mode != "add" and cell == "output_recurrent" and options.get("feedback") != "output"
