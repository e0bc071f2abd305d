"""Latents that keep the target's space, coarser: their shape, and how representations are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from miaobi.errors import UnknownName
from miaobi.types import Form, Spec

Factor = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
"""What every extent is divided by, rounding up: powers of two, so that a pyramid of halvings gets there."""
LATENTS, CODES = "latents", "codes"


def latent_spec(channels: int, target: Spec, factor: int | None) -> Spec:
    """``[channels, *ceil(space / factor)]``, or a flat ``[channels]`` without a factor."""
    space = () if factor is None else tuple(-(-extent // factor) for extent in target.space)
    return Spec(Form.TENSOR, channels=channels, space=space)


def require_kind(kind: str, known: Mapping[str, Spec]) -> Spec:
    """What a kind of representation looks like.

    Raises:
        UnknownName: the family has no such representation.
    """
    if kind not in known:
        raise UnknownName("representation", kind, known)
    return known[kind]
