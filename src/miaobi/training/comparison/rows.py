"""What a model of a comparison came to: how long it learnt, how good and fast it is, and what its samples look like."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.data import prepare
from miaobi.errors import CorruptFile, Diverged, Incomparable
from miaobi.evaluation import Context, Score, score
from miaobi.evaluation.comparability import require_comparable
from miaobi.evaluation.ranking import figures
from miaobi.evaluation.shuffled import Shuffled
from miaobi.families import Likelihood
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.training.comparison.entrants import Entrant
from miaobi.training.publish import record

SHOWN = 4
"""Samples of each model on the page."""
_NEAREST = 2


@dataclass(frozen=True)
class Measuring:
    """What all models are measured by: the same figure, count, seed and features."""

    quality: str
    samples: int
    seed: int
    extractor: str | None

    def context(self, model: Model, controls: Mapping[str, Any]) -> Context:
        """A model on the held-out part of its own data."""
        recipe = Recipe.load(model.info["recipe"])
        prepared = prepare(recipe, fitted=(model.modality, model.conditions))
        return Context(model, prepared, count=self.samples, seed=self.seed, extractor=self.extractor, controls=controls)


@dataclass(frozen=True)
class Row:
    """A model's line of the table.

    Attributes:
        name, family: of the recipe; ``baseline``: whether it was added, and learns by counting.
        parameters: numbers that were learnt; of a baseline, numbers that it holds.
        steps, seconds: of training.
        samples_per_second: generated here, in the batches of evaluation.
        bytes: of the weights' file.
        scores: by figure; empty where the run failed.
        left_out: figures that do not compare with the first model's, with the reason.
        notes: what a reader of the table has to know.
        shown: samples as HTML; ``nearest``: samples beside their nearest training items, with their distances.
    """

    name: str
    family: str
    baseline: bool
    parameters: int = 0
    steps: int = 0
    seconds: float = 0.0
    samples_per_second: float | None = None
    bytes: int = 0
    scores: dict[str, Score] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    nearest: list[tuple[str, str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back."""
        return {**vars(self), "scores": {figure: found.to_json() for figure, found in self.scores.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """The inverse of `to_json`.

        Raises:
            CorruptFile: it is not.
        """
        try:
            scores = {figure: Score.from_json(found) for figure, found in data["scores"].items()}
            return cls(**{**data, "scores": scores, "nearest": [tuple(one) for one in data["nearest"]]})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptFile(
                f"a row of the comparison is damaged: {error!r}", cure="delete its rows/ and compare again"
            ) from None


def measured(entrant: Entrant, run: Path, how: Measuring) -> Row:
    """Score a finished run; one whose samples are not finite keeps its place in the table, without scores."""
    model = models.load(run)
    info = model.info
    facts: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.family.parameters())
        or sum(b.numel() for b in model.family.buffers()),
        "steps": int(info["steps"]),
        "seconds": float(info["seconds"]),
        "bytes": (models.resolve(run) / "model.safetensors").stat().st_size,
        "notes": [*_notes(entrant, how), *([f"stopped early: {info['stopped']}"] if info["stopped"] else [])],
    }
    context = how.context(model, entrant.recipe.evaluate.control)
    try:
        facts |= _samples(context) | {"scores": score(context, _names(model, how.quality))}
    except Diverged as error:
        facts["notes"].append(f"failed: {error.what}")
        return Row(entrant.name, entrant.recipe.model.family, entrant.baseline, **facts)
    record(run, facts["scores"], model.modality)
    pairs = facts["scores"]["copied_share"].pairs[:_NEAREST]
    html = context.modality.html
    facts["nearest"] = [(html(pair.generated), html(pair.training), pair.distance) for pair in pairs]
    return Row(entrant.name, entrant.recipe.model.family, entrant.baseline, **facts)


def failed(entrant: Entrant, why: str) -> Row:
    """The row of a run that came to nothing."""
    return Row(entrant.name, entrant.recipe.model.family, entrant.baseline, notes=[f"failed: {why}"])


def references(run: Path, how: Measuring) -> dict[str, Any]:
    """Real data and shuffled data: the quality of the latter, and items of both as HTML."""
    model = models.load(run)
    context = how.context(model, {})
    shuffled = Shuffled.of(context)
    found = score(shuffled, [how.quality])
    html = context.modality.html
    return {
        "quality": next(iter(found.values())).to_json(),
        "real": [html(item) for item in context.real_items[:SHOWN]],
        "shuffled": [html(item) for item in shuffled.generated_items[:SHOWN]],
    }


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows without figures that do not compare with those of the first row that has them, which say why."""
    first: dict[str, Score] = {}
    found = []
    for row in rows:
        left_out = {}
        for figure, one in row.scores.items():
            try:
                require_comparable(first.setdefault(figure, one), one)
            except Incomparable as error:
                left_out[figure] = f"differs in {error.field}"
        kept = {figure: one for figure, one in row.scores.items() if figure not in left_out}
        found.append(Row(**{**vars(row), "scores": kept, "left_out": left_out}))
    return found


def _samples(context: Context) -> dict[str, Any]:
    began = time.perf_counter()
    count = len(context.generated)
    spent = time.perf_counter() - began
    shown = [context.modality.html(item) for item in context.generated_items[:SHOWN]]
    return {"samples_per_second": count / max(spent, 1e-9), "shown": shown}


def _names(model: Model, quality: str) -> list[str]:
    names = figures(model.modality, quality)
    able = isinstance(model.family, Likelihood) and not model.family.costly_likelihood
    return [*names, "likelihood"] if able else names


def _notes(entrant: Entrant, how: Measuring) -> list[str]:
    found, said = entrant.recipe.model, entrant.recipe.evaluate
    outside = [*([found.start] if found.start else []), *found.parts.values()]
    notes = [f"what {', '.join(outside)} learnt before is not in the budget"] if outside else []
    if said.options:
        notes.append(f"evaluate.options ({', '.join(said.options)}) had no effect: all are measured with the defaults")
    if said.extractor not in (None, how.extractor):
        notes.append(f"evaluate.extractor {said.extractor} had no effect: all have the first recipe's features")
    return notes
