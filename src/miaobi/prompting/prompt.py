"""How a recipe words what a public model is asked, and the tokens that this becomes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field as Value

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._template import Template
from miaobi.modalities import Modality
from miaobi.modalities._dialogue import SLOT, Message, render_chat, slot, turn_end
from miaobi.modalities._sandbox import fields_of, render
from miaobi.modalities._subwords import Subwords
from miaobi.modalities.chat import Chat
from miaobi.types import Form, Settings

_ALPACA = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n"
)
"""Taori et al. 2023, "Stanford Alpaca": an instruction, with an input to it or without one."""
_ANSWER = "\ue002"
"""Where an answer stands."""


class Prompt(Settings):
    """``model.prompt``: what stands around the conditions.

    ``chat`` uses the template that the model's publisher gave; ``alpaca`` the one of that data set, in which ``system``
    is the instruction and ``user`` its input, or without a ``system`` the instruction itself; ``plain`` has no words
    but these.
    """

    format: Literal["chat", "alpaca", "plain"] | None = Value(
        None, description="default: chat where the model has a template for it, else plain"
    )
    system: str | None = Value(None, description="what the model is, or is to do")
    user: str | None = Value(
        None, description="Jinja: {{ NAME }} is a condition's text; default: the conditions, one a line"
    )
    answer: str = Value("", description="how every answer begins")
    classes: dict[str, str] = Value({}, description="of a target that is a label: a class in other words than its name")


def make_template(
    prompt: Prompt, tokenizer: Subwords, target: Modality, conditions: Mapping[str, Modality], context: int | None
) -> Template:
    """The tokens of a prompt, with the conditions' places in them.

    Args:
        prompt: as the recipe has it.
        tokenizer: of every text.
        target: what is asked for.
        conditions: the fitted modality of each.
        context: the longest sequence that the network was made for.

    Raises:
        InvalidRecipe: a template that cannot be used, or that names a field that is no condition.
        Unsupported: a condition that is neither text nor a label, or words around a dialogue.
    """
    if isinstance(target, Chat):
        return _dialogue(prompt, tokenizer, target, conditions, context)
    names = sorted(conditions)
    for name, modality in conditions.items():
        if modality.form is Form.TENSOR:
            raise Unsupported(f"a prompt has no place for the tensor {name!r}", cure="give it as text or as a label")
    form = _format(prompt, tokenizer, names)
    opening, turn, between = _worded(prompt, form, names, tokenizer)
    begin = tokenizer.begin
    opens = begin is not None and (tokenizer.begins or not (opening or turn))
    said = {name: _classes(other, tokenizer, {}) for name, other in conditions.items() if other.form is Form.LABEL}
    return Template(
        opening=(*((begin,) if opens and begin is not None else ()), *tokenizer.encode_markup(opening).tolist()),
        pieces=tuple(_pieces(turn, names, tokenizer)),
        between=tuple(tokenizer.encode_markup(between).tolist()),
        labels=said,
        answers=_classes(target, tokenizer, prompt.classes) if target.form is Form.LABEL else (),
        end=turn_end(tokenizer) if form == "chat" else tokenizer.end,
        context=context,
    )


def _dialogue(
    prompt: Prompt, tokenizer: Subwords, target: Chat, conditions: Mapping[str, Modality], context: int | None
) -> Template:
    """`make_template` of dialogues, which have their own words and nothing around them."""
    if conditions or prompt != Prompt():
        raise Unsupported(
            "a dialogue says everything itself",
            given=", ".join(["model.prompt", *conditions] if prompt != Prompt() else conditions),
            cure="leave data.condition and model.prompt out, and write what holds for a dialogue in its system message",
        )
    begin = (tokenizer.begin,) if tokenizer.begins and tokenizer.begin is not None else ()
    return Template(opening=begin, end=target.turns.end, context=context)


def _format(prompt: Prompt, tokenizer: Subwords, names: Sequence[str]) -> str:
    if prompt.format == "chat" and tokenizer.chat_template is None:
        raise InvalidRecipe(
            "the model's publisher gave no chat template",
            given="model.prompt.format: chat",
            allowed="plain, alpaca",
            cure="say plain, or start from a model that was tuned on dialogues",
        )
    if prompt.format is not None:
        return prompt.format
    worded = bool(names) or prompt.user is not None
    return "chat" if worded and tokenizer.chat_template is not None else "plain"


def _worded(prompt: Prompt, form: str, names: Sequence[str], tokenizer: Subwords) -> tuple[str, str, str]:
    """What opens a prompt, one item's turn with a slot for each condition, and what follows an answer, as text."""
    user = "\n".join(f"{{{{ {_variable(name)} }}}}" for name in names) if prompt.user is None else prompt.user
    known = {_variable(name): slot(number) for number, name in enumerate(names)}
    for field in fields_of(user) - known.keys():
        raise InvalidRecipe("model.prompt.user has a field that is no condition", given=field, allowed=known)
    asked = render(user, known)
    if form == "plain":
        return f"{prompt.system}\n" if prompt.system else "", asked + prompt.answer, "\n\n"
    if form == "alpaca":
        return "", _alpaca(prompt.system, asked) + prompt.answer, "\n\n"
    return _turns(prompt, asked, tokenizer)


def _alpaca(system: str | None, asked: str) -> str:
    if not system:
        return _ALPACA.format(paired="", instruction=asked, input="")
    paired = ", paired with an input that provides further context"
    return _ALPACA.format(paired=paired, instruction=system, input=f"### Input:\n{asked}\n\n")


def _turns(prompt: Prompt, asked: str, tokenizer: Subwords) -> tuple[str, str, str]:
    """`_worded` of the model's own template: two turns are written, and what both have in common is a turn."""
    said = [Message("system", prompt.system)] if prompt.system else []
    ask, told = Message("user", asked), Message("assistant", _ANSWER)
    first = render_chat(tokenizer, [*said, ask], answer=True)
    second = render_chat(tokenizer, [*said, ask, told, ask], answer=True).partition(_ANSWER)[2]
    pairs = zip(reversed(first), reversed(second), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    turn = first[len(first) - alike :]
    return first.removesuffix(turn), turn + prompt.answer, second.removesuffix(turn)


def _pieces(text: str, names: Sequence[str], tokenizer: Subwords) -> list[tuple[int, ...] | str]:
    parts = SLOT.split(text)
    made: list[tuple[int, ...] | str] = []
    for index, part in enumerate(parts):
        if index % 2:
            made.append(names[int(part)])
        elif part:
            made.append(tuple(tokenizer.encode_markup(part).tolist()))
    return made


def _classes(modality: Modality, tokenizer: Subwords, words: Mapping[str, str]) -> tuple[tuple[int, ...], ...]:
    names = [str(modality.decode(np.array(index))) for index in range(modality.spec.vocabulary)]
    if unknown := words.keys() - set(names):
        raise InvalidRecipe("model.prompt.classes names no class", given=sorted(unknown), allowed=names)
    return tuple(tuple(tokenizer.encode(words.get(name, name)).tolist()) for name in names)


def _variable(name: str) -> str:
    """A condition's name as Jinja can say it."""
    return re.sub(r"\W", "_", name)
