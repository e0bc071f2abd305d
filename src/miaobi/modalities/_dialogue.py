"""Dialogues: their messages, read with every fault named, and what a publisher's template makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from miaobi.errors import DataError
from miaobi.modalities._sandbox import render
from miaobi.modalities._subwords import Subwords

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""OpenAI's ChatML, which many published models were taught; for one that brings no template of its own."""
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
SLOT = re.compile("\ue000(\\d+)\ue001")
"""Where a text stands while a template is rendered: private-use characters, which no template has."""


class Message(NamedTuple):
    """What one side says."""

    role: Role
    content: str


def read_messages(found: Any, where: str = "the dialogue") -> tuple[Message, ...]:
    """Messages from ``[{role, content}]``; users and assistants take turns, after at most one system message.

    Raises:
        DataError: naming ``where``, the message and what is wrong with it.
    """
    if not isinstance(found, Sequence) or isinstance(found, str | bytes) or not found:
        raise DataError(f"{where} has no messages", given=found, allowed="a list of {role, content}")
    made = tuple(_message(one, f"message {number} of {where}") for number, one in enumerate(found, 1))
    turns = [message.role for message in made if message.role != "system"]
    if any(message.role == "system" for message in made[1:]):
        raise DataError(f"{where}: a system message stands first or nowhere", given=[m.role for m in made])
    for number, role in enumerate(turns):
        if role != ROLES[1 + number % 2]:
            raise DataError(
                f"{where}: turn {number + 1} is of the {role}",
                given=turns,
                allowed="user and assistant in turn, the user first",
                cure="repair the roles of this dialogue",
            )
    if not turns:
        raise DataError(f"{where} has no turns", given=[m.role for m in made])
    return made


def render_chat(tokenizer: Subwords, messages: Sequence[Message], *, answer: bool) -> str:
    """The text of a dialogue, without a begin token; with ``answer``, up to where the assistant's next one begins.

    Raises:
        InvalidRecipe: the tokenizer's template cannot be used.
    """
    begin, end = ("" if one is None else tokenizer.spelled(one) for one in (tokenizer.begin, tokenizer.end))
    values = {
        "messages": [message._asdict() for message in messages],
        "add_generation_prompt": answer,
        "bos_token": begin,
        "eos_token": end,
        "tools": None,
    }
    # It says which tokens of an answer are learnt, which is known here without it.
    template = _GENERATION.sub("", tokenizer.chat_template or CHATML)
    text = render(template, values, lenient=True)
    # Where every text begins with that token, whoever lays the dialogue out puts it there.
    return text.removeprefix(begin) if tokenizer.begins else text


def dialogue_parts(
    tokenizer: Subwords, messages: Sequence[Message], *, answer: bool
) -> list[tuple[int | None, np.ndarray]]:
    """A dialogue as runs of tokens: each with the number of the message that it is the text of, or ``None``.

    What people wrote is text, whatever it spells.

    Raises:
        InvalidRecipe: the model's template cannot be used.
    """
    marked = [Message(one.role, slot(number)) for number, one in enumerate(messages)]
    parts = SLOT.split(render_chat(tokenizer, marked, answer=answer))
    return [
        (int(part), tokenizer.encode(messages[int(part)].content))
        if place % 2
        else (None, tokenizer.encode_markup(part))
        for place, part in enumerate(parts)
    ]


def dialogue_tokens(tokenizer: Subwords, messages: Sequence[Message], *, answer: bool = True) -> np.ndarray:
    """``int64 [L]``: a dialogue up to where the next answer begins, without a begin token; what people wrote is text.

    Raises:
        InvalidRecipe: the model's template cannot be used.
    """
    return np.concatenate([tokens for _, tokens in dialogue_parts(tokenizer, messages, answer=answer)])


def turn_end(tokenizer: Subwords) -> int | None:
    """The token that ends an assistant's turn: the first special one after its text."""
    said = [Message("user", slot(0)), Message("assistant", slot(1))]
    after = SLOT.split(render_chat(tokenizer, said, answer=False))[-1]
    special = set(tokenizer.special)
    return next((token for token in tokenizer.encode_markup(after).tolist() if token in special), tokenizer.end)


def slot(number: int) -> str:
    """What marks the place of text ``number``."""
    return f"\ue000{number}\ue001"


def _message(found: Any, where: str) -> Message:
    if not isinstance(found, dict) or not {"role", "content"} <= found.keys():
        raise DataError(f"{where} is no {{role, content}}", given=found)
    role, content = found["role"], found["content"]
    if role not in ROLES:
        raise DataError(f"{where} has an unknown role", given=role, allowed=ROLES)
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where} has no text", given=content)
    return Message(role, content)
