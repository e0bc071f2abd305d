"""Published models that are the Transformer of `networks.transformer` under another name: Llama and Qwen3.

They need no wrapper: their weights go into the Transformer by renaming, and all that it can do they can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_BASE = "model."
_PLAIN = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "use_sliding_window": False,
    "pretraining_tp": 1,
}
"""Options of those architectures, and the value at which the Transformer does the same."""


def shape_of(config: Any) -> dict[str, Any] | None:
    """Options of the Transformer that computes what ``config`` describes; ``None``: there are none."""
    if config.model_type not in ("llama", "qwen3"):
        return None
    if any(getattr(config, name, value) not in (value, None) for name, value in _PLAIN.items()):
        return None
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        return None
    return {
        "width": config.hidden_size,
        "depth": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "key_heads": config.num_key_value_heads,
        "head_width": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "inner": config.intermediate_size,
        "qk_norm": config.model_type == "qwen3",
        "tied": bool(config.tie_word_embeddings),
        "dropout": 0.0,
        "rotary_base": float(rope.get("rope_theta", 10000.0)),
        "eps": float(config.rms_norm_eps),
    }


def weights_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published model's tensors under the Transformer's names."""
    return {name.removeprefix(_BASE): tensor for name, tensor in tensors.items()}
