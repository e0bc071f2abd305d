"""How a recipe words what a public model is asked, and the tokens that this becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field as Value

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._template import Template
from miaobi.modalities import Modality
from miaobi.modalities._subwords import Subwords
from miaobi.prompting.chat import Message, render_chat
from miaobi.prompting.sandbox import fields_of, render
from miaobi.types import Form, Settings

_ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n{system}\n\n### Input:\n{user}"
    "\n\n### Response:\n"
)
"""Taori et al. 2023, "Stanford Alpaca"."""
_SLOT = re.compile("\ue000(\\d+)\ue001")
"""Where a field stands while a template is rendered: private-use characters, which no template has."""


class Prompt(Settings):
    """``model.prompt``: what stands around the conditions.

    ``chat`` uses the template that the model's publisher gave; ``alpaca`` the one of that data set; ``plain`` has no
    words but these.
    """

    format: Literal["chat", "alpaca", "plain"] | None = Value(
        None, description="default: chat where the model has a template for it, else plain"
    )
    system: str | None = Value(None, description="what the model is, or is to do")
    user: str | None = Value(
        None, description="Jinja: {{ NAME }} is a condition's text; default: the conditions, one a line"
    )
    answer: str = Value("", description="how every answer begins")


def make_template(
    prompt: Prompt, tokenizer: Subwords, conditions: Mapping[str, Modality], context: int | None
) -> Template:
    """The tokens of a prompt, with the conditions' places in them.

    Args:
        prompt: as the recipe has it.
        tokenizer: of the target.
        conditions: the fitted modality of each.
        context: the longest sequence that the network was made for.

    Raises:
        InvalidRecipe: a template that cannot be used, or that names a field that is no condition.
        Unsupported: a condition that is neither text nor a label.
    """
    names = sorted(conditions)
    for name, modality in conditions.items():
        if modality.form is Form.TENSOR:
            raise Unsupported(f"a prompt has no place for the tensor {name!r}", cure="give it as text or as a label")
    text = _worded(prompt, names, tokenizer)
    pieces = _pieces(text, names, tokenizer)
    if tokenizer.begin is not None and (tokenizer.begins or not pieces):
        pieces = [(tokenizer.begin,), *pieces]
    labels = {
        name: _classes(modality, tokenizer) for name, modality in conditions.items() if modality.form is Form.LABEL
    }
    end = turn_end(tokenizer) if _format(prompt, tokenizer, names) == "chat" else tokenizer.end
    return Template(pieces=tuple(pieces), labels=labels, end=end, context=context)


def dialogue_tokens(tokenizer: Subwords, messages: Sequence[Message], *, answer: bool = True) -> np.ndarray:
    """``int64 [L]``: a dialogue up to where the next answer begins; what people wrote stays plain text.

    Raises:
        InvalidRecipe: the model's template cannot be used.
    """
    names = [str(number) for number in range(len(messages))]
    marked = [Message(one.role, _slot(number)) for number, one in enumerate(messages)]
    rendered = render_chat(tokenizer.chat_template, marked, answer=answer)
    told = {name: tokenizer.encode(one.content) for name, one in zip(names, messages, strict=True)}
    begin = [np.array([tokenizer.begin])] if tokenizer.begins else []
    found = [told[p] if isinstance(p, str) else np.array(p) for p in _pieces(rendered, names, tokenizer)]
    return np.concatenate([*begin, *found]).astype(np.int64)


def _format(prompt: Prompt, tokenizer: Subwords, names: Sequence[str]) -> str:
    if prompt.format is not None:
        return prompt.format
    worded = bool(names) or prompt.user is not None
    return "chat" if worded and tokenizer.chat_template is not None else "plain"


def _worded(prompt: Prompt, names: Sequence[str], tokenizer: Subwords) -> str:
    """The whole prompt as text, with a slot for each condition."""
    user = "\n".join(f"{{{{ {_variable(name)} }}}}" for name in names) if prompt.user is None else prompt.user
    known = {_variable(name): _slot(number) for number, name in enumerate(names)}
    for field in fields_of(user) - known.keys():
        raise InvalidRecipe("model.prompt.user has a field that is no condition", given=field, allowed=known)
    asked = render(user, known)
    form = _format(prompt, tokenizer, names)
    if form == "plain":
        return "".join([f"{prompt.system}\n" if prompt.system else "", asked, prompt.answer])
    if form == "alpaca":
        return _ALPACA.format(system=prompt.system or "", user=asked) + prompt.answer
    said = [Message("system", prompt.system)] if prompt.system else []
    return render_chat(tokenizer.chat_template, [*said, Message("user", asked)], answer=True) + prompt.answer


def _pieces(text: str, names: Sequence[str], tokenizer: Subwords) -> list[tuple[int, ...] | str]:
    parts = _SLOT.split(text)
    made: list[tuple[int, ...] | str] = []
    for index, part in enumerate(parts):
        if index % 2:
            made.append(names[int(part)])
        elif part:
            made.append(tuple(tokenizer.encode_markup(part).tolist()))
    return made


def _classes(modality: Modality, tokenizer: Subwords) -> tuple[tuple[int, ...], ...]:
    shown = (str(modality.decode(np.array(index))) for index in range(modality.spec.vocabulary))
    return tuple(tuple(tokenizer.encode(text).tolist()) for text in shown)


def turn_end(tokenizer: Subwords) -> int | None:
    """The token that ends an assistant's turn: the first special one after its text."""
    said = [Message("user", _slot(0)), Message("assistant", _slot(1))]
    after = _SLOT.split(render_chat(tokenizer.chat_template, said, answer=False))[-1]
    special = set(tokenizer.special)
    return next((token for token in tokenizer.encode_markup(after).tolist() if token in special), tokenizer.end)


def _slot(number: int) -> str:
    return f"\ue000{number}\ue001"


def _variable(name: str) -> str:
    """A condition's name as Jinja can say it."""
    return re.sub(r"\W", "_", name)
