"""What of a public model is trained while the rest stays as it was published.

``lora``: Hu et al. 2022, "LoRA: Low-rank adaptation of large language models", through the library peft.
``prompt``: Lester et al. 2021, "The power of scale for parameter-efficient prompt tuning".
``prefix``: Li and Liang 2021, "Prefix-tuning: Optimizing continuous prompts for generation".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator
from pydantic import Field as Value
from torch import nn

from miaobi.errors import MissingExtra, Unsupported
from miaobi.types import Settings

_NAME = "default"
"""What peft calls the one adapter."""


class Lora(Settings):
    """Each chosen map gets a second one of low rank beside it, which starts at zero."""

    name: Literal["lora"] = "lora"
    rank: int = Value(8, ge=1, le=1024)
    alpha: float = Value(16.0, gt=0, le=1e4, description="the second map counts alpha / rank times")
    dropout: float = Value(0.0, ge=0, lt=1, description="of what the second map reads")
    targets: tuple[str, ...] | None = Value(
        None, description="last parts of names of linear maps; default: every map inside the layers"
    )


class PromptTokens(Settings):
    """Embeddings that are put before every sequence."""

    name: Literal["prompt"] = "prompt"
    tokens: int = Value(20, ge=1, le=1024)


class PrefixTokens(Settings):
    """Keys and values that are put before every sequence, in every layer."""

    name: Literal["prefix"] = "prefix"
    tokens: int = Value(10, ge=1, le=1024)


Adapter = Annotated[Lora | PromptTokens | PrefixTokens, Discriminator("name")]


def virtual_count(section: Any) -> int:
    """How many places of a model's context an adapter takes, from its section of a recipe."""
    kinds: dict[str, type[PromptTokens] | type[PrefixTokens]] = {"prompt": PromptTokens, "prefix": PrefixTokens}
    kind = kinds.get(str(section.get("name"))) if isinstance(section, dict) else None
    return 0 if kind is None else kind.parse(section, "model.network.adapter").tokens


def add_lora(module: nn.Module, settings: Lora, head: torch.Tensor) -> dict[str, nn.Parameter]:
    """Put the second maps into ``module``, in place; gives what is to be trained, by name.

    Raises:
        MissingExtra: peft is absent.
        Unsupported: a target that no map is called.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtra("the adapter lora", "tuning") from None
    targets = _targets(module, settings, head)
    config = LoraConfig(
        r=settings.rank,
        # It is a factor, though peft writes it as a whole number.
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )
    with warnings.catch_warnings():
        # It says of every Conv1D that it keeps its weight the other way round.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        inject_adapter_in_model(config, module, adapter_name=_NAME)
    return {name: parameter for name, parameter in module.named_parameters() if ".lora_" in name}


def shown_name(name: str) -> str:
    """A parameter of the second maps as a checkpoint calls it."""
    return name.replace(f".{_NAME}.", ".")


@contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """The second maps are added into the weights inside, which come back as they were, bit for bit."""
    from peft.tuners.lora import LoraLayer

    held: list[tuple[Any, nn.Parameter]] = []
    try:
        for layer in module.modules():
            if isinstance(layer, LoraLayer):
                plain: Any = layer.get_base_layer()
                held.append((plain, plain.weight))
                delta = layer.get_delta_weight(_NAME)  # type: ignore[operator]
                plain.weight = nn.Parameter(plain.weight.detach() + delta.detach(), requires_grad=False)
        yield
    finally:
        for plain, weight in held:
            plain.weight = weight


def _targets(module: nn.Module, settings: Lora, head: torch.Tensor) -> list[str]:
    """Names of the maps that get a second one."""
    from transformers.pytorch_utils import Conv1D

    maps = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and part.weight is not head and "." in name
    ]
    if settings.targets is None:
        return maps
    known = sorted({name.rpartition(".")[2] for name in maps})
    for target in settings.targets:
        if target not in known:
            raise Unsupported(
                "no map of the model is called so", given=target, allowed=known, cure="see adapter.targets"
            )
    return [name for name in maps if name.rpartition(".")[2] in settings.targets]
