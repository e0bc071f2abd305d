"""Public models: what a recipe that starts from one leaves open, and one as it was published, to generate with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from miaobi import families, modalities, plugins, pretrained
from miaobi.errors import Unsupported
from miaobi.families import Family
from miaobi.families.seq2seq import Seq2Seq
from miaobi.modalities import Modality
from miaobi.modalities._subwords import Subwords
from miaobi.models.construct import construct
from miaobi.models.model import Model
from miaobi.models.public_readers import kind_for, open_reader, reader_section
from miaobi.models.starting import Started
from miaobi.networks import Network
from miaobi.networks._cpu import fast_bfloat16
from miaobi.pretrained import Base, PublicFiles, open_base
from miaobi.pretrained._adapters import virtual_count
from miaobi.pretrained._base import Kind
from miaobi.pretrained._held import Held
from miaobi.pretrained._native import shape_of, weights_of
from miaobi.pretrained._pipelines import PROMPT, Pipeline, open_pipeline, spec_of
from miaobi.prompting import Prompt, make_template
from miaobi.recipe import ConditionSettings, Plugin, Recipe, plugin_name, plugin_options

_MOST_PROMPT = 4096
"""Bytes of a pipeline's prompt; how much of it a pipeline reads is its own affair."""
_TABLES = ("embed_tokens.weight", "lm_head.weight")
"""The Transformer's matrices with a row a token."""
_CUT = ("text", "chat")
"""Modalities whose items a public model's tokenizer cuts."""
LONGEST = 512
"""Tokens that a public model writes at most where nothing else is said."""


def adopt(recipe: Recipe) -> Recipe:
    """A recipe that starts from a public model, with what that decides: tokenizer, network and the revision.

    Other recipes come back as they are.

    Raises:
        Unsupported: the model is of another kind than the family needs.
        RequestError, RunFailed: as for `miaobi.pretrained.open_base`.
    """
    start = recipe.model.start
    if start is None or not pretrained.is_public(start):
        return recipe
    base = open_base(start, kind_for(recipe.model.family, start))
    data = recipe.data
    if plugin_name(recipe.modality) not in _CUT:
        told = {name: _told(section, base) for name, section in data.condition.items()}
        data = data.model_copy(update={"condition": told})
    options = {"condition_drop": 0.0, **recipe.model.options}
    network = _network_section(base, recipe.model.network, families.find(recipe.model.family).learns)
    # Written down, so that a run that starts from this one words its conditions alike; what reads has no words around.
    prompt = recipe.model.prompt or ({} if base.kind is Kind.CAUSAL else None)
    changed = {"start": base.reference, "options": options, "network": network, "prompt": prompt}
    model = recipe.model.model_copy(update=changed)
    return recipe.model_copy(update={"modality": _cut(recipe.modality, base), "data": data, "model": model})


def worded(recipe: Recipe, modalities: Mapping[str, Modality]) -> Recipe:
    """A recipe whose prompt has become the family's template.

    Args:
        recipe: with ``model.prompt``, or with a public model to start from.
        modalities: the fitted modality of the target, under ``target``, and of each condition.

    Raises:
        Unsupported: a prompt for a model whose tokenizer nobody published, or for another family.
        InvalidRecipe: a prompt that cannot be used.
    """
    start = recipe.model.start
    public = start is not None and pretrained.is_public(start)
    if recipe.model.prompt is None and not public:
        return recipe
    family = families.find(recipe.model.family)
    if "template" not in family.Config.model_fields or issubclass(family, Seq2Seq):
        if recipe.model.prompt is None:
            return recipe
        raise Unsupported("model.prompt is for families that write after a prompt", given=recipe.model.family)
    target = modalities["target"]
    cutting = (one.tokenizer for one in modalities.values())
    tokenizer = next((one for one in cutting if one is not None), None)
    if not isinstance(tokenizer, Subwords):
        raise Unsupported(
            "a prompt is made of sub-words",
            given=type(tokenizer).__name__,
            cure="leave model.prompt out, or give modality.tokenizer: bpe or a published one",
        )
    conditions = {name: other for name, other in modalities.items() if name != "target"}
    reference = start if public else recipe.model.network.get("base")
    context = None if reference is None else open_base(reference, Kind.CAUSAL).context
    if context is not None:
        context -= virtual_count(recipe.model.network.get("adapter"))
    prompt = Prompt.parse(recipe.model.prompt, "model.prompt")
    template = make_template(prompt, tokenizer, target, conditions, context)
    options = {**recipe.model.options, "template": template.to_json()}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"options": options})})


@torch.no_grad()
def start_from_public(family: Family, reference: str, modalities: Mapping[str, Modality]) -> Started:
    """Put a public model's weights into a freshly built family, whose network was made for them.

    Args:
        family: what starts.
        reference: of the public model.
        modalities: the fitted modality of the target, under ``target``, and of each condition.

    Raises:
        Unsupported: the tokenizer is not the model's own, or the network is another.
    """
    network = next(one for one in family.children() if isinstance(one, Network))
    base = open_base(reference, kind_for(plugins.name_of(type(family)), reference))
    _require_tokenizer(base, modalities)
    if getattr(network, "base", None) is not None:
        return Started(reference, tuple(sorted(base.tensors)), tuple(sorted(network.state_dict())))
    theirs = _renamed(network, base)
    fresh = tuple(name for name in network.state_dict() if name.startswith("output."))
    ours = {name: tensor for name, tensor in network.state_dict().items() if name not in fresh}
    for name, tensor in ours.items():
        if name not in theirs or tensor.shape[1:] != theirs[name].shape[1:]:
            raise Unsupported(
                "the network is not the public model's",
                given=f"no fitting {name} in {reference}",
                cure="leave model.network.name out",
            )
        if name not in _TABLES and tensor.shape != theirs[name].shape:
            raise Unsupported(
                "the network has another shape than the public model",
                given=f"{name}: {tuple(tensor.shape)}",
                allowed=f"{tuple(theirs[name].shape)}",
                cure="leave the network's options out but for dropout",
            )
        # Rows beyond the tokenizer's are nobody's tokens.
        tensor.copy_(theirs[name][: len(tensor)])
    left = tuple(sorted(theirs.keys() - ours.keys()))
    if lost := [name for name in left if name.startswith("layers.")]:
        raise Unsupported(
            "the network has fewer layers than the public model",
            given=f"no {lost[0]}",
            cure="leave the network's options out but for dropout",
        )
    return Started(reference, tuple(sorted(ours)), fresh, left)


