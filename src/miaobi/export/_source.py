"""What is exported: a model seen as a network, a layout and a tokenizer.

Only this file chooses among families and networks: one that other programs compute too is let in here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from tokenizers import Tokenizer as Engine
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.export._engine import engine_of, with_specials
from miaobi.export._networks import plain_network
from miaobi.export._written import describe_condition, describe_place, prompt_of, special_names, template_prompt
from miaobi.families._layout import Layout
from miaobi.families._template import Templated
from miaobi.families.autoregressive import Autoregressive
from miaobi.modalities._subwords import Subwords
from miaobi.modalities._tokenizers import Tokenizer
from miaobi.models import Model
from miaobi.networks.transformer import Transformer
from miaobi.plugins import name_of
from miaobi.pretrained import locate
from miaobi.pretrained._foreign import Foreign
from miaobi.pretrained.pretrained_decoder import PretrainedDecoder

_CURE = "export a run of the family autoregressive with the network transformer over text, or a public model"


@dataclass(frozen=True)
class Exportable:
    """A language model with what other programs need to know of it.

    Attributes:
        network: a copy in float32 on the processor, in evaluation mode, with a low-rank adapter merged into it.
        layout: how an item becomes a sequence.
        tokenizer: of the target.
        engine: the same as a ``tokenizers`` engine, with every token that the layout adds.
        specials: the tokens that the layout adds behind the vocabulary, by id.
        conditions: by condition, how a value is written: see `describe_condition`.
        prompt: how a prompt is written, with what is to be filled in in braces.
        chat_template: a Jinja template of conversations; ``None`` where the model was not trained on any.
        generation: what the public model that it is made of says of drawing, in transformers' terms.
        adapted: the public model with its adapter; ``None`` where there is none.
        info: what the model's folder says of it.
    """

    network: Transformer | Foreign
    layout: Layout
    tokenizer: Tokenizer
    engine: Engine
    specials: dict[int, str]
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    prompt: str = "{text}"
    chat_template: str | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    adapted: PretrainedDecoder | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def begin(self) -> int | None:
        """The token before every target; of a public model, the one that its publisher gave."""
        return self.tokenizer.begin if isinstance(self.layout, Templated) else self.layout.begin

    @property
    def end(self) -> int | None:
        """The token after every target."""
        return self.layout.end

    @property
    def begins_with_begin(self) -> bool:
        """Whether nothing stands before the begin token, so that programs may put it before any text by themselves."""
        if isinstance(self.layout, Templated):
            return isinstance(self.tokenizer, Subwords) and self.tokenizer.begins
        return self.begin is not None and not self.layout.slots

    @property
    def limit(self) -> int:
        """The longest sequence, specials included."""
        return self.layout.port.max_length

    @property
    def vocabulary(self) -> int:
        """Logits of a position; published models have some that are nobody's token."""
        return len(self.network.head)

    @cached_property
    def allowed(self) -> Tensor:
        """Bool ``[V]``: which tokens the model draws; the others stand in prompts only."""
        outputs = self.layout.outputs
        allowed = torch.arange(self.vocabulary) < outputs.size
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
        given = torch.tensor([tokens])
        if isinstance(self.network, Transformer):
            return self.network(given)[0]
        return self.network.logits(self.network.hidden(given))[0]


def source_of(model: Model) -> Exportable:
    """A model as something to export.

    Raises:
        Unsupported: its family, network or tokenizer is one that other programs do not compute; says which could be.
    """
    family = model.family.shipped()
    if type(family) is not Autoregressive:
        given = f"the family {name_of(type(family))}"
        raise Unsupported("only language models are exported", given=given, allowed=["autoregressive"], cure=_CURE)
    tokenizer = model.modality.tokenizer
    if tokenizer is None:
        given = f"the modality {model.modality.name}"
        raise Unsupported("its tokens spell no text", given=given, allowed=["text"], cure=_CURE)
    layout = family.layout
    if type(layout) not in (Layout, Templated):
        given = type(layout).__name__
        raise Unsupported("its sequences are laid out in a way that is not exported", given=given, cure=_CURE)
    network = family.network
    plain = plain_network(network, _CURE)
    adapted = network if isinstance(network, PretrainedDecoder) and network.config.adapter is not None else None
    engine = engine_of(tokenizer)
    told = _templated(layout, model, engine) if isinstance(layout, Templated) else _laid_out(layout, model, engine)
    generation = _generation(network, model.info)
    return Exportable(plain, layout, tokenizer, **told, generation=generation, adapted=adapted, info=model.info)


def require_transformer(source: Exportable) -> Transformer:
    """The network as the one that other programs than transformers compute.

    Raises:
        Unsupported: a public model of another architecture.
    """
    if isinstance(source.network, Transformer):
        return source.network
    virtual = source.network.virtual is not None
    raise Unsupported(
        "this format holds Llama and Qwen3 only",
        given="virtual tokens before every sequence" if virtual else source.network.model.config.model_type,
        allowed="the format transformers" + (", with merge: false" if virtual else ""),
        cure="export it as transformers",
    )


def _laid_out(layout: Layout, model: Model, engine: Engine) -> dict[str, Any]:
    specials = special_names(layout, model.conditions, engine)
    engine = with_specials(engine, specials)
    conditions = {name: describe_condition(name, layout, model.conditions[name], specials) for name in layout.slots}
    begin = "" if layout.begin is None else str(engine.id_to_token(layout.begin))
    return {
        "engine": engine,
        "specials": specials,
        "conditions": conditions,
        "prompt": prompt_of(conditions, begin),
    }


def _templated(layout: Templated, model: Model, engine: Engine) -> dict[str, Any]:
    tokenizer = model.modality.tokenizer
    return {
        "engine": engine,
        "specials": {},
        "conditions": {
            name: describe_place(layout, model.conditions[name], name, engine) for name in layout.conditions
        },
        "prompt": template_prompt(layout, engine),
        "chat_template": tokenizer.chat_template if isinstance(tokenizer, Subwords) else None,
    }


def _generation(network: Any, info: dict[str, Any]) -> dict[str, Any]:
    base = network.base if isinstance(network, PretrainedDecoder) else None
    if base is not None:
        return base.files.json("generation_config.json")
    return locate(info["base"]).json("generation_config.json") if "base" in info else {}
