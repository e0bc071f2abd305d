"""Public models that read: which of them serves a family, what network holds it, and one as it was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from miaobi import families, modalities
from miaobi.errors import Unsupported
from miaobi.families import Family
from miaobi.families._reading import ReadingFamily
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.masked_lm import MaskedLM
from miaobi.families.ranker import Ranker
from miaobi.families.seq2seq import Seq2Seq
from miaobi.modalities import Modality
from miaobi.models.construct import construct
from miaobi.models.model import Model
from miaobi.models.starting import Started
from miaobi.pretrained import Base, locate, open_base
from miaobi.pretrained._base import Kind
from miaobi.pretrained._special import special_of
from miaobi.pretrained.pretrained_encoder_decoder import longest_of
from miaobi.recipe import Recipe

LONGEST = 512
"""Tokens that a public model reads at most where nothing else is said."""
_SOURCE = "source"
"""What the text is called that an encoder-decoder reads as it was published."""
_FAMILY = {Kind.READING: "seq2seq", Kind.MASKED: "masked_lm", Kind.ENCODING: "masked_lm"}


_STARTING = (Autoregressive, MaskedLM, ReadingFamily, Ranker)
"""Families that a public model can be the network of, and those derived from them."""


def kind_for(family: str | None, reference: str) -> Kind:
    """What a public model is to do in a family; without one, what it was published for.

    Raises:
        Unsupported: the family cannot start from a public model.
        RequestError, RunFailed: as for `miaobi.pretrained.locate`.
    """
    found = None if family is None else families.find(family)
    if found is not None and not issubclass(found, _STARTING):
        raise Unsupported(
            f"the family {family} cannot start from a public model",
            allowed="autoregressive, seq2seq, masked_lm, classifier, regressor, ranker",
            cure="choose one of those",
        )
    heads = locate(reference).json("config.json")
    made = " ".join(map(str, heads.get("architectures") or ()))
    encoding = Kind.MASKED if "MaskedLM" in made or "PreTraining" in made else Kind.ENCODING
    if found is None:
        if heads.get("is_encoder_decoder"):
            return Kind.READING
        return Kind.CAUSAL if "CausalLM" in made or "LMHead" in made else encoding
    if issubclass(found, Seq2Seq):
        return Kind.READING
    if issubclass(found, Autoregressive):
        return Kind.CAUSAL
    return encoding if issubclass(found, MaskedLM) else Kind.ENCODING


def reader_section(base: Base, given: Mapping[str, Any]) -> dict[str, Any]:
    """The network section that holds a public model which reads, with its own special tokens."""
    special = special_of(base.files)
    made: dict[str, Any] = {"before": list(special.before), "after": list(special.after)}
    if base.kind is Kind.READING:
        made = {"name": "pretrained_encoder_decoder", **made, "start": list(_start(base, special.before))}
    else:
        made = {"name": "pretrained_encoder", **made, "mask": special.mask, "kind": base.kind.value}
    if given.get("adapter") is not None:
        return {**made, "base": base.reference, "sha256": base.sha256, **given}
    architecture = {key: value for key, value in base.config.to_dict().items() if key != "quantization_config"}
    return {**made, "base": base.reference, "architecture": architecture, **given}


def open_reader(
    reference: str,
    kind: Kind,
    adopt: Callable[[Recipe], Recipe],
    start: Callable[[Family, str, Mapping[str, Modality]], Started],
) -> Model:
    """A public model that reads as it was published: to write from ``source``, or to fill in and to embed texts.

    Args:
        reference: of the model.
        kind: what it does.
        adopt: gives a recipe what the model decides.
        start: puts the model's weights into a family.
    """
    base = open_base(reference, kind)
    longest = min(LONGEST, longest_of(base.config) or LONGEST) - _AROUND
    told = {_SOURCE: {"modality": "text"}} if kind is Kind.READING else {}
    recipe = adopt(
        Recipe.parse(
            {
                "modality": {"name": "text", "max_length": longest},
                "data": {"source": ".", "condition": told},
                "model": {"family": _FAMILY[kind], "start": reference},
            }
        )
    )
    text = modalities.create(recipe.modality)
    text.fit(["a"])
    family = construct(recipe, text.spec, {name: replace(text.spec, shared=True) for name in told}, {})
    start(family, reference, {"target": text})
    info = {"base": base.reference, "sha256": base.sha256, "licence": base.files.licence}
    return Model(family.eval(), text, dict.fromkeys(told, text), info=info)


_AROUND = 4
"""Special tokens around a text, at most."""


def _start(base: Base, before: tuple[int, ...]) -> tuple[int, ...]:
    """What an encoder-decoder was taught to begin to write after."""
    config, forced = base.config, getattr(base.config, "forced_bos_token_id", None)
    first = getattr(config, "decoder_start_token_id", None)
    if first is None:
        first = config.bos_token_id if config.bos_token_id is not None else config.pad_token_id
    return (first or 0, *(before if forced is None else (forced,)))
