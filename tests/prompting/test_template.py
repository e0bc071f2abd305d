"""Templates with fields: every value is checked, and an error names the field, what was given and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.prompting.template import PromptTemplate

FIELDS: dict[str, Any] = {
    "topic": {"max_length": 10},
    "lines": {"type": "number", "default": 4},
    "mood": {"type": "choice", "choices": ["glad", "sad"], "default": "glad"},
    "words": {"type": "list", "required": False, "max_length": 2},
    "rhyme": {"type": "flag", "required": False},
}
TEXT = "{{ lines }} {{ mood }} lines on {{ topic }}{% for w in words %} +{{ w }}{% endfor %}{% if rhyme %}!{% endif %}"


def made(**changes: Any) -> PromptTemplate:
    return PromptTemplate.parse({"text": TEXT, "fields": FIELDS, **changes})


def test_what_is_given_takes_its_place() -> None:
    assert made().fill({"topic": "rain"}) == "4 glad lines on rain"
    given = {"topic": "{{ x }}", "lines": "2.5", "mood": "sad", "words": "a, b", "rhyme": "yes"}
    assert made().fill(given) == "2.5 sad lines on {{ x }} +a +b!"
    assert made().fill({"topic": "a", "lines": 3, "words": ["c"], "rhyme": False}) == "3 glad lines on a +c"


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("topic", "much too long", "10 characters"),
        ("topic", 3, "10 characters"),
        ("lines", "many", "finite number"),
        ("lines", "nan", "finite number"),
        ("lines", "1e300", "finite number"),
        ("lines", "9" * 100, "finite number"),
        ("lines", True, "finite number"),
        ("mood", "angry", "glad, sad"),
        ("mood", ["glad"], "glad, sad"),
        ("words", "a,b,c", "2 items"),
        ("words", [["a"]], "2 items"),
        ("rhyme", "perhaps", "true or false"),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_allowed(name: str, given: Any, allowed: str) -> None:
    with pytest.raises(InvalidRecipe) as refused:
        made().fill({"topic": "a", name: given})
    assert f"the field {name}" in refused.value.message
    assert allowed in refused.value.message


def test_missing_and_unknown_fields_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="the field topic is missing"):
        made().fill({})
    with pytest.raises(UnknownName, match="topic"):
        made().fill({"topik": "a"})


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "{{ other }}"},
        {"text": "nothing"},
        {"text": "{% for %}"},
        {"fields": {**FIELDS, "mood": {"type": "choice"}}},
        {"fields": {**FIELDS, "lines": {"type": "number", "default": "many"}}},
        {"fields": {**FIELDS, "topic": {"type": "colour"}}},
    ],
)
def test_a_template_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecipe):
        made(**changes)


def test_it_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "poem.yaml"
    path.write_text("text: 'On {{ topic }}'\nfields: {topic: {}}\n", encoding="utf-8")
    assert PromptTemplate.load(path).fill({"topic": "rain"}) == "On rain"
    for wrong in ("[1]", "a: [", "text: '{{ a }}'"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(InvalidRecipe):
            PromptTemplate.load(path)
    with pytest.raises(InvalidRecipe, match="cannot be read"):
        PromptTemplate.load(tmp_path / "none.yaml")
