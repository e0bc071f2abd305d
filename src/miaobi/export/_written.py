"""How conditions and prompts are written as text, for whoever writes them without this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Engine

from miaobi.families._layout import Layout
from miaobi.families._template import Templated
from miaobi.modalities import Modality
from miaobi.modalities.label import Label
from miaobi.types import Form


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


def describe_place(layout: Templated, modality: Modality, name: str, engine: Engine) -> dict[str, Any]:
    """The same of a condition in a template, whose words stand around it: a label is one of some texts."""
    told: dict[str, Any] = {"opening": "", "absent": ""}
    if layout.conditions[name].form is not Form.LABEL:
        return told | {"value": "text"}
    classes = enumerate(layout.template.labels[name])
    texts = {_spelt(engine, tokens): _says(modality, value) for value, tokens in classes}
    return told | {"value": "one text", "tokens": texts}


def prompt_of(conditions: Mapping[str, Mapping[str, Any]], begin: str) -> str:
    """How a prompt is written, with what is to be filled in in braces."""
    written = (f"{told['opening']}{{{name}}}" for name, told in conditions.items())
    return f"{''.join(written)}{begin}{{text}}"


def template_prompt(layout: Templated, engine: Engine) -> str:
    """The same of a template."""
    pieces = (f"{{{piece}}}" if isinstance(piece, str) else _spelt(engine, piece) for piece in layout.opened)
    return f"{''.join(pieces)}{{text}}"


def special_names(layout: Layout, conditions: Mapping[str, Modality], engine: Engine) -> dict[int, str]:
    """A name for each token that the layout adds behind the vocabulary, by id."""
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


def _spelt(engine: Engine, tokens: Sequence[int]) -> str:
    return str(engine.decode(list(tokens), skip_special_tokens=False))


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