def open_public(reference: str) -> Model:
    """A public model as it was published, to generate with.

    Raises:
        RequestError, RunFailed: as for `miaobi.pretrained.open_base`.
    """
    files = pretrained.locate(reference)
    if files.pipeline:
        return _open_pipeline(files)
    kind = kind_for(None, reference)
    if kind is not Kind.CAUSAL:
        return open_reader(reference, kind, adopt, start_from_public)
    base = open_base(reference, Kind.CAUSAL)
    # Beside the text stand a begin and an end.
    longest = LONGEST if base.context is None else min(LONGEST, base.context - 2)
    recipe = adopt(
        Recipe.parse(
            {
                "modality": {"name": "text", "max_length": longest},
                "data": {"source": "."},
                "model": {"family": "autoregressive", "start": reference},
            }
        )
    )
    text = modalities.create(recipe.modality)
    text.fit(["a"])
    tokenizer = text.tokenizer
    begin = ((tokenizer.begin,),) if isinstance(tokenizer, Subwords) and tokenizer.begins else ()
    template = {"pieces": begin, "end": tokenizer.end if tokenizer is not None else None, "context": base.context}
    options = {**recipe.model.options, "template": template}
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"options": options})})
    family = construct(recipe, text.spec, {}, {})
    start_from_public(family, reference, {"target": text})
    family.precision = torch.bfloat16 if fast_bfloat16() else torch.float32
    info = {"base": base.reference, "sha256": base.sha256, "licence": base.files.licence}
    return Model(family.eval(), text, info=info)


def _open_pipeline(files: PublicFiles) -> Model:
    """A pipeline of images that is told a prompt."""
    loaded = open_pipeline(files)
    target = spec_of(loaded)
    image = modalities.create({"name": "image", "size": list(target.space), "mode": "RGB"})
    image.fit([np.zeros((*target.space, 3), dtype=np.uint8)])
    text = modalities.create({"name": "text", "tokenizer": "bpe", "max_length": _MOST_PROMPT})
    text.fit(["a prompt"])
    family = Pipeline(loaded, Pipeline.Config(reference=files.reference), target, text)
    info = {"base": files.reference, "sha256": files.sha256(), "licence": files.licence}
    return Model(family.eval(), image, {PROMPT: text}, info)


def _cut(modality: Plugin, base: Base) -> Plugin:
    """The section of a text or a dialogue with the model's tokenizer, unless it names one."""
    name = plugin_name(modality)
    if name not in _CUT or "tokenizer" in plugin_options(modality):
        return modality
    return {"name": name, **plugin_options(modality), "tokenizer": base.reference}


def _told(section: ConditionSettings, base: Base) -> ConditionSettings:
    if section.view is not None:
        return section
    return section.model_copy(update={"modality": _cut(section.modality, base)})


def _network_section(base: Base, given: Mapping[str, Any], learns: bool) -> dict[str, Any]:
    """The network that the public model is, or goes into; one that is not trained is only referred to."""
    if base.kind is not Kind.CAUSAL:
        return reader_section(base, given)
    said = dict(given)
    name = said.pop("name", None)
    shape = shape_of(base.config)
    if said.get("adapter") is not None or not learns:
        return {"name": name or "pretrained_decoder", "base": base.reference, "sha256": base.sha256, **said}
    said.pop("adapter", None)
    if name == "transformer" or (name is None and shape is not None):
        if shape is None:
            raise Unsupported(
                "the public model is no Llama or Qwen3, which the network transformer could hold",
                given=f"{base.config.model_type} ({base.reference})",
                cure="leave model.network.name out",
            )
        return {"name": "transformer", **shape, **said}
    architecture = {key: value for key, value in base.config.to_dict().items() if key != "quantization_config"}
    return {"name": name or "pretrained_decoder", "base": base.reference, "architecture": architecture, **said}


def _renamed(network: Network, base: Base) -> dict[str, torch.Tensor]:
    if isinstance(network, Held):
        return {f"trained.{name}": tensor for name, tensor in base.tensors.items()}
    return weights_of(base.tensors)


def _require_tokenizer(base: Base, given: Mapping[str, Modality]) -> None:
    """Refuse another tokenizer than the model's own: its numbers would mean other words."""
    own = modalities.create({"name": "text", "tokenizer": base.reference, "max_length": 1})
    own.fit(["a"])
    mine = next((one.tokenizer for one in given.values() if one.tokenizer is not None), None)
    if not isinstance(mine, Subwords) or not isinstance(own.tokenizer, Subwords) or not mine.same_as(own.tokenizer):
        raise Unsupported(
            "the tokenizer is not the public model's own, whose numbers stand for other words",
            given=f"{type(mine).__name__} of {mine.size if mine else 0:,} tokens",
            allowed=base.reference,
            cure="leave modality.tokenizer out, which takes the model's",
        )
