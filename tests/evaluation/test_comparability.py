"""Figures that were measured differently refuse to be compared, and name what differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import Incomparable
from miaobi.evaluation import Score
from miaobi.evaluation.comparability import beyond_noise, require_comparable
from miaobi.evaluation.metrics._base import MUST_MATCH
from miaobi.evaluation.records import Protocol

PROTOCOL: dict[str, Any] = {
    "metric": "kernel_distance",
    "figure": "kernel_distance",
    "direction": "lower",
    "data": "abc",
    "split": "test",
    "samples": 100,
    "conditions": ["title"],
    "modality": {"name": "image", "size": [8, 8]},
    "preprocessing": "flattened",
    "extractor": "pixels",
    "extractor_hash": "0123",
    "unit": "squares",
    "signature": "v1",
    "options": {},
    "seed": 3,
}
OTHERS: dict[str, Any] = {
    "metric": "frechet_distance",
    "samples": 99,
    "conditions": ["label"],
    "modality": {"name": "image", "size": [16, 16]},
    "supplied": {"title": "held out"},
    "tokenizer_bound": True,
    "options": {"neighbours": 5},
}


def score(value: float = 1.0, interval: tuple[float, float] | None = None, **changes: Any) -> Score:
    return Score(value, interval, 0.0, Protocol(**{**PROTOCOL, **changes}))  # type: ignore[typeddict-item]


def without(key: str) -> Score:
    return replace(score(), protocol=Protocol(**{k: v for k, v in PROTOCOL.items() if k != key}))  # type: ignore[typeddict-item]


@given(st.sampled_from(sorted(MUST_MATCH)), st.booleans())
def test_any_difference_that_matters_is_named(field: str, turned: bool) -> None:
    pair = [score(), score(**{field: OTHERS.get(field, "something else")})]
    with pytest.raises(Incomparable) as found:
        require_comparable(*(reversed(pair) if turned else pair))
    assert found.value.field.partition(".")[0] == field
    assert found.value.field in str(found.value)
    assert found.value.left != found.value.right


@given(st.sampled_from(sorted(MUST_MATCH & PROTOCOL.keys())))
def test_what_only_one_says_differs(field: str) -> None:
    with pytest.raises(Incomparable) as found:
        require_comparable(score(), without(field))
    assert found.value.field.partition(".")[0] == field or not PROTOCOL[field]


@given(
    st.sampled_from(["seed", "controls", "versions", "interval_method", "floor_samples", "requested"]), st.integers()
)
def test_other_differences_do_not_matter(field: str, value: int) -> None:
    require_comparable(score(), score(**{field: value}))


def test_a_difference_inside_is_named_with_both_values() -> None:
    with pytest.raises(Incomparable, match=r"modality\.size.*\[8, 8\] and \[16, 16\]"):
        require_comparable(score(), score(modality=OTHERS["modality"]))


def test_tokenizers_matter_only_to_figures_that_are_bound_to_them() -> None:
    text = [{"name": "text", "tokenizer": name, "max_length": 9} for name in ("bpe", "character")]
    require_comparable(score(modality=text[0]), score(modality=text[1]))
    with pytest.raises(Incomparable, match=r"modality\.tokenizer"):
        require_comparable(*(score(modality=one, tokenizer_bound=True) for one in text))
    with pytest.raises(Incomparable, match=r"modality\.max_length"):
        require_comparable(score(modality=text[0]), score(modality={**text[0], "max_length": 10}))


@pytest.mark.parametrize(("direction", "expected"), [("lower", True), ("higher", False), ("neither", False)])
def test_beyond_noise_is_where_intervals_do_not_overlap(direction: str, expected: bool) -> None:
    low, high = score(1, (0.5, 1.5), direction=direction), score(3, (1.6, 4), direction=direction)
    assert beyond_noise(low, high) is expected
    assert beyond_noise(high, low) is (direction == "higher")
    touching = score(3, (1.4, 4), direction=direction)
    assert not beyond_noise(low, touching)
    assert not beyond_noise(touching, low)
    assert not beyond_noise(low, score(99, None, direction=direction))


def test_what_does_not_compare_is_never_better() -> None:
    with pytest.raises(Incomparable, match="data"):
        beyond_noise(score(1, (0, 2)), score(9, (8, 10), data="other"))
