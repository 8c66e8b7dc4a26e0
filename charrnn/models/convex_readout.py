"""Readouts of fixed features: ridge regression and logistic regression, both convex with a single solution.

They do not depend on where the features come from.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def fit_ridge(features: Floats, targets: Floats, ridge: float) -> Floats:
    """V (O, F) that minimises Σ_t |y(t) − V z(t)|² + λ |V|², for features z (T, F) and targets y (T, O).

    λ = `ridge`, in the units of a sum over time. V = (Σ_t y zᵀ)(Σ_t z zᵀ + λ 1)⁻¹, the normal equations: two
    products over T steps and one system of F equations. They square the condition number, so a λ below about
    10⁻¹⁶ of the largest eigenvalue of Σ z zᵀ is lost in rounding. λ = 0 gives the least-squares solution of the
    least norm, by singular values. Raises ValueError, and LinAlgError if λ is so small that Σ z zᵀ + λ 1 is
    singular.

    Source: Lukoševičius 2012, section 4.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(f"fit_ridge: expected features (T, F) and targets (T, O), {got(features, targets)}")
    if not 0.0 <= ridge < np.inf:
        raise ValueError(f"fit_ridge: expected a finite ridge from 0 on, got {ridge}")
    if ridge == 0.0:
        return np.ascontiguousarray(np.linalg.lstsq(features, targets)[0].T)
    gram = features.T @ features
    gram.flat[:: len(gram) + 1] += ridge
    return np.ascontiguousarray(np.linalg.solve(gram, features.T @ targets).T)


class SoftmaxReadout(NamedTuple):
    """P(class given h) = softmax(V h + c), and how well it was fitted."""

    weight: Floats
    """V (K, H)."""
    bias: Floats
    """c (K,)."""
    loss: float
    """Mean −ln P(target), nats, without the penalty."""
    gradient_norm: float
    """Euclidean norm g of the objective's gradient; the objective lies within g² / (2 λ) of its minimum."""


def fit_softmax(
    states: Floats,
    targets: npt.NDArray[np.integer],
    num_classes: int,
    l2: float,
    start: Floats | None = None,
    *,
    tolerance: float = 3e-8,
    max_steps: int = 5000,
) -> SoftmaxReadout:
    """Minimises f(V, c) = −1/T Σ_t ln softmax(V h(t) + c)[k(t)] + λ/2 (|V|² + |c|²).

    states: h (T, H). targets: k (T,), 0 … K − 1 with K = `num_classes`. l2: λ > 0, which makes f strongly convex,
    so that the minimum is unique, and `start`, [c, V] (K, 1 + H), zeros by default, is only where the search
    begins. A smaller λ biases the readout less and takes longer: for 20,000 characters read by 200 units, 10⁻³ is
    sensible. The method is torch's L-BFGS in float64, with line searches that meet the strong Wolfe conditions.
    It stops when no component of the gradient is above `tolerance`, or after `max_steps` steps; the result's
    `gradient_norm` shows how far it converged. Raises ValueError.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.8; Nocedal and Wright,
    *Numerical Optimization*, section 7.2.
    """
    if states.ndim != 2 or targets.shape != states.shape[:1] or not len(states):
        raise ValueError(f"fit_softmax: expected states (T, H) and targets (T,), {got(states, targets)}")
    if targets.dtype.kind not in "iu" or not (targets.min() >= 0 and targets.max() < num_classes):
        expected = f"integers from 0 to {num_classes - 1}"
        raise ValueError(f"fit_softmax: expected {expected}, got {targets.min()} to {targets.max()}")
    if not 0.0 < l2 < np.inf:
        raise ValueError(f"fit_softmax: expected a finite l2 above 0, got {l2}")
    shape = (num_classes, 1 + states.shape[1])
    if start is not None and start.shape != shape:
        raise ValueError(f"fit_softmax: expected a start {shape}, got shape {start.shape}")
    if not (np.isfinite(states).all() and (start is None or np.isfinite(start).all())):
        raise ValueError("fit_softmax: expected finite states and a finite start, got infinities or NaN")

    import torch
    from torch.nn.functional import cross_entropy

    features = torch.from_numpy(np.concatenate([np.ones((len(states), 1)), states], axis=1))
    classes = torch.from_numpy(targets.astype(np.int64))
    weights = torch.tensor(np.zeros(shape) if start is None else start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=max_steps,
        max_eval=2 * max_steps,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def mean_loss() -> torch.Tensor:
        return cross_entropy(features @ weights.T, classes)

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        value = mean_loss() + 0.5 * l2 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    objective()
    found, gradient = weights.detach(), weights.grad
    assert gradient is not None
    with torch.no_grad():
        loss = float(mean_loss())
    return SoftmaxReadout(found[:, 1:].numpy().copy(), found[:, 0].numpy().copy(), loss, float(gradient.norm()))


def got(*arrays: np.ndarray) -> str:
    """The end of an error message: the actual shapes."""
    return f"got {' and '.join(str(array.shape) for array in arrays)}"
