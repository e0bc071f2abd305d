"""What has learnt nothing never comes first, whatever its distance: not beside a real model, and not alone."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from symusic import Note, Track
from symusic import Score as Score_

from miaobi import models
from miaobi.evaluation import Score
from miaobi.evaluation.ranking import Ranking, rank
from miaobi.training.comparison import Comparison, compare
from miaobi.training.comparison.rows import Measuring
from tests.evaluation.cheats import scored

PATTERN = ("the", "first", "second", "third", "a", "first", "second", "fourth", "the", "second")


def sentences(count: int) -> list[str]:
    """Real words in a made-up order: easy to learn, and wrong in almost any other one."""
    known = sorted({word for text in topics.values() for word in re.findall(r"\b[a-z]{5,8}\b", text)})
    kinds = {kind: known[place::16][:40] for place, kind in enumerate(("first", "second", "third", "fourth"))}
    draw = random.Random(0)
    return sorted({" ".join(draw.choice(kinds.get(kind, [kind])) for kind in PATTERN) for _ in range(count)})


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


CHEATS = {
    "copier",
    "constant",
    "few",
    "shuffler",
    "noise",
    "cutter",
    "mixture",
    "snippets",
    "half scraps",
    "transposer",
    "arranger",
    "spacer",
    "editor",
    "gluer",
    "grain",
    "faded",
    "collapsed",
}


def test_of_texts(tmp_path: Path) -> None:
    source = tmp_path / "lines.jsonl"
    source.write_text("\n".join(json.dumps({"text": line}) for line in sentences(1500)))
    recipe: dict[str, Any] = {
        "modality": {"name": "text", "max_length": 90},
        "data": {"source": str(source)},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "lstm"}},
        "train": {"batch_size": 32, "learning_rate": 0.01, "threads": 1, "tracking": [], "ema": None},
    }
    found = compare([recipe], budget="500steps", samples=140, out=tmp_path / "out", progress=False)
    how = Measuring("statistics.least_overlap", 140, 0, None)
    rankings = against(found, "autoregressive", how)
    check(rankings, "autoregressive")
    reasons = rankings[0].unranked
    assert "copies" in reasons["copier"][0]
    assert "copies" in reasons["cutter"][0]
    assert any("cuts and pastes" in reason for reason in reasons["cutter"])
    assert any("too alike" in reason for reason in reasons["constant"])
    for name in ("snippets", "spacer", "mixture"):
        assert any("copies" in reason for reason in reasons[name]), name
    assert any("stitches" in reason for reason in reasons["gluer"])


def test_of_images(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "modality": "image",
        "data": {"source": "catalog:digits"},
        "model": {"family": "vae", "size": "tiny"},
        "train": {"batch_size": 32, "learning_rate": 0.003, "threads": 1, "tracking": [], "ema": None},
        "evaluate": {"extractor": "pixels"},
    }
    found = compare([recipe], budget="150steps", samples=170, out=tmp_path / "out", progress=False)
    how = Measuring("kernel_distance.kernel_distance", 170, 0, "pixels")
    rankings = against(found, "vae", how)
    check(rankings, "gaussian")


def test_of_music(tmp_path: Path) -> None:
    folder = tmp_path / "pieces"
    folder.mkdir()
    draw = random.Random(0)
    for index in range(500):
        piece(draw).dump_midi(str(folder / f"{index}.mid"))
    recipe: dict[str, Any] = {
        "modality": {"name": "music", "max_length": 96},
        "data": {"source": str(folder)},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "lstm"}},
        "train": {"batch_size": 32, "learning_rate": 0.01, "threads": 1, "tracking": [], "ema": None},
    }
    found = compare([recipe], budget="40steps", samples=100, out=tmp_path / "out", progress=False)
    how = Measuring("statistics.least_overlap", 100, 0, None)
    check(against(found, "autoregressive", how), "ngram")


def piece(draw: random.Random) -> Any:
    """A melody that goes up and down by steps of a scale, long notes after short ones."""
    score: Any = Score_(4)
    track: Any = Track("", 0, False)
    scale, place, time = (0, 2, 4, 5, 7, 9, 11), draw.randrange(20, 28), 0
    for index in range(20):
        place += draw.choice((-2, -1, -1, 1, 1, 2))
        place = min(max(place, 18), 34)
        length = draw.choice((1, 2)) if index % 3 else draw.choice((4, 6))
        track.notes.append(Note(time, length, 36 + 12 * (place // 7 - 2) + scale[place % 7], 100))
        time += length
    score.tracks.append(track)
    return score
