"""Dialogues in the rows of a table: the columns of each format, and what a row of it says.

``messages`` is OpenAI's, ``sharegpt`` that of ShareGPT's dumps, ``alpaca`` that of Taori et al. 2023, "Stanford
Alpaca".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from miaobi.errors import DataError, InvalidRecipe, UnreadableItem

Format = Literal["messages", "alpaca", "sharegpt", "plain"]
_NEEDED: dict[Format, tuple[tuple[str, ...], ...]] = {
    "messages": (("messages",),),
    "sharegpt": (("conversations",),),
    "alpaca": (("instruction",), ("output",)),
    "plain": (("prompt",), ("completion", "response")),
}
"""The columns of each format, each with its other names."""
_ALSO: dict[Format, tuple[str, ...]] = {
    "messages": (),
    "sharegpt": ("system",),
    "alpaca": ("input", "system"),
    "plain": (),
}
_LISTS: tuple[Format, ...] = ("messages", "sharegpt")
_SHAREGPT = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def columns_of(form: Format | None, columns: Sequence[str], content: str | None) -> tuple[str, ...]:
    """The columns that a dialogue is read from.

    Args:
        form: ``None``: the first that the columns have.
        columns: of the source.
        content: the column of a list of messages, where it is called otherwise.

    Raises:
        InvalidRecipe: a ``content`` for a format of several columns.
        DataError: no format's columns are there.
    """
    if content is not None:
        if form is not None and form not in _LISTS:
            raise InvalidRecipe(
                f"the format {form} has columns of its own", given=f"data.content: {content}", cure="leave it out"
            )
        return (content,)
    for known in (form,) if form else _NEEDED:
        found = [next((name for name in names if name in columns), None) for names in _NEEDED[known]]
        if None not in found:
            return tuple(name for name in (*found, *_ALSO[known]) if name is not None and name in columns)
    raise DataError(
        "the table has no columns of dialogues" + (f" of the format {form}" if form else ""),
        given=list(columns),
        allowed=[f"{known}: {' and '.join(names[0] for names in needed)}" for known, needed in _NEEDED.items()],
        cure="rename the columns, or name the one with the messages in data.content",
    )


def messages_of(row: Mapping[str, Any]) -> Any:
    """What a row of `columns_of` says as ``[{role, content}]``; checked by `read_messages`.

    Raises:
        UnreadableItem: a column that is empty, or no JSON.
    """
    for known in ("alpaca", "plain"):
        asked, told = (next((name for name in names if name in row), None) for names in _NEEDED[known])
        if asked and told:
            return _exchange(row, asked, told)
    name = next(name for name in row if name != "system")
    found = _parsed(row[name], name)
    if not isinstance(found, Sequence) or not all(isinstance(one, dict) for one in found):
        return found
    return [*_system(row, found), *(_renamed(one) for one in found)]


def _exchange(row: Mapping[str, Any], asked: str, told: str) -> list[dict[str, Any]]:
    more = row.get("input")
    question = _text(row, asked) + (f"\n\n{more}" if isinstance(more, str) and more.strip() else "")
    answer = {"role": "assistant", "content": _text(row, told)}
    return [*_system(row, ()), {"role": "user", "content": question}, answer]


def _system(row: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The system column as a message, unless the messages begin with one."""
    said = row.get("system")
    begun = bool(messages) and "system" in (messages[0].get("role"), messages[0].get("from"))
    return [{"role": "system", "content": said}] if isinstance(said, str) and said.strip() and not begun else []


def _renamed(message: Mapping[str, Any]) -> Any:
    if not {"from", "value"} <= message.keys() or "role" in message:
        return message
    return {"role": _SHAREGPT.get(str(message["from"]), message["from"]), "content": message["value"]}


def _text(row: Mapping[str, Any], name: str) -> str:
    found = row[name]
    if not isinstance(found, str) or not found.strip():
        raise UnreadableItem(
            f"nothing in the column {name}" if found in (None, "") else f"no text in the column {name}"
        )
    return found


def _parsed(found: Any, name: str) -> Any:
    """A list of messages; as JSON where a table has text only."""
    if found is None or found == "":
        raise UnreadableItem(f"nothing in the column {name}")
    if not isinstance(found, str):
        return found
    try:
        return json.loads(found)
    except (ValueError, RecursionError) as error:
        raise UnreadableItem(f"the column {name} is not JSON: {error}") from None
