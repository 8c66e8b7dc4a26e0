"""How a change in a network's state propagates: gradients against lag, the stretch of a step, Lyapunov exponents.

One report for a language model on excerpts of a text, layer by layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.arrays import Params
from charrnn.cells.cell import state_arrays
from charrnn.models.language_model import LanguageModel
from charrnn.models.layers import initial_shapes
from charrnn.study.excerpts import Excerpts
from charrnn.study.gradients import log_gradient_norms
from charrnn.study.jacobians import growth, step_norms
from charrnn.study.spectrum import Spectrum, meaning_of_spectrum, recurrent_matrices, spectrum
from charrnn.study.trajectory import follow

Numbers = NDArray[np.float64]
Notify = Callable[[str, float], object]


@dataclass(frozen=True)
class Decay:
    """The norm of a Jacobian against the lag, τ = 1 … T."""

    norms: tuple[float, ...]
    """The mean over the rows."""
    log_norms: tuple[float, ...]
    """The mean over the rows of the logarithm, so that no row dominates; −∞ if the Jacobian of a row is 0."""
    rate: float | None
    """Nats per step: the slope of `log_norms` over the longer half of the lags; None if undefined, see `slope`."""


@dataclass(frozen=True)
class Stretch:
    """The largest singular value of ∂s(t)/∂s(t−1) along the text."""

    mean: float
    least: float
    most: float
    each: tuple[tuple[float, ...], ...]
    """One entry for each step, with one value for each row."""


@dataclass(frozen=True)
class Layer:
    layer: int
    """Counted from 1, the lowest."""
    state_size: int
    own: Decay
    """∂h_l(T)/∂s_l(T−τ), the layer's output with respect to its own state."""
    top: Decay
    """∂h_L(T)/∂s_l(T−τ), the top layer's output; equal to `own` in the top layer."""
    matrices: tuple[Spectrum, ...]
    note: str
    """What the radii of `matrices` mean."""
    stretch: Stretch
    lyapunov: float
    """Nats per step: ln σ_max(∂s_l(T)/∂s_l(0)) / T, the mean over the rows; −∞ if the Jacobian of a row is 0."""
    lyapunov_rows: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ThroughTime:
    """The fields of `charrnn study gradients --json`."""

    schema: Literal["charrnn.study.gradients/1"] = "charrnn.study.gradients/1"
    run: str | None
    """None for an untrained model."""
    step: int | None
    model: str
    """Cell, layers and units, as `lstm 2 x 384`."""
    data: str
    """The split or the file that was read."""
    rows: int
    length: int
    """T, the longest lag."""
    warm_up: int
    """Steps that each row reads before the measured ones."""
    layers: tuple[Layer, ...]


def through_time(
    model: LanguageModel,
    params: Params,
    text: Excerpts,
    *,
    data: str,
    run: str | None = None,
    step: int | None = None,
    notify: Notify = lambda _what, _share: None,
) -> ThroughTime:
    """Measures a model on excerpts, in the number type of the NumPy parameters.

    Raises ValueError for a model that carries no state from step to step.
    """
    c = model.config
    require_state(model)
    paths = follow(model, params, text.steps, text.warm_up)
    L = len(paths.layers)
    sizes = [cell.output_size for cell in model.layers]
    top = log_gradient_norms(paths.whole, sizes[-1], lambda share: notify("gradients of the top layer", share))
    arrays = [len(state_arrays(path.states[0])) for path in paths.layers]
    by_layer = np.split(top, np.cumsum(arrays)[:-1], axis=-1)
    layers = []
    for number, (path, cell, from_top) in enumerate(
        zip(paths.layers, model.layers, by_layer, strict=True), start=1
    ):

        def tell(what: str, number: int = number) -> Callable[[float], object]:
            return lambda share: notify(f"{what} of layer {number} of {L}", share)

        own = from_top if number == L else log_gradient_norms(path, sizes[number - 1], tell("gradients"))
        stretches = step_norms(path, tell("singular values"))
        exponents = growth(path, tell("Lyapunov exponent")) / path.lags
        tell("eigenvalues")(0.0)
        weights = model.stack.params(model.joined(params))[number - 1]
        layers.append(
            Layer(
                layer=number,
                state_size=path.state_size,
                own=decay(own),
                top=decay(from_top),
                matrices=tuple(spectrum(name, W) for name, W in recurrent_matrices(cell, weights).items()),
                note=meaning_of_spectrum(cell),
                stretch=Stretch(
                    mean=float(stretches.mean()),
                    least=float(stretches.min()),
                    most=float(stretches.max()),
                    each=tuple(tuple(map(float, row)) for row in stretches),
                ),
                lyapunov=float(exponents.mean()),
                lyapunov_rows=tuple(map(float, exponents)),
            )
        )
    return ThroughTime(
        run=run,
        step=step,
        model=f"{c.cell} {c.num_layers} x {c.hidden_size}",
        data=data,
        rows=paths.whole.num_rows,
        length=text.length,
        warm_up=text.warm_up,
        layers=tuple(layers),
    )


def require_state(model: LanguageModel) -> None:
    """Raises ValueError for a model with a layer that carries no state from step to step."""
    if not all(initial_shapes(cell) for cell in model.layers):
        raise ValueError(
            f"the cell {model.config.cell} carries no state from step to step here, so there are no gradients "
            "through time (output_recurrent has one with --feedback output)"
        )


def decay(logs: Numbers) -> Decay:
    """The decay, from ln ‖∂h/∂a‖ for each lag, row and array of the state, (T, B, A)."""
    whole = 0.5 * np.logaddexp.reduce(2.0 * logs, axis=-1)
    with np.errstate(over="ignore"):
        norms = np.exp(np.logaddexp.reduce(whole, axis=-1) - np.log(whole.shape[1]))
    means = whole.mean(axis=-1)
    return Decay(tuple(map(float, norms)), tuple(map(float, means)), slope(means))


def slope(values: Numbers) -> float | None:
    """The least-squares slope of the second half of values (T,); None if it has fewer than two or a −∞."""
    half = values[len(values) // 2 :]
    if len(half) < 2 or not np.isfinite(half).all():
        return None
    return float(np.polyfit(np.arange(len(half)), half, 1)[0])
