"""Google's emoji, from the npm package emoji-datasource-google."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import npm_pack, tar_members, unpack_members
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

_PACKAGE = "emoji-datasource-google"
_VERSION = "16.0.0"
_SHA256 = "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
_TONES = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}
_JOINER = "200D"
_ADULT, _CHILD = "1F9D1", "1F9D2"
_NEUTRAL = {"1F468": _ADULT, "1F469": _ADULT, "1F466": _CHILD, "1F467": _CHILD}
# Joiner, picture style, female and male sign, facing right.
_UNSEEN = frozenset({_JOINER, "FE0F", "2640", "2642", "27A1"})


class Emoji(Catalog):
    """3,786 emoji of Noto Emoji as 64 x 64 RGBA, with the names of the Unicode standard, version 16.

    The 1,911 without a skin tone come first, so ``data.clean.limit: 1911`` leaves the others out. Skin tones, men and
    women, and facing right are variants of one emoji, which share a ``base_name`` and so go to one part of the split.
    """

    summary = "3,786 emoji, 64 x 64 with transparency, with their names; 1,875 of them differ in skin tone only"
    licence = "Apache-2.0 (images: Google, Noto Emoji), MIT (names: Cal Henderson, emoji-data)"
    version = f"npm {_PACKAGE} {_VERSION}"
    modality: ClassVar[Plugin] = "image"
    content = "image"
    conditions: ClassVar[Mapping[str, Plugin]] = {
        "name": "text",
        "category": "label",
        "short_name": "text",
        "base_name": "text",
    }
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "base_name"}

    def records(self, cache: Path) -> Iterator[Record]:
        folder = _unpacked(cache)
        try:
            known = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
            for record in records_of(known):
                yield record | {"image": (folder / record["image"]).read_bytes()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FetchFailed(
                f"{folder} cannot be read: {error!r}", cure=f"delete {folder} to fetch it again"
            ) from None


def records_of(known: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    """Records of the package's ``emoji.json``, ``image`` being a file's name: plain emoji, then those with a skin tone.

    ``name`` is lower-case text such as ``grinning face`` or ``waving hand sign, dark skin tone``.
    """
    ordered = sorted(known, key=lambda emoji: (int(emoji["sort_order"]), str(emoji["unified"])))
    bases: dict[tuple[str, ...], str] = {}
    for emoji in ordered:
        bases.setdefault(_kind(emoji["unified"]), emoji["name"].lower())
    plain = (_record(emoji, emoji["image"], bases, ()) for emoji in ordered)
    toned = (
        _record(emoji, variant["image"], bases, tones.split("-"))
        for emoji in ordered
        for tones, variant in emoji.get("skin_variations", {}).items()
    )
    yield from chain(plain, toned)


def _record(emoji: Mapping[str, Any], image: str, bases: Mapping[tuple[str, ...], str], tones: Sequence[str]) -> Record:
    return {
        "image": image,
        "name": ", ".join([emoji["name"].lower(), *dict.fromkeys(_TONES[tone] for tone in tones)]),
        "short_name": ":".join([emoji["short_name"], *tones]).lower(),
        "category": emoji["category"],
        "base_name": bases[_kind(emoji["unified"])],
    }


def _kind(unified: str) -> tuple[str, ...]:
    """What a sequence of code points shows, whoever does it and whichever way they face."""
    points = unified.split("-")
    if _JOINER not in points:
        return tuple(point for point in points if point != "FE0F")
    return tuple(_NEUTRAL.get(point, point) for point in points if point not in _UNSEEN)


def _unpacked(cache: Path) -> Path:
    name = f"emoji-{_VERSION}"
    target = cache / "unpacked" / name
    if target.is_dir():
        return target
    package = npm_pack(_PACKAGE, _VERSION, _SHA256, cache)
    wanted = chain(tar_members(package, "package/emoji.json"), tar_members(package, "package/img/google/64/", ".png"))
    return unpack_members(wanted, name, cache)
