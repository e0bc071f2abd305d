"""Which figures compare: those that were measured the same way; and whether one is beyond the noise of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miaobi import modalities
from miaobi.errors import Incomparable, UnknownName
from miaobi.evaluation import metrics
from miaobi.evaluation.metrics._base import MUST_MATCH
from miaobi.evaluation.records import Direction, Score


def require_comparable(left: Score, right: Score) -> None:
    """Refuse to compare figures that differ in anything that their metric's ``must_match`` names.

    Raises:
        Incomparable: naming the field, and its value in both.
    """
    for field in sorted(_must_match(left) | _must_match(right)):
        values = [_of(score, field, bound=_bound(left) or _bound(right)) for score in (left, right)]
        if values[0] != values[1]:
            raise Incomparable(*_narrowed(field, *values))


def beyond_noise(left: Score, right: Score) -> bool:
    """Whether ``left`` is better than ``right`` by more than their 95 % intervals: both are known and do not overlap.

    Overlapping intervals are called a tie even where a paired test could tell the two apart: the error is on the side
    of saying too little. Never for a figure that is better neither higher nor lower.

    Raises:
        Incomparable: as `require_comparable`.
    """
    require_comparable(left, right)
    if left.interval is None or right.interval is None:
        return False
    if Direction(left.protocol["direction"]) is Direction.LOWER:
        return left.interval[1] < right.interval[0]
    return Direction(left.protocol["direction"]) is Direction.HIGHER and left.interval[0] > right.interval[1]


def _must_match(score: Score) -> frozenset[str]:
    try:
        return metrics.find(score.protocol.get("metric", "")).must_match
    except UnknownName:
        return MUST_MATCH


def _bound(score: Score) -> bool:
    return bool(score.protocol.get("tokenizer_bound"))


def _of(score: Score, field: str, *, bound: bool) -> Any:
    value = score.protocol.get(field)
    if field == "tokenizer_bound":
        return bool(value)
    if field != "modality" or not isinstance(value, Mapping) or bound:
        return value
    try:
        spelling = modalities.find(str(value.get("name"))).spelling
    except UnknownName:
        return value
    return {key: inner for key, inner in value.items() if key not in spelling}


def _narrowed(field: str, left: Any, right: Any) -> tuple[str, Any, Any]:
    """The first key in which two mappings differ, as ``field.key``; else the field itself."""
    if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
        return field, left, right
    key = min(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    return f"{field}.{key}", left.get(key), right.get(key)
