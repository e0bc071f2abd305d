"""What is exported: a model seen as a Transformer, a layout and a tokenizer.

Only this file chooses among families and networks: one that other programs compute too is let in here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer as Engine
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.export._engine import engine_of, with_specials
from miaobi.families._layout import Layout
from miaobi.families.autoregressive import Autoregressive
from miaobi.modalities import Modality
from miaobi.modalities._tokenizers import Tokenizer
from miaobi.modalities.label import Label
from miaobi.models import Model
from miaobi.networks.transformer import Transformer
from miaobi.plugins import name_of
from miaobi.types import Form

_CURE = "export a run of the family autoregressive with the network transformer over text"


@dataclass(frozen=True)
class Exportable:
    """A language model with what other programs need to know of it.

    Attributes:
        network: a copy in float32 on the processor, in evaluation mode.
        layout: how an item becomes a sequence.
        tokenizer: of the target.
        engine: the same as a ``tokenizers`` engine, with every token that the layout adds.
        specials: the tokens that the layout adds behind the vocabulary, by id.
        conditions: by condition, how a value is written: see `describe_condition`.
        chat_template: a Jinja template of conversations; ``None`` where the model was not trained on any.
        info: what the model's folder says of it.
    """

    network: Transformer
    layout: Layout
    tokenizer: Tokenizer
    engine: Engine
    specials: dict[int, str]
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    chat_template: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def begin(self) -> int | None:
        """The token before every target."""
        return self.layout.begin

    @property
    def end(self) -> int | None:
        """The token after every target."""
        return self.layout.end

    @property
    def begins_with_begin(self) -> bool:
        """Whether nothing stands before the begin token, so that programs may put it before any text by themselves."""
        return self.begin is not None and not self.layout.slots

    @property
    def limit(self) -> int:
        """The longest sequence, specials included."""
        return self.layout.span

    @cached_property
    def allowed(self) -> Tensor:
        """Bool ``[V]``: which tokens the model draws; the others stand in prompts only."""
        outputs = self.layout.outputs
        allowed = torch.arange(self.layout.vocabulary) < outputs.size
        for token in (outputs.banned, outputs.unknown):
            if token is not None:
                allowed[token] = False
        return allowed

    @property
    def suppressed(self) -> list[int]:
        """Ids of the tokens that are never drawn."""
        return torch.nonzero(~self.allowed).flatten().tolist()

    def piece(self, token: int) -> str:
        """How the engine writes a token."""
        return str(self.engine.id_to_token(token))

    @torch.no_grad()
    def logits(self, tokens: list[int]) -> Tensor:
        """Float32 ``[L, V]``."""
        return self.network(torch.tensor([tokens]))[0]


def source_of(model: Model) -> Exportable:
    """A model as something to export.

    Raises:
        Unsupported: its family, network or tokenizer is one that other programs do not compute; says which could be.
    """
    family = model.family.shipped()
    if type(family) is not Autoregressive:
        given = f"the family {name_of(type(family))}"
        raise Unsupported("only language models are exported", given=given, allowed=["autoregressive"], cure=_CURE)
    network = family.network
    if type(network) is not Transformer:
        raise Unsupported(
            "other programs compute this family's transformer only",
            given=f"the network {name_of(type(network))}",
            allowed=["transformer"],
            cure=_CURE,
        )
    tokenizer = model.modality.tokenizer
    if tokenizer is None:
        given = f"the modality {model.modality.name}"
        raise Unsupported("its tokens spell no text", given=given, allowed=["text"], cure=_CURE)
    if type(family.layout) is not Layout:
        given = type(family.layout).__name__
        raise Unsupported("its sequences are laid out in a way that is not exported", given=given, cure=_CURE)
    layout, engine = family.layout, engine_of(tokenizer)
    specials = _specials(layout, model.conditions, engine)
    return Exportable(
        copy.deepcopy(network).to("cpu", torch.float32).eval(),
        layout,
        tokenizer,
        with_specials(engine, specials),
        specials,
        {name: describe_condition(name, layout, model.conditions[name], specials) for name in layout.slots},
        info=model.info,
    )


def describe_condition(name: str, layout: Layout, modality: Modality, specials: Mapping[int, str]) -> dict[str, Any]:
    """How a condition is written in a prompt: ``opening``, then a value, or ``absent``.

    A value is ``text`` in the target's tokens, or one or many of ``tokens`` (from a token to what it says).
    """
    slot, spec = layout.slots[name], layout.conditions[name]
    told: dict[str, Any] = {"opening": specials[slot.opening], "absent": specials[slot.null]}
    if spec.shared:
        return told | {"value": "text"}
    tokens = {specials[slot.offset + value]: _says(modality, value) for value in range(spec.vocabulary)}
    return told | {"value": "one token" if spec.form is Form.LABEL else "tokens", "tokens": tokens}


def _specials(layout: Layout, conditions: Mapping[str, Modality], engine: Engine) -> dict[int, str]:
    wanted: dict[int, str] = {}
    for token, name in ((layout.end, "end"), (layout.begin, "begin")):
        if token is not None and token >= layout.target.vocabulary:
            wanted[token] = f"<|{name}|>"
    for name, slot in layout.slots.items():
        spec = layout.conditions[name]
        wanted |= {slot.opening: f"<|{name}|>", slot.null: f"<|{name}:none|>"}
        for value in range(0 if spec.shared else spec.vocabulary):
            label = isinstance(conditions[name], Label)
            wanted[slot.offset + value] = (
                f"<|{name}={_says(conditions[name], value)}|>" if label else f"<|{name}:{value}|>"
            )
    return _distinct(wanted, set(engine.get_vocab(with_added_tokens=True)))


def _says(modality: Modality, value: int) -> str:
    return str(modality.decode(np.array(value if isinstance(modality, Label) else [value])))


def _distinct(wanted: Mapping[int, str], taken: set[str]) -> dict[int, str]:
    """The same names, with underscores where a name is taken already."""
    given: dict[int, str] = {}
    for token, name in sorted(wanted.items()):
        while name in taken:
            name = f"{name[:-2]}_|>"
        taken.add(name)
        given[token] = name
    return given
