"""Adam beside torch's own, Muon beside a singular value decomposition, and moments that can be put back."""

import numpy as np
import pytest
import torch

from charrnn.training.optimizer import (
    BETA1,
    BETA2,
    EPSILON,
    MOMENTUM,
    RATE_RATIO,
    Optimizer,
    group_size,
    is_recurrent,
    orthogonalised,
)

SHAPES = {"layers.0.weight_ih": (8, 5), "layers.0.weight_hh": (128, 32), "readout.bias": (5,)}


def parameters(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, requires_grad=True) for name, shape in SHAPES.items()}


def give_gradients(values: dict[str, torch.Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for value in values.values():
        value.grad = torch.randn(value.shape, generator=generator)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_that_of_torch(weight_decay):
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer(ours, muon=False, weight_decay=weight_decay)
    oracle = torch.optim.AdamW(theirs.values(), 1.0, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=weight_decay)
    for step in range(20):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        oracle.param_groups[0]["lr"] = rate = 0.01 * (step + 1)
        oracle.step()
        optimizer.step(rate)
    for name in SHAPES:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)


def test_muon_moves_the_recurrent_matrix_alone_and_as_a_hand_loop_does():
    ours, adams = parameters(), parameters()
    both, adam = Optimizer(ours, muon=True), Optimizer(adams, muon=False)
    W = ours["layers.0.weight_hh"].detach().clone()
    M = torch.zeros_like(W)
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(adams, step)
        G = ours["layers.0.weight_hh"].grad
        assert G is not None
        M = MOMENTUM * M + G
        W = W - RATE_RATIO * 0.01 * orthogonalised(G + MOMENTUM * M)
        both.step(0.01)
        adam.step(0.01)
    torch.testing.assert_close(ours["layers.0.weight_hh"].detach(), W)
    for name in ("layers.0.weight_ih", "readout.bias"):
        assert torch.equal(ours[name], adams[name])


@pytest.mark.parametrize("shape", [(32, 32), (128, 32), (32, 96), (512, 128), (74, 37), (7, 7)])
def test_each_group_of_rows_is_nearly_the_orthogonal_factor_of_its_singular_value_decomposition(shape):
    G = torch.from_numpy(np.random.default_rng(1).standard_normal(shape)).float()
    found = orthogonalised(G)
    size = group_size(min(shape))
    assert size in (min(shape), 64)
    for first in range(0, shape[0], size):
        rows = slice(first, first + size)
        U, _, Vh = torch.linalg.svd(G[rows], full_matrices=False)
        # The same singular vectors, and values that are all about 1.
        values = torch.diagonal(U.T @ found[rows] @ Vh.T)
        torch.testing.assert_close(U @ torch.diag(values) @ Vh, found[rows], atol=2e-2, rtol=0)
        assert float(values[:-1].min()) > 0.3
        assert float(values.max()) < 1.3


def test_in_half_precision_it_is_about_the_same():
    G = torch.randn(256, 64, generator=torch.Generator().manual_seed(2))
    exact, rough = orthogonalised(G), orthogonalised(G, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert float((exact - rough).norm() / exact.norm()) < 0.1


@pytest.mark.parametrize(
    ("side", "size"), [(64, 64), (256, 64), (384, 64), (96, 48), (200, 50), (320, 64), (127, 127)]
)
def test_groups_divide_the_side(side, size):
    assert group_size(side) == size


def test_what_is_recurrent():
    assert is_recurrent("layers.0.weight_hh", torch.zeros(12, 4))
    assert is_recurrent("encoder.layers.1.backward.weight_hh", torch.zeros(4, 8))
    assert not is_recurrent("layers.0.weight_ih", torch.zeros(4, 4))
    assert not is_recurrent("layers.0.weight_hh", torch.zeros(4, 7)), "output_recurrent feeds back its outputs"


@pytest.mark.parametrize("muon", [False, True])
def test_put_back_it_goes_on_as_if_it_had_never_stopped(muon):
    whole, first = parameters(), parameters()
    optimizer = Optimizer(whole, muon=muon)
    before = Optimizer(first, muon=muon)
    for step in range(3):
        for values, stepped in ((whole, optimizer), (first, before)):
            give_gradients(values, step)
            stepped.step(0.02)
    after = Optimizer(first, muon=muon)
    after.restore({name: moment.clone() for name, moment in before.moments().items()}, 3)
    for step in range(3, 6):
        for values, stepped in ((whole, optimizer), (first, after)):
            give_gradients(values, step)
            stepped.step(0.02)
    assert all(torch.equal(whole[name], first[name]) for name in SHAPES)


def test_moments_that_do_not_fit_are_refused():
    optimizer = Optimizer(parameters(), muon=True)
    moments = dict(optimizer.moments())
    with pytest.raises(ValueError, match=r"momentum\.layers\.0\.weight_hh is missing"):
        optimizer.restore({name: value for name, value in moments.items() if "momentum" not in name}, 1)
    with pytest.raises(ValueError, match=r"mean\.readout\.bias is missing or misshapen"):
        optimizer.restore(moments | {"mean.readout.bias": torch.zeros(3)}, 1)
