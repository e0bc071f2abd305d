import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks._few_shot import Excitation
from miaobi.networks._spectral import SpectralConvolution, settle
from miaobi.networks.fastgan import FastGAN
from miaobi.types import Form, Spec, vector_spec

SPACES = [(28, 28), (64, 64), (4096,), (4, 16, 16), (7, 13), (5,), (1, 1), (3, 1, 9)]
IMAGE = Spec(Form.TENSOR, 3, (64, 64))


def build(source, target, **options):
    torch.manual_seed(0)
    config = FastGAN.preset("tiny", source, target, {}).model_copy(update=options)
    return FastGAN(config, source, target, {})


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_any_extents_and_features_as_promised(space):
    target = Spec(Form.TENSOR, 2, space)
    made = build(vector_spec(6), target)(torch.randn(2, 6))
    assert made.shape == (2, 2, *space)
    judge = build(target, vector_spec(1))
    scores, features = judge.examine(made)
    assert scores.shape == (2, 1)
    assert [tuple(found.shape[1:]) for found in features] == [
        (width, *extents) for width, extents in zip(judge.channels, judge.spaces, strict=True)
    ]
    assert torch.equal(judge(made), scores)


def test_coarse_features_excite_fine_ones():
    network = build(vector_spec(6), IMAGE)
    assert list(network.grower.gates) == ["4"]
    gate = Excitation(4, 6, (4, 4))
    far, x = torch.randn(2, 4, 4, 4), torch.randn(2, 6, 32, 32)
    share = gate(far, x) / x
    assert (share > 0).all()
    assert (share < 1).all()
    torch.testing.assert_close(share, share[..., :1, :1].expand_as(share))
    assert not torch.allclose(gate(-far, x), gate(far, x))


def test_a_picture_of_few_resolutions_is_excited_all_the_same():
    assert list(build(vector_spec(6), Spec(Form.TENSOR, 1, (8, 8))).grower.gates) == ["1"]
    assert list(build(vector_spec(6), Spec(Form.TENSOR, 1, (4, 4))).grower.gates) == []


def test_samples_are_in_range():
    assert build(vector_spec(6), IMAGE)(50 * torch.randn(4, 6)).abs().max() <= 1


@pytest.mark.parametrize("kernel", [(3,), (3, 3), (1, 1), (3, 3, 3)])
def test_a_spectral_convolutions_norm_is_one(kernel):
    torch.manual_seed(0)
    layer = SpectralConvolution(5, 7, kernel)
    for _ in range(100):
        settle(layer)
    x = torch.randn(2, 5, *[6] * len(kernel))
    norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    wanted = layer.convolve(x, layer.weight / norm, layer.bias, padding=layer.padding)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-3, atol=1e-4)


def test_a_forward_pass_leaves_the_norm_as_it_is():
    layer = SpectralConvolution(5, 7, (3, 3)).train()
    before = layer.left.clone()
    x = torch.randn(2, 5, 6, 6)
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(layer.left, before)


def test_ports_that_it_cannot_serve():
    for source, target in ((IMAGE, IMAGE), (vector_spec(3), vector_spec(3))):
        with pytest.raises(Unsupported, match="one flat port"):
            FastGAN.preset("tiny", source, target, {})
    with pytest.raises(Unsupported, match="examine"):
        build(vector_spec(6), IMAGE).examine(torch.randn(1, 3, 64, 64))
