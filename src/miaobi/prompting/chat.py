"""Dialogues: their messages, read with every fault named, and the text that a publisher's template makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from miaobi.errors import DataError
from miaobi.prompting.sandbox import render

Role = Literal["system", "user", "assistant"]
ROLES = get_args(Role)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""OpenAI's ChatML, which many published models were taught; for one that brings no template of its own."""


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


def render_chat(template: str | None, messages: Sequence[Message], *, answer: bool) -> str:
    """The text of a dialogue; with ``answer``, up to where the assistant's next one begins.

    Raises:
        InvalidRecipe: the template cannot be used.
    """
    told = [message._asdict() for message in messages]
    values = {"messages": told, "add_generation_prompt": answer, "bos_token": "", "eos_token": "", "tools": None}
    return render(template or CHATML, values)


def _message(found: Any, where: str) -> Message:
    if not isinstance(found, dict) or not {"role", "content"} <= found.keys():
        raise DataError(f"{where} is no {{role, content}}", given=found)
    role, content = found["role"], found["content"]
    if role not in ROLES:
        raise DataError(f"{where} has an unknown role", given=role, allowed=ROLES)
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where} has no text", given=content)
    return Message(role, content)
