"""What a section says over another: settings replaced one by one, as the recipe's schema reads them."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from miaobi.recipe import ModelSettings, Plugin
from miaobi.types import Settings

_UNKNOWN = None | object
"""The shape of a key that the schema does not have: whatever is there stays, so that parsing refuses it."""
_NETWORK = object()
"""The shape of ``model.network``: a plug-in, or one for each role."""


def overridden(old: Any, new: Any, shape: Any) -> Any:
    """``new`` over ``old``, key by key.

    A null is a value where the schema has nulls, and anywhere else takes away what is there, if anything is. A plug-in
    of another name takes no options of the old one.

    Args:
        old: plain values, or ``None``.
        new: plain values.
        shape: the type that the schema gives them.
    """
    if not isinstance(new, Mapping):
        return new
    merged = dict(_taken(old, new, shape))
    for key, value in new.items():
        inner = _inner(shape, key)
        if value is None and not _allows_none(inner):
            merged.pop(key, None)
        else:
            merged[key] = overridden(merged.get(key), value, inner)
    return merged


def _taken(old: Any, new: Mapping[str, Any], shape: Any) -> Mapping[str, Any]:
    """What ``new`` is laid over."""
    if _is_plugin(shape):
        old = {"name": old} if isinstance(old, str) else old
        if isinstance(old, Mapping) and isinstance(new.get("name"), str) and _differs(old.get("name"), new["name"]):
            return {}
    return old if isinstance(old, Mapping) else {}


def _differs(old: Any, new: str) -> bool:
    return str(old).replace("-", "_") != new.replace("-", "_")


def _inner(shape: Any, key: str) -> Any:
    """The shape of what is under ``key``."""
    if shape is _NETWORK:
        return Plugin
    for one in _choices(shape):
        if isinstance(one, type) and issubclass(one, Settings):
            if one is ModelSettings and key == "network":
                return _NETWORK
            return one.model_fields[key].annotation if key in one.model_fields else _UNKNOWN
        if get_origin(one) is dict:
            return get_args(one)[1]
    return Any


def _is_plugin(shape: Any) -> bool:
    return shape is _NETWORK or {str, dict[str, Any]} <= set(_choices(shape))


def _allows_none(shape: Any) -> bool:
    return NoneType in _choices(shape)


def _choices(shape: Any) -> tuple[Any, ...]:
    """The members of a union, or the shape alone."""
    return get_args(shape) if get_origin(shape) not in (dict, list, tuple) and get_args(shape) else (shape,)
