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
    is_of_a_cell,
    orthogonalised,
)

SHAPES = {"layers.0.weight_ih": (128, 37), "layers.0.weight_hh": (128, 32), "readout.weight": (5, 32)}
MATRICES = ("layers.0.weight_ih", "layers.0.weight_hh")


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


def test_muon_moves_the_matrices_of_a_cell_alone_and_as_a_hand_loop_does():
    ours, adams = parameters(), parameters()
    both, adam = Optimizer(ours, muon=True, weight_decay=0.1), Optimizer(adams, muon=False, weight_decay=0.1)
    weights = {name: ours[name].detach().clone() for name in MATRICES}
    momenta = {name: torch.zeros_like(W) for name, W in weights.items()}
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(adams, step)
        for name in MATRICES:
            G = ours[name].grad
            assert G is not None
            momenta[name] = MOMENTUM * momenta[name] + G
            update = orthogonalised(G + MOMENTUM * momenta[name]) + 0.1 * weights[name]
            weights[name] = weights[name] - RATE_RATIO * 0.01 * update
        both.step(0.01)
        adam.step(0.01)
    for name, W in weights.items():
        torch.testing.assert_close(ours[name].detach(), W)
    assert torch.equal(ours["readout.weight"], adams["readout.weight"])


@pytest.mark.parametrize(
    "shape", [(32, 32), (128, 32), (32, 96), (512, 128), (1024, 67), (74, 37), (37, 74), (7, 7)]
)
def test_each_group_of_rows_is_nearly_the_orthogonal_factor_of_its_singular_value_decomposition(shape):
    G = torch.from_numpy(np.random.default_rng(1).standard_normal(shape)).float()
    found = orthogonalised(G)
    size = group_size(shape[0])
    assert size in (shape[0], 64)
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
    ("rows", "size"), [(64, 64), (256, 64), (384, 64), (96, 48), (200, 50), (320, 64), (127, 127), (1009, 1009)]
)
def test_groups_divide_the_rows(rows, size):
    assert group_size(rows) == size


def test_a_group_that_is_taller_than_wide_has_columns_at_right_angles():
    found = orthogonalised(torch.randn(64, 8, generator=torch.Generator().manual_seed(3)))
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layers.0.weight_ih", True),
        ("encoder.layers.1.backward.weight_hh", True),
        ("layers.0.bias", False),
        ("embedding.weight", False),
        ("readout.weight", False),
    ],
)
def test_what_is_a_matrix_of_a_cell(name, expected):
    assert is_of_a_cell(name) == expected


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
    with pytest.raises(ValueError, match=r"momentum\.layers\.0\.weight_ih is missing"):
        optimizer.restore({name: value for name, value in moments.items() if "momentum" not in name}, 1)
    with pytest.raises(ValueError, match=r"mean\.readout\.weight is missing or misshapen"):
        optimizer.restore(moments | {"mean.readout.weight": torch.zeros(3)}, 1)
