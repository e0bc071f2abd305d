"""Rows of the formats of dialogues: found by their columns, and read as the same messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miaobi.errors import DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities._dialogue_rows import columns_of, messages_of

HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
SYSTEM = {"role": "system", "content": "Be kind."}
SHARED = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": HI}, HI),
        ({"messages": json.dumps([SYSTEM, *HI])}, [SYSTEM, *HI]),
        ({"conversations": SHARED}, HI),
        ({"conversations": SHARED, "system": "Be kind."}, [SYSTEM, *HI]),
        ({"conversations": [{"from": "system", "value": "Be kind."}, *SHARED], "system": "Not this."}, [SYSTEM, *HI]),
        ({"instruction": "Hi", "output": "Hello."}, HI),
        ({"instruction": "Hi", "input": " ", "output": "Hello.", "system": None}, HI),
        ({"instruction": "Hi", "input": "there", "output": "Hello."}, [{**HI[0], "content": "Hi\n\nthere"}, HI[1]]),
        ({"prompt": "Hi", "completion": "Hello."}, HI),
        ({"prompt": "Hi", "response": "Hello."}, HI),
    ],
)
def test_every_format_says_the_same(row: dict[str, Any], messages: list[dict[str, str]]) -> None:
    columns = columns_of(None, ["id", *row, "topic"], None)
    assert set(columns) == set(row)
    assert messages_of({name: row[name] for name in columns}) == messages


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": None}, "nothing in the column messages"),
        ({"messages": "[{"}, "not JSON"),
        ({"instruction": "Hi", "output": " "}, "no text in the column output"),
        ({"prompt": None, "completion": "Hello."}, "nothing in the column prompt"),
        ({"prompt": 3, "completion": "Hello."}, "no text in the column prompt"),
    ],
)
def test_what_a_row_lacks_is_named(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnreadableItem, match=reason):
        messages_of(row)


def test_the_named_format_and_column_win() -> None:
    columns = ["messages", "prompt", "completion", "talk"]
    assert columns_of(None, columns, None) == ("messages",)
    assert columns_of("plain", columns, None) == ("prompt", "completion")
    assert columns_of(None, columns, "talk") == ("talk",)
    assert messages_of({"talk": SHARED}) == HI
    with pytest.raises(DataError, match="of the format alpaca"):
        columns_of("alpaca", columns, None)
    with pytest.raises(DataError, match=r"no columns of dialogues.*messages: messages"):
        columns_of(None, ["text"], None)
    with pytest.raises(InvalidRecipe, match="columns of its own"):
        columns_of("plain", columns, "talk")
