"""``RUN/scores/``: what was measured of a run's model, so that its page and its card can say it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miaobi.errors import CorruptFile, SaveFailed
from miaobi.evaluation import Pair, Score
from miaobi.modalities import Modality
from miaobi.training.run_folder import RunFolder, write_text

SHOWN = 8
"""Generated items kept beside their nearest training items."""


@dataclass(frozen=True)
class Known:
    """What is known of one set of weights.

    Attributes:
        scores: the latest of every figure, by its name; on other data than the run's own the name says which.
        nearest: files of generated items, of their nearest training items, and how far apart they are.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    nearest: list[tuple[Path, Path, float]] = field(default_factory=list)


def read(folder: RunFolder) -> Known:
    """What is known of the model as it is; scores of earlier weights are not.

    Raises:
        CorruptFile: the file is damaged.
    """
    saved = _read(folder.scores / "scores.json")
    if saved.get("weights") != _weights(folder):
        return Known()
    try:
        scores = {name: Score.from_json(score) for name, score in saved["scores"].items()}
        distances = [float(one) for one in saved["nearest"]]
        said = [score.protocol[key] for score in scores.values() for key in ("metric", "source")]
        if not all(isinstance(one, str) for one in said):
            raise TypeError("a metric or a source that is no text")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _damaged(folder.scores, repr(error)) from None
    return Known(scores, _nearest(folder.scores, distances))


def keep(folder: RunFolder, scores: Mapping[str, Score], modality: Modality) -> Known:
    """Add scores of the model as it is; a figure measured again replaces the earlier one.

    Raises:
        CorruptFile: what is there is damaged.
        SaveFailed: the disk is full.
    """
    known = read(folder)
    named = known.scores | {_name(figure, score): score for figure, score in scores.items()}
    # Of other data, what is nearest is no training item of this model.
    own = [score.pairs for score in scores.values() if score.pairs and "trained_on" not in score.protocol]
    pairs = own[0][:SHOWN] if own else ()
    if pairs:
        _write_pairs(folder.scores, pairs, modality)
    distances = [pair.distance for pair in pairs] or [distance for *_, distance in known.nearest]
    told = {
        "weights": _weights(folder),
        "scores": {name: score.to_json() for name, score in named.items()},
        "nearest": distances,
    }
    write_text(folder.scores / "scores.json", json.dumps(told, indent=1, ensure_ascii=False))
    return Known(named, _nearest(folder.scores, distances))


def _name(figure: str, score: Score) -> str:
    return f"{figure} on {score.protocol['source']}" if "trained_on" in score.protocol else figure


def _write_pairs(folder: Path, pairs: Sequence[Pair], modality: Modality) -> None:
    place = folder / "nearest"
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for index, pair in enumerate(pairs):
            modality.write(pair.generated, place / f"{index}-generated")
            modality.write(pair.training, place / f"{index}-training")
    except OSError as error:
        raise SaveFailed(f"could not write {place}: {error}", cure="free some disk space") from None


def _nearest(folder: Path, distances: Sequence[float]) -> list[tuple[Path, Path, float]]:
    found = []
    for index, distance in enumerate(distances[:SHOWN]):
        sides = [sorted((folder / "nearest").glob(f"{index}-{side}.*")) for side in ("generated", "training")]
        if all(sides):
            found.append((_shown(sides[0]), _shown(sides[1]), distance))
    return found


def _shown(paths: Sequence[Path]) -> Path:
    """Of the files of one item, the one that a page can show or play."""
    return min(paths, key=lambda path: (path.suffix in (".mid", ".mp4"), path.name))


def _weights(folder: RunFolder) -> str:
    return str(_read(folder.model / "model.json").get("sha256", ""))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(data, dict):
        raise _damaged(path, "it holds no mapping")
    return data


def _damaged(path: Path, why: str) -> CorruptFile:
    return CorruptFile(f"{path} is damaged: {why}", cure="delete it, and evaluate the run again")
