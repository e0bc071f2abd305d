"""The tokens that networks are fed, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from miaobi.evaluation.understanding._pictures import Word
from miaobi.families._frame import Frame
from miaobi.families._layout import Layout
from miaobi.modalities import Modality
from miaobi.models import Model
from miaobi.types import Form

Speller = Callable[[int], Word]
"""A token of a network as a word."""


def spelled(speller: Speller, tokens: Sequence[int]) -> list[Word]:
    """Words, a token each; an empty one shows as a dot."""
    words = [speller(token) for token in tokens]
    return [word if word.text else Word("·", word.special) for word in words]


def of_modality(modality: Modality) -> Speller:
    """Of what a modality encodes."""
    return lambda token: Word(modality.spell(token))


def of_family(model: Model, source: Any = None) -> Speller:
    """Of what a family's network is fed: the target's tokens (or those of the condition ``source``) and its own.

    Specials are named: the begin and end of an item, a condition's opening, what masks a token.
    """
    family = model.family
    if source is not None:
        return _framed(of_modality(model.conditions[source]), family.conditions[source].vocabulary)
    plain = of_modality(model.modality)
    layout = getattr(family, "layout", None)
    if isinstance(layout, Layout):
        return _laid_out(model, layout, plain)
    return _framed(plain, family.target.vocabulary)


def _framed(plain: Speller, vocabulary: int) -> Speller:
    frame = Frame(vocabulary)
    own = {frame.mask: "⟨mask⟩", frame.mask + 1: "⟨start⟩", frame.mask + 2: "⟨end⟩"}
    return lambda token: Word(own[token], special=True) if token in own else plain(token)


def _laid_out(model: Model, layout: Layout, plain: Speller) -> Speller:
    own = {layout.end: "⟨end⟩", layout.begin: "⟨begin⟩"}
    for name, slot in layout.slots.items():
        own |= {slot.opening: f"⟨{name}⟩", slot.null: f"⟨no {name}⟩"}

    def word(token: int) -> Word:
        if token in own:
            return Word(own[token], special=True)
        if token < layout.target.vocabulary:
            return plain(token)
        for name, slot in layout.slots.items():
            spec = layout.conditions[name]
            if slot.offset and slot.offset <= token < slot.offset + spec.vocabulary:
                modality, number = model.conditions[name], token - slot.offset
                return (
                    Word(str(modality.decode(np.array(number))))
                    if spec.form is Form.LABEL
                    else Word(modality.spell(number))
                )
        return Word(f"⟨{token}⟩", special=True)

    return word
