"""What has learnt nothing never comes first, whatever its distance: not beside a real model, and not alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from miaobi import models
from miaobi.evaluation import Score
from miaobi.evaluation.ranking import Ranking, rank
from miaobi.training.comparison import Comparison, compare
from miaobi.training.comparison.rows import Measuring
from tests.evaluation.cheats import scored

WORDS = {
    "adjective": "red old small loud quiet bright heavy strange gentle clever hungry brave".split(),
    "noun": "fox river mountain teacher lantern sailor garden winter market child horse window".split(),
    "verb": "follows remembers paints carries watches forgets answers finds leaves meets".split(),
    "place": "behind under beyond near above inside around beside".split(),
}


def sentences(count: int) -> list[str]:
    """Sentences of a small grammar: easy to learn, and wrong in almost any other order."""
    draw = random.Random(0)
    pattern = ("the", "adjective", "noun", "verb", "a", "adjective", "noun", "place", "the", "noun")
    return sorted({" ".join(draw.choice(WORDS.get(kind, [kind])) for kind in pattern) for _ in range(count)})


def against(comparison: Comparison, name: str, how: Measuring) -> tuple[Ranking, Ranking]:
    """The ranking of cheats beside the models of a comparison, and of the cheats alone."""
    run = comparison.page.parent / "runs" / name
    torch.manual_seed(0)
    found: dict[str, dict[str, Score]] = scored(how.context(models.load(run), {}), how)
    honest = {row.name: row.scores for row in comparison.rows}
    return tuple(rank(one, comparison.shuffled, how.quality) for one in ({**found, **honest}, found))  # type: ignore[return-value]


def check(rankings: tuple[Ranking, Ranking], honest: str) -> None:
    beside, alone = rankings
    assert beside.places
    assert beside.places[0].name not in CHEATS
    assert honest in [place.name for place in beside.places], beside.unranked
    assert not {place.name for place in beside.places} & CHEATS
    assert not alone.places
    assert "no model is ranked" in alone.summary
    for name in ("copier", "constant", "few", "shuffler", "noise"):
        assert beside.unranked[name], name


CHEATS = {"copier", "constant", "few", "shuffler", "noise", "cutter"}


def test_of_texts(tmp_path: Path) -> None:
    source = tmp_path / "lines.jsonl"
    source.write_text("\n".join(json.dumps({"text": line}) for line in sentences(1500)))
    recipe: dict[str, Any] = {
        "modality": {"name": "text", "max_length": 90},
        "data": {"source": str(source)},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "lstm"}},
        "train": {"batch_size": 32, "learning_rate": 0.01, "threads": 1, "tracking": []},
    }
    found = compare([recipe], budget="250steps", samples=140, out=tmp_path / "out", progress=False)
    how = Measuring("statistics.least_overlap", 140, 0, None)
    rankings = against(found, "autoregressive", how)
    print(rankings[0].summary)
    check(rankings, "autoregressive")
    reasons = rankings[0].unranked
    assert "copies" in reasons["copier"][0]
    assert "copies" in reasons["cutter"][0]
    assert "too alike" in reasons["constant"][0] or "too alike" in reasons["constant"][1]


def test_of_images(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "modality": "image",
        "data": {"source": "catalog:digits"},
        "model": {"family": "vae", "size": "tiny"},
        "train": {"batch_size": 32, "learning_rate": 0.003, "threads": 1, "tracking": []},
        "evaluate": {"extractor": "pixels"},
    }
    found = compare([recipe], budget="150steps", samples=170, out=tmp_path / "out", progress=False)
    how = Measuring("kernel_distance.kernel_distance", 170, 0, "pixels")
    rankings = against(found, "vae", how)
    print(rankings[0].summary)
    check(rankings, "gaussian")
