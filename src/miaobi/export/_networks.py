"""Networks as other programs know them: without adapters beside their maps, on the processor, in float32."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks import TokenNetwork
from miaobi.networks.transformer import Transformer
from miaobi.plugins import name_of
from miaobi.pretrained._adapters import Lora, merged
from miaobi.pretrained._base import Kind, empty_model
from miaobi.pretrained._foreign import Foreign
from miaobi.pretrained.pretrained_decoder import PretrainedDecoder

_BESIDE = ".base_layer."
"""In the name of a map that has a second one beside it."""


def plain_network(network: TokenNetwork, cure: str) -> Transformer | Foreign:
    """A copy whose low-rank adapter is merged into its weights; the network and the public model stay as they are.

    Virtual tokens are no weights of a public model, and stay beside it.

    Raises:
        Unsupported: a network that other programs do not compute; says ``cure``.
    """
    if type(network) is Transformer:
        return copy.deepcopy(network).to("cpu", torch.float32).eval()
    if not isinstance(network, PretrainedDecoder):
        raise Unsupported(
            "other programs compute this family's transformer only",
            given=f"the network {name_of(type(network))}",
            allowed=["transformer", "pretrained_decoder"],
            cure=cure,
        )
    inner = network.inner
    if isinstance(inner, Transformer):
        with torch.device("meta"):
            plain: Any = Transformer(inner.config, inner.source, inner.target, {})
        plain.load_state_dict(_weights(inner, network.config.adapter), strict=True, assign=True)
        return plain.eval().requires_grad_(False)  # type: ignore[no-any-return]
    model = empty_model(Kind.CAUSAL, copy.deepcopy(inner.model.config))
    model.load_state_dict(_weights(inner.model, network.config.adapter), strict=False, assign=True)
    model.tie_weights()
    virtual = copy.deepcopy(inner.virtual)
    return Foreign(model, None if virtual is None else virtual.cpu().float()).eval().requires_grad_(False)


def _weights(module: nn.Module, adapter: Any) -> dict[str, Tensor]:
    """Copies of a module's weights by their published names."""
    if not isinstance(adapter, Lora):
        return _copies(module)
    with merged(module):
        return _copies(module)


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {
        name.replace(_BESIDE, "."): tensor.detach().to("cpu", torch.float32, copy=True)
        for name, tensor in module.state_dict().items()
        if ".lora_" not in name
    }
