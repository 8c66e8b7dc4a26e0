"""The optimiser: Adam, and orthogonalised momentum for the matrices of the cells."""

import math

import torch

from charrnn.cells.cell import HIDDEN_TO_HIDDEN, INPUT_TO_HIDDEN
from charrnn.config import ResolvedConfig

BETA1, BETA2, EPSILON = 0.5, 0.99, 1e-8
"""Of Adam. A recurrent gradient turns quickly: less momentum than the usual 0.9 gained 0.02 nats in a minute."""

MOMENTUM = 0.9

RATE_RATIO = 3.0
"""Muon's rate over Adam's: an orthogonal update has entries of H^(−1/2) on average, an Adam update about 1."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of X ← aX + b(XXᵀ)X + c(XXᵀ)²X, which soon maps all singular values of X from (0, 1] to 0.7 … 1.2."""

ITERATIONS = 5

GROUP = 64
"""About this many rows are made orthogonal to each other. Whole gates took five times as long, for no gain."""


class Optimizer:
    """Updates the matrices of cells by Muon, if requested, and every other parameter by Adam.

    Adam (Kingma and Ba 2015, decoupled weight decay λ of Loshchilov and Hutter 2019), with t steps so far:

        m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  w ← (1 − ηλ)w − η m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    Muon (Jordan et al. 2024), for one group of rows of a matrix W at a time: M ← μM + G,
    W ← (1 − ρηλ)W − ρη orthogonal(G + μM).
    The orthogonal factor moves all directions equally, whereas a gradient through time lies almost entirely in the
    few directions that the recurrence stretches. After a million characters of plays it gained 0.04 nats.

    `torch.optim` is not used: its first use takes a second, which is a tenth of a small budget.
    """

    def __init__(
        self,
        trained: dict[str, torch.Tensor],
        *,
        muon: bool,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """precision: of Muon's products, which need not be exact."""
        self._trained, self._weight_decay, self._precision = trained, weight_decay, precision
        self._steps = 0
        self._moments = {
            f"{moment}.{name}": torch.zeros_like(value)
            for name, value in trained.items()
            for moment in (("momentum",) if muon and is_of_a_cell(name) else ("mean", "variance"))
        }

    @classmethod
    def of(cls, config: ResolvedConfig, trained: dict[str, torch.Tensor]) -> "Optimizer":
        """The optimiser that a run's configuration requests."""
        return cls(
            trained,
            muon=config.optimizer == "muon",
            weight_decay=config.weight_decay,
            precision=getattr(torch, config.precision),
        )

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves the parameters against their gradients; rate: Adam's η."""
        self._steps += 1
        for name, w in self._trained.items():
            if w.grad is None:
                continue
            M = self._moments.get(f"momentum.{name}")
            if M is not None:
                self._step_muon(w, w.grad, M, RATE_RATIO * rate)
            else:
                self._step_adam(w, w.grad, self._moments[f"mean.{name}"], self._moments[f"variance.{name}"], rate)

    def _step_adam(self, w: torch.Tensor, g: torch.Tensor, m: torch.Tensor, v: torch.Tensor, rate: float) -> None:
        m.lerp_(g, 1.0 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1.0 - BETA2)
        deviation = (v / (1.0 - BETA2**self._steps)).sqrt_().add_(EPSILON)
        w.mul_(1.0 - rate * self._weight_decay)
        w.addcdiv_(m, deviation, value=-rate / (1.0 - BETA1**self._steps))

    def _step_muon(self, W: torch.Tensor, G: torch.Tensor, M: torch.Tensor, rate: float) -> None:
        M.mul_(MOMENTUM).add_(G)
        W.mul_(1.0 - rate * self._weight_decay)
        W.sub_(orthogonalised(torch.add(G, M, alpha=MOMENTUM), self._precision), alpha=rate)

    def moments(self) -> dict[str, torch.Tensor]:
        """The moments of the parameters, under `moment.parameter`."""
        return self._moments

    def restore(self, moments: dict[str, torch.Tensor], steps: int) -> None:
        """Restores the moments after `steps` steps. Raises ValueError for impossible ones."""
        self._steps = steps
        for name, ours in self._moments.items():
            value = moments.get(name)
            if value is None or value.shape != ours.shape:
                raise ValueError(f"{name} is missing or misshapen")
            if name.startswith("variance.") and bool((value < 0).any()):
                raise ValueError(f"{name} is negative")
            ours.copy_(value)


def is_of_a_cell(name: str) -> bool:
    """Whether a parameter is a cell's matrix for its input or for its state."""
    return name.endswith(("." + INPUT_TO_HIDDEN, "." + HIDDEN_TO_HIDDEN))


def orthogonalised(G: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Approximates the orthogonal factor of each group of rows of G (R, C): orthonormal rows.

    In a group that is taller than wide, the columns are orthonormal instead. For a group U S Vᵀ the factor is
    U Vᵀ, computed by products alone, in the precision `dtype`.
    """
    size = group_size(G.shape[0])
    X = G.view(-1, size, G.shape[1]).to(dtype)
    X = X / (X.norm(dim=(1, 2), keepdim=True) + 1e-12)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        A = torch.bmm(X, X.mT)
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
    return X.to(G.dtype).view(G.shape)


def group_size(rows: int) -> int:
    """The divisor of the number of rows that is nearest to GROUP, by ratio, or all rows if none is near."""
    near = [size for size in range(GROUP // 2, 2 * GROUP + 1) if rows % size == 0]
    return min(near, key=lambda size: abs(math.log(size / GROUP)), default=rows)
