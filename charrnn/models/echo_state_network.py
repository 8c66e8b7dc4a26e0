"""Echo state networks on real-valued signals: a random reservoir and a readout fitted by ridge regression.

The reservoir is the `echo_state` cell, including its parameters; this module only runs it. NumPy, float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.cells.echo_state import EchoState
from charrnn.cells.leaky import LeakyState
from charrnn.cells.unroll import unroll
from charrnn.models.convex_readout import Floats, fit_ridge


@dataclass(frozen=True)
class EchoStateNetwork:
    """h(t) = α h(t−1) + (1 − α) tanh(b + W h(t−1) + U x(t)), y(t) = V z(t) with z(t) = [1, x(t), h(t)].

    x(t): `inputs` reals; h(t): `units` hidden units, H. U, W and b are those of the cell: W is sparse and has the
    `spectral_radius`, U and b are uniform within ± `input_scaling`; scale the signal itself to change its weight
    relative to b. α = `leak_alpha` is the share of h(t−1) that is kept, a number or a range such as "0:0.9"; the
    literature's leak rate is 1 − α. Only V is learned. h(−1) = 0. Raises ValueError.

        wave = np.sin(0.2 * np.arange(1000.0))[:, None]
        fitted = charrnn.EchoStateNetwork(units=100).fit(wave[:-1], wave[1:])
        fitted.generate(50)  # (50, 1), the wave continues

    A driven network forgets its past at radii above 1 too: it continues the Mackey-Glass signal best with 1.25,
    α = 0.5 and ridge = 10⁻¹⁰. Weak inputs keep the units linear, which gives the longest memory.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.8; Jaeger 2001; Jaeger and Haas 2004;
    Lukoševičius 2012.
    """

    units: int
    inputs: int = 1
    spectral_radius: float = 0.9
    input_scaling: float = 1.0
    leak_alpha: float | str = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.units < 1 or self.inputs < 1:
            raise ValueError(f"EchoStateNetwork: expected 1 or more, got {self.units} units, {self.inputs} inputs")
        if self.seed < 0:
            raise ValueError(f"EchoStateNetwork: expected a seed from 0 on, got {self.seed}")
        _ = self.cell

    @cached_property
    def cell(self) -> EchoState:
        return EchoState(
            self.inputs,
            self.units,
            leak_alpha=str(self.leak_alpha),
            spectral_radius=self.spectral_radius,
            input_scaling=self.input_scaling,
        )

    @cached_property
    def params(self) -> Params:
        """U = `weight_ih` (H, I), W = `weight_hh` (H, H) and b = `bias` (H,), drawn by the seed."""
        drawn = self.cell.init(np.random.default_rng(self.seed))
        return {name: array.astype(np.float64) for name, array in drawn.items()}

    @cached_property
    def _sparse_params(self) -> Params:
        return self.cell.compact(self.params)

    def states(self, inputs: npt.ArrayLike, state: npt.ArrayLike | None = None) -> Floats:
        """h(t) (T, H) for x(t) (T, I), from the state (H,), zero by default. Raises ValueError."""
        x = signal("EchoStateNetwork.states", inputs, self.inputs)
        h = np.zeros(self.units) if state is None else np.asarray(state, np.float64)
        if h.shape != (self.units,):
            raise ValueError(f"EchoStateNetwork.states: expected a state ({self.units},), got {h.shape}")
        outputs, _ = unroll(self.cell, self._sparse_params, x[:, None], LeakyState(h[None]))
        states: Floats = outputs[:, 0]
        return states

    def fit(
        self, inputs: npt.ArrayLike, targets: npt.ArrayLike, washout: int = 100, ridge: float = 1e-8
    ) -> "FittedNetwork":
        """The network with V fitted by ridge regression to targets y(t) (T, O), for x(t) (T, I).

        washout: number of first steps to leave out, while h still depends on its initial zero. ridge: λ of
        `fit_ridge`. Raises ValueError, and LinAlgError as `fit_ridge` does.
        """
        x, y = signal("EchoStateNetwork.fit", inputs, self.inputs), signal("EchoStateNetwork.fit", targets)
        if len(x) != len(y):
            raise ValueError(f"EchoStateNetwork.fit: expected one target an input, got {len(y)} for {len(x)}")
        if not 0 <= washout < len(x):
            raise ValueError(f"EchoStateNetwork.fit: expected a washout from 0 to {len(x) - 1}, got {washout}")
        h = self.states(x)
        readout = fit_ridge(features(x[washout:], h[washout:]), y[washout:], ridge)
        return FittedNetwork(self, readout, h[-1].copy(), y[-1].copy())


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network with its readout, in its state at the end of the training signal."""

    network: EchoStateNetwork
    readout: Floats
    """V (O, 1 + I + H)."""
    state: Floats
    """h (H,) after the last input."""
    target: Floats
    """y (O,), the last target."""

    def predict(self, inputs: npt.ArrayLike, state: npt.ArrayLike | None = None) -> Floats:
        """y(t) (T, O) for x(t) (T, I), from the state (H,), by default the state after the training signal.

        Raises ValueError.
        """
        x = signal("FittedNetwork.predict", inputs, self.network.inputs)
        h = self.network.states(x, self.state if state is None else state)
        return features(x, h) @ self.readout.T

    def generate(self, steps: int, after: npt.ArrayLike | None = None) -> Floats:
        """Free run: y(t) (steps, O), where x(t+1) = y(t). It needs O = I.

        The network continues the training signal, whose last target is the first input. With `after` (T, I), it
        starts from zero and continues `after` instead, whose last value is the first input. Raises ValueError.
        """
        network = self.network
        if len(self.readout) != network.inputs:
            expected = f"as many outputs as inputs, {network.inputs}"
            raise ValueError(f"FittedNetwork.generate: expected {expected}, got {len(self.readout)}")
        if steps < 0:
            raise ValueError(f"FittedNetwork.generate: expected 0 or more steps, got {steps}")
        h, x = self.state, self.target
        if after is not None:
            driven = signal("FittedNetwork.generate", after, network.inputs)
            x = driven[-1]
            h = network.states(driven[:-1])[-1] if len(driven) > 1 else np.zeros(network.units)
        cell, params, V = network.cell, network._sparse_params, self.readout.T
        outputs, state, x = np.empty((steps, network.inputs)), LeakyState(h[None]), x[None]
        for t in range(steps):
            h, state = cell.step(params, cell.project(params, x), state)
            x = features(x, h) @ V
            outputs[t] = x[0]
        return outputs


def features(x: Floats, h: Floats) -> Floats:
    """z = [1, x, h], (T, 1 + I + H)."""
    return np.concatenate([np.ones((len(x), 1)), x, h], axis=1)


def signal(where: str, values: npt.ArrayLike, width: int | None = None) -> Floats:
    """Values as (T, width) finite reals. Raises ValueError that names the caller, `where`."""
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size or width not in (None, array.shape[1]):
        expected = f"(T, {'O' if width is None else width}) reals"
        raise ValueError(f"{where}: expected {expected}, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: expected finite reals, got {array[~np.isfinite(array)][0]}")
    return array
