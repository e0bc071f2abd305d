"""Recipes that differ in their conditions divide the same targets alike: what one holds out no stage trains on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from miaobi.data import prepare
from miaobi.recipe import Recipe
from tests.support.worlds import write_lines


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


def texts_of(folder: Path, modality: object, content: str, condition: dict[str, Any]) -> dict[str, set[str]]:
    data = {"source": str(write_lines(folder / "lines.jsonl", 200)), "content": content, "condition": condition}
    prepared = prepare(Recipe.load({"modality": modality, "data": data, "model": {"family": "vae"}}))
    parts = {name: prepared.part(name) for name in ("train", "validation", "test")}
    if content == "text":
        return {name: set(part.items(range(len(part)))) for name, part in parts.items()}
    return {name: set(part.condition_items("text", range(len(part)))) for name, part in parts.items()}


def test_what_a_classifier_reads_is_divided_as_where_it_is_the_target(tmp_path: Path) -> None:
    written = texts_of(tmp_path, "text", "text", {})
    read = texts_of(tmp_path, "label", "kind", {"text": "text"})
    assert written == read
    assert all(len(part) > 10 for part in read.values()), "a class is no group that has to stay together"


def test_a_classifiers_texts_are_compared_and_measured_and_one_without_text_is_left_out(tmp_path: Path) -> None:
    line = "a sentence about a fox that jumps over a dog that is lazy and asleep"
    rows = [
        {"kind": "x", "text": line},
        {"kind": "x", "text": line.replace("asleep", "asleeq")},
        {"kind": "y", "text": line},
        {"kind": "x"},
        {"kind": "y", "text": "short"},
        *({"kind": "xy"[i % 2], "text": f"number {i} of some {i * i} other lines"} for i in range(40)),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    data = {"source": str(path), "content": "kind", "condition": {"text": "text"}, "clean": {"min_length": 6}}
    prepared = prepare(Recipe.load({"modality": "label", "data": data, "model": {"family": "vae"}}))
    parts = [prepared.part(name) for name in ("train", "validation", "test")]
    found = [(text, part.part) for part in parts for text in part.condition_items("text", range(len(part)))]
    assert len(found) == 42
    foxes = [(text, part) for text, part in found if text.startswith("a sentence")]
    assert len(foxes) == 2, "of one class the near duplicate goes, of another it stays"
    assert len({part for _, part in foxes}) == 1, "and what stays goes one way"


def test_repeated_texts_that_stay_join_their_groups_whatever_is_the_target(tmp_path: Path) -> None:
    rows = [{"kind": "xy"[i % 2], "text": f"line {i % 57} of {i % 57} lines", "by": str(i % 19)} for i in range(150)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    common = {"source": str(path), "split": {"group": "by"}, "clean": {"duplicates": "keep"}}
    found = []
    for modality, content, condition in (("text", "text", {}), ("label", "kind", {"text": "text"})):
        data = {**common, "content": content, "condition": condition}
        prepared = prepare(Recipe.load({"modality": modality, "data": data, "model": {"family": "vae"}}))
        parts = [prepared.part(name) for name in ("train", "validation", "test")]
        rows_of = [range(len(part)) for part in parts]
        found.append(
            [
                sorted(part.condition_items("text", rows) if condition else part.items(rows))
                for part, rows in zip(parts, rows_of, strict=True)
            ]
        )
    assert found[0] == found[1]
    assert sum(map(len, found[0])) == 150
