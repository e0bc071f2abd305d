"""Small real data sets that need no network: lines of the standard library's help topics, and digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from miaobi import families
from miaobi.types import Form

STEPS = 60


def write_lines(path: Path, count: int = 400) -> Path:
    """A JSONL of real English lines, each with its first words (no two lines share them), a class and a number.

    Beside each line is the same in capitals; and one of the two, with whether it is the real one.
    """
    from pydoc_data.topics import topics

    lines: Iterator[dict[str, Any]] = (
        {
            "text": line.strip(),
            "title": " ".join(line.split()[:3]),
            "kind": "long" if len(line.strip()) > 45 else "short",
            "word": len(line.strip()) / len(line.split()),
        }
        for _, text in sorted(topics.items())
        for line in text.splitlines()
        if 20 <= len(line.strip()) <= 70
    )
    seen: dict[str, dict[str, Any]] = {}
    for line in lines:
        seen.setdefault(line["title"], line)
    for index, line in enumerate(seen.values()):
        line["shouted"] = line["text"].upper()
        line["real"] = index % 2 == 0
        line["either"] = line["text" if line["real"] else "shouted"]
    path.write_text("\n".join(json.dumps(line) for line in islice(seen.values(), count)))
    return path


def token_sections(folder: Path) -> dict[str, Any]:
    """Recipe sections of a token target with a label and a text condition."""
    return {
        "modality": {"name": "text", "max_length": 80},
        "data": {
            "source": str(write_lines(folder / "lines.jsonl")),
            "content": "text",
            "condition": {"kind": "label", "title": "text"},
        },
    }


def label_sections(folder: Path) -> dict[str, Any]:
    """Recipe sections of a label target with a text to read and another one beside it."""
    return {
        "modality": "label",
        "data": {
            "source": str(write_lines(folder / "lines.jsonl")),
            "content": "kind",
            "condition": {"text": {"modality": {"name": "text", "max_length": 80}}, "title": "text"},
        },
    }


def number_sections(folder: Path) -> dict[str, Any]:
    """Recipe sections of a number, and the text that it is of."""
    sections = label_sections(folder)
    return {**sections, "modality": "number", "data": {**sections["data"], "content": "word"}}


def image_sections(folder: Path) -> dict[str, Any]:
    """Recipe sections of an image target with a label."""
    return {
        "modality": "image",
        "data": {
            "source": "catalog:digits",
            "condition": {"label": "label"},
            "clean": {"limit": 600},
        },
        "evaluate": {"extractor": "pixels"},
    }


REFUSED = {"ngram": "title", "dictionary": "kind"}
"""The condition that a family does not take, which its own test checks: one counts by label, one pairs two texts."""

PREFERENCES: dict[str, dict[str, Any]] = {
    "dpo": {"extra": {"rejected": "shouted"}},
    "kto": {"content": "either", "extra": {"desirable": "real"}},
}
"""What a family that learns from preferences is told besides."""

WORLDS = {Form.TOKENS: token_sections, Form.TENSOR: image_sections, Form.LABEL: label_sections}


def cases() -> list[tuple[str, Form]]:
    """Every family with every form of target that it models and a world exists for."""
    return [(name, form) for name in families.names() for form in sorted(families.find(name).targets) if form in WORLDS]


def recipe(name: str, form: Form, folder: Path, **train: Any) -> dict[str, Any]:
    """A recipe that trains a family's tiny configuration in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = (number_sections if name == "regressor" else WORLDS[form])(folder)
    kind = families.find(name)
    sections["data"]["condition"].pop(REFUSED.get(name), None)
    sections["data"] |= PREFERENCES.get(name, {})
    settings = {
        "steps": STEPS,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "precision": "float32",
        "threads": 1,
        "ema": None,
        "evaluate_every": STEPS // 2,
        "tracking": [],
    }
    return {
        **sections,
        "model": {"family": name, "size": "tiny", "options": dict(kind.tiny)},
        "train": {**settings, **train},
    }
