"""What the verbs share."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.cli._shared import pairs, table, values, write_json
from miaobi.errors import InvalidRecipe

NAMES = st.text(st.characters(exclude_characters="=", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.text(max_size=8), max_size=4))
def test_pairs_are_what_was_written(mapping: dict[str, str]) -> None:
    assert pairs([f"{key}={value}" for key, value in mapping.items()], "--condition") == mapping


@pytest.mark.parametrize("wrong", [["title"], ["=x"], ["a=1", "a=2"]])
def test_a_wrong_pair_is_refused(wrong: list[str]) -> None:
    with pytest.raises(InvalidRecipe, match="--condition"):
        pairs(wrong, "--condition")


def test_values_are_yaml_and_conditions_are_not() -> None:
    assert values(["temperature=0.8", "greedy=true", "stop=[1, 2]"], "--control") == {
        "temperature": 0.8,
        "greedy": True,
        "stop": [1, 2],
    }
    assert pairs(["title=0.8"], "--condition") == {"title": "0.8"}


def test_a_value_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="not YAML"):
        values(["temperature=[1"], "--control")


def test_json_has_null_for_what_is_not_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"a": float("inf"), "b": [1.5, float("nan")], "c": {"題": (1, 2)}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": {"題": [1, 2]}}


def test_columns_are_aligned() -> None:
    assert table([("a", 1, "x"), ("bbb", 22, "yy")]) == ["a    1   x", "bbb  22  yy"]
    assert table([]) == []
