"""The chapters: what each trains on, what it is asked for, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miaobi import evaluation, generation, models, training
from miaobi.evaluation import Score
from miaobi.modalities import Item, Modality
from miaobi.models import Model

Request = Mapping[str, str]
QUICK = ("train.minutes=0.2", "train.tracking=[]")


@dataclass(frozen=True)
class Chapter:
    """A recipe, and what its model is asked for.

    Attributes:
        name: of its run.
        title: a heading.
        recipe: name of a shipped recipe.
        requests: from the trained model to the conditions of each sample.
        controls: sampling controls.
        quick: changes to the recipe in a quick demo.
        longer: the recipe to try next.
        stand_in: what takes its place where its data cannot be fetched.
    """

    name: str
    title: str
    recipe: str
    requests: Callable[[Model], Sequence[Request]]
    longer: str
    controls: Mapping[str, Any] | None = None
    quick: tuple[str, ...] = QUICK
    stand_in: Chapter | None = None


@dataclass(frozen=True)
class Sample:
    """What was asked for, and what came."""

    conditions: Request
    item: Item
    text: str | None


@dataclass(frozen=True)
class Shown:
    """A chapter as it went."""

    chapter: Chapter
    run: Path
    steps: int
    modality: Modality
    info: Mapping[str, Any]
    samples: list[Sample]
    scores: Mapping[str, Score]
    parameters: int

    @property
    def title(self) -> str:
        """The heading."""
        return self.chapter.title

    def excerpt(self, count: int = 3) -> list[str]:
        """The first samples as text, where they have a text."""
        told = [sample for sample in self.samples if sample.text is not None][:count]
        lines: list[str] = []
        for sample in told:
            heading = ", ".join(sample.conditions.values())
            lines += [
                f"  《{heading}》" if heading else "  ·",
                *(f"    {line}" for line in str(sample.text).splitlines()),
            ]
        return lines

    def score_lines(self) -> list[str]:
        """A figure a line, with its floor."""
        floors = {
            name: f" (real data: {s.floor:.4g})" if s.floor is not None else "" for name, s in self.scores.items()
        }
        return [f"{name.replace('_', ' ')}: {score.value:.4g}{floors[name]}" for name, score in self.scores.items()]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.chapter.name,
            "recipe": self.chapter.recipe,
            "run": str(self.run),
            "steps": self.steps,
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "samples": [{"conditions": dict(sample.conditions), "text": sample.text} for sample in self.samples],
        }


def show(chapter: Chapter, folder: Path, *, quick: bool, progress: bool) -> Shown:
    """Train a chapter's model, sample it and score it.

    Raises:
        FetchFailed: its data could not be fetched.
    """
    run = folder / "runs" / (f"{chapter.name}-quick" if quick else chapter.name)
    changes = chapter.quick if quick else ()
    result = training.train(chapter.recipe, run=run, changes=changes, resume=True, progress=progress)
    model = models.load(result.run)
    samples = _ask(chapter, model, folder / "samples" / chapter.name)
    scores = evaluation.evaluate(model)
    training.record(result.run, scores, model.modality)
    parameters = sum(parameter.numel() for parameter in model.family.parameters())
    return Shown(chapter, result.run, result.steps, model.modality, model.info, samples, scores, parameters)


def _ask(chapter: Chapter, model: Model, folder: Path) -> list[Sample]:
    samples = []
    for seed, conditions in enumerate(chapter.requests(model)):
        (made,) = generation.generate(
            model, conditions=conditions, controls=chapter.controls, seed=seed, out=folder / f"{seed:02d}"
        )
        samples.append(Sample(conditions, made.item, made.text))
    return samples


def _nothing(count: int) -> Callable[[Model], list[Request]]:
    return lambda model: [{}] * count


def _every_class(each: int) -> Callable[[Model], list[Request]]:
    def requests(model: Model) -> list[Request]:
        (name,), (modality,) = model.conditions, model.conditions.values()
        classes = [modality.decode(np.asarray(index)) for index in range(modality.spec.vocabulary)]
        return [{name: one} for one in classes for _ in range(each)]

    return requests


def _titles(*titles: str) -> Callable[[Model], list[Request]]:
    return lambda model: [{"title": title} for title in titles]


CHAPTERS = (
    Chapter(
        "poems",
        "Tang poems, given a title",
        "demo/poems",
        _titles("春曉", "月夜", "送友人", "江雪", "登高", "山中"),
        longer="text/tang-poems-transformer",
        controls={"temperature": 0.8},
        stand_in=Chapter("lines", "Lines of Python's help", "demo/lines", _nothing(6), longer="demo/lines"),
    ),
    Chapter(
        "pictures",
        "Clothes, given their kind",
        "demo/pictures",
        _every_class(8),
        longer="image/fashion-mnist-gan",
        quick=(*QUICK, "evaluate.samples=300"),
        stand_in=Chapter(
            "digits", "Handwritten digits, given their label", "demo/digits", _every_class(8), longer="image/digits-gan"
        ),
    ),
    Chapter(
        "music",
        "Chorales in the manner of Bach",
        "demo/music",
        _nothing(3),
        longer="music/chorales-transformer",
        quick=(*QUICK, "train.minutes=0.15", "evaluate.samples=20"),
    ),
)
