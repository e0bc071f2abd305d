"""An adapter alone, as the library peft keeps it: adapter_config.json and adapter_model.safetensors.

Mangrulkar et al. 2022, "PEFT: State-of-the-art parameter-efficient fine-tuning methods".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from miaobi.errors import MissingExtra, Unsupported
from miaobi.export._source import Exportable
from miaobi.networks.transformer import Transformer
from miaobi.pretrained._adapters import Lora, PrefixTokens
from miaobi.pretrained._base import Base, Kind, model_of, open_base
from miaobi.pretrained.pretrained_decoder import PretrainedDecoder

_TASK = "CAUSAL_LM"
_VIRTUAL = "prompt_embeddings"
_MAPS = (".lora_A.weight", ".lora_B.weight")


def adapter_tensors(source: Exportable) -> dict[str, Tensor]:
    """The adapter's weights under peft's names.

    Raises:
        Unsupported: the model has no adapter.
    """
    network = _adapted(source)
    trained = {name: tensor.detach().cpu().float() for name, tensor in network.trained.state_dict().items()}
    if isinstance(network.config.adapter, Lora):
        root = "base_model.model." + ("model." if isinstance(network.inner, Transformer) else "")
        return {f"{root}{name}": tensor.contiguous() for name, tensor in trained.items()}
    tokens = trained["virtual.tokens"]
    if isinstance(network.config.adapter, PrefixTokens):
        # From layers, keys and values, heads, tokens, width: peft has a row a token.
        tokens = tokens.permute(3, 0, 1, 2, 4).flatten(1)
    return {_VIRTUAL: tokens.contiguous()}


def write_adapter(source: Exportable, folder: Path) -> None:
    """Write both files.

    Raises:
        MissingExtra: peft is absent.
        Unsupported: the model has no adapter.
    """
    tensors = adapter_tensors(source)
    config = _config(source, tensors)
    config.base_model_name_or_path = _base(source).reference.removeprefix("hub:").partition("@")[0]
    config.inference_mode = True
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def adapter_logits(source: Exportable, folder: Path) -> Callable[[list[int]], Tensor]:
    """What peft computes with the written adapter on the public model: tokens to logits ``[L, V]``."""
    base = _base(source)
    with warnings.catch_warnings():
        # It asks transformers for what that has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        model = _peft().PeftModel.from_pretrained(model_of(base), folder).eval()

    @torch.no_grad()
    def logits(tokens: list[int]) -> Tensor:
        given = torch.tensor([tokens])
        found: Tensor = model(input_ids=given, attention_mask=torch.ones_like(given)).logits[0]
        return found[-len(tokens) :]

    return logits


def _config(source: Exportable, tensors: dict[str, Tensor]) -> Any:
    peft, adapter = _peft(), _adapted(source).config.adapter
    if isinstance(adapter, Lora):
        targets = sorted({name.removesuffix(end) for end in _MAPS for name in tensors if name.endswith(end)})
        return peft.LoraConfig(
            task_type=_TASK,
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=[name.removeprefix("base_model.model.") for name in targets],
            fan_in_fan_out=_is_turned(source),
            bias="none",
        )
    states = _adapted(source).trained.state_dict()["virtual.tokens"]
    told = {"task_type": _TASK, "num_virtual_tokens": adapter.tokens, "num_transformer_submodules": 1}
    if not isinstance(adapter, PrefixTokens):
        return peft.PromptTuningConfig(**told, token_dim=states.shape[-1])
    layers, _, heads, _, width = states.shape
    return peft.PrefixTuningConfig(
        **told, num_layers=layers, num_attention_heads=heads, token_dim=heads * width, encoder_hidden_size=heads * width
    )


def _is_turned(source: Exportable) -> bool:
    """Whether the public model keeps its maps' weights the other way round, as GPT-2 does."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(part, Conv1D) for part in source.network.modules())


def _adapted(source: Exportable) -> PretrainedDecoder:
    if source.adapted is None:
        raise Unsupported("the model has no adapter to write alone", given="merge: false", cure="leave merge out")
    return source.adapted


def _base(source: Exportable) -> Base:
    network = _adapted(source)
    return network.base or open_base(network.config.base, Kind.CAUSAL, network.config.sha256)


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtra("the option merge: false", "tuning") from None
    return peft
