import pytest
import torch
from torch import nn

from miaobi.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_come_near_one_and_their_vectors_stay(shape, dtype):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    made = orthogonalise(matrices.to(dtype)).float()
    for matrix, result in zip(matrices, made, strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        inside = left.mT @ result @ right.mT
        values = inside.diagonal()
        assert ((values > 0.5) & (values < 1.4)).all()
        torch.testing.assert_close(inside, torch.diag(values), atol=0.15, rtol=0)


def test_matrices_of_one_shape_do_not_mix():
    torch.manual_seed(0)
    matrices = torch.randn(4, 5, 7)
    together = orthogonalise(matrices)
    for row in range(4):
        alone = orthogonalise(matrices[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-4)


def test_the_size_of_an_update_does_not_depend_on_the_gradients():
    for scale in (1e-4, 1e4):
        weight = nn.Parameter(torch.zeros(8, 8))
        weight.grad = scale * torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
        Muon([weight], lr=0.1).step()
        values = torch.linalg.svdvals(weight.detach())
        assert values.min() > 0.04
        assert values.max() < 0.15


def test_kernels_are_treated_as_matrices():
    kernel = nn.Parameter(torch.zeros(4, 3, 2, 2))
    flat = nn.Parameter(torch.zeros(4, 12))
    gradient = torch.randn(4, 12)
    kernel.grad, flat.grad = gradient.reshape(4, 3, 2, 2), gradient
    optimiser = Muon([kernel, flat], lr=0.1)
    optimiser.step()
    torch.testing.assert_close(kernel.detach().flatten(1), flat.detach())


def test_it_fits_a_linear_map():
    torch.manual_seed(0)
    goal, x = torch.randn(6, 6), torch.randn(64, 6)
    layer = nn.Linear(6, 6, bias=False)
    optimiser = Muon(layer.parameters(), lr=0.1)
    first = None
    for step in range(150):
        loss = (layer(x) - x @ goal.T).square().mean()
        first = first or float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = 0.1 * (1 - step / 150)
        optimiser.step()
    assert float(loss.detach()) < 0.01 * first
