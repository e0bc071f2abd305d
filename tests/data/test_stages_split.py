"""Recipes that differ in their conditions divide the same targets alike: what one holds out no stage trains on."""

from __future__ import annotations

from typing import Any

from miaobi.data import prepare
from miaobi.recipe import Recipe


def held_out(condition: dict[str, Any]) -> dict[str, set[bytes]]:
    recipe = Recipe.load(
        {
            "modality": "image",
            "data": {"source": "catalog:digits", "clean": {"limit": 400}, "condition": condition},
            "model": {"family": "vae"},
        }
    )
    prepared = prepare(recipe)
    parts = {name: prepared.part(name) for name in ("train", "validation", "test")}
    return {
        name: {prepared.modality.pack(item) for item in part.items(range(len(part)))} for name, part in parts.items()
    }


def test_no_condition_a_label_and_a_view_hold_out_the_same_items() -> None:
    plain = held_out({})
    for condition in ({"label": "label"}, {"seen": {"view": "mask"}}):
        assert held_out(condition) == plain
