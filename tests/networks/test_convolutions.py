"""Convolutions: bfloat16 gradients are those of float32, however short the first axis."""

import pytest
import torch

from miaobi.networks._convolutions import convolution, convolve

SHORT = [(1, 8, 8), (2, 8, 8), (2, 16, 16), (3, 8, 8), (4, 8, 8)]


def gradient(layer, x, precision):
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        out = layer(x)
    out.float().square().sum().backward()
    return layer.weight.grad.clone()


def dirty():
    """Leave numbers that are not finite in the memory that comes next."""
    for power in range(4, 20):
        torch.full((1 << power,), float("nan"))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("space", SHORT, ids=str)
def test_bfloat16_gradients_of_short_clips_are_those_of_float32(space, kernel):
    torch.manual_seed(0)
    layer = convolution(3)(4, 16, kernel, padding=kernel // 2)
    x = torch.randn(4, 4, *space)
    exact = gradient(layer, x, "float32")
    for _ in range(4):
        dirty()
        found = gradient(layer, x, "bfloat16")
        assert (found - exact).norm() < 0.03 * exact.norm()


def test_float32_and_long_clips_are_left_to_torch():
    torch.manual_seed(0)
    layer = convolution(3)(4, 8, 3, padding=1, stride=(1, 2, 2))
    for frames in (2, 6):
        x = torch.randn(2, 4, frames, 8, 8)
        assert torch.equal(layer(x), torch.nn.Conv3d.forward(layer, x))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 4, 6, 8, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_function_and_layer_agree(dims):
    layer = convolution(dims)(2, 3, 3, padding=1)
    x = torch.randn(2, 2, *[2] * dims)
    assert torch.equal(convolve(dims)(x, layer.weight, layer.bias, padding=1), layer(x))
