"""Classifier-free guidance on emoji from their names: how it trades distance, fit and variety.

Trains emoji-latent and emoji-contrastive at their own budgets (kept under ``benchmarks/.work/gallery``, shared with the
gallery), draws the held-out names at several strengths, and measures distance to held-out emoji, how often the
contrastive encoder finds a picture's own name among 20, and how much pictures differ. Draws docs/pictures/guidance.png.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from benchmarks._common import Report, machine
from benchmarks._pictures import sheet
from miaobi import models, training
from miaobi.data import prepare
from miaobi.evaluation import Context
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.training.guards import diversity
from miaobi.types import Field

STRENGTHS = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
SEEDS = (0, 1, 2)
CHOICES = 20
SHOWN = 8
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "2"))
HERE = Path(__file__).parent
PICTURES = HERE.parent / "docs" / "pictures"
COLUMNS = ["guidance", "kernel distance", "own name among 20", "diversity over data's"]


def main() -> None:
    """Sweep, plot, and check that some guidance fits names better than none."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    painter, judge = _trained("emoji-latent"), _trained("emoji-contrastive")
    prepared = prepare(Recipe.load(painter.info["recipe"]), fitted=(painter.modality, painter.conditions))
    found = {strength: [_measure(painter, judge, prepared, strength, seed) for seed in SEEDS] for strength in STRENGTHS}
    means = {
        strength: [sum(column) / len(SEEDS) for column in zip(*rows, strict=True)] for strength, rows in found.items()
    }
    setting = f"emoji-latent, every held-out name, seeds {SEEDS}, means; chance {1 / CHOICES:g}; {machine()}"
    report = Report("Guidance", setting, COLUMNS)
    for strength, values in means.items():
        report.rows.append([f"{strength:g}", *(f"{value:.3f}" for value in values)])
    report.checks["some guidance fits names better than none"] = max(v[1] for v in means.values()) > means[1.0][1]
    _plot(means)
    strips = [_context(painter, prepared, strength, 0).generated_items[:SHOWN] for strength in STRENGTHS]
    sheet([_context(painter, prepared, 1.0, 0).real_items[:SHOWN], *strips]).save(PICTURES / "guidance-emoji.png")
    report.write()


def _trained(name: str) -> Model:
    recipe = Recipe.load(HERE.parent / "recipes" / "image" / f"{name}.yaml", [f"train.threads={THREADS}"])
    return models.load(training.train(recipe, run=HERE / ".work" / "gallery" / f"image-{name}", resume=True).run)


def _context(painter: Model, prepared: Any, strength: float, seed: int) -> Context:
    return Context(painter, prepared, seed=seed, controls={"guidance": strength})


def _measure(painter: Model, judge: Model, prepared: Any, strength: float, seed: int) -> tuple[float, float, float]:
    context = _context(painter, prepared, strength, seed)
    distance = polynomial_mmd(context.features("real"), context.features("generated"))
    made, real = (judge.modality.collate([judge.modality.encode(item) for item in items]).values
                  for items in (context.generated_items, context.real_items))  # fmt: skip
    return distance, _fits(judge, context, made, seed), diversity(Field(made)) / diversity(Field(real))


@torch.no_grad()
def _fits(judge: Model, context: Context, made: torch.Tensor, seed: int) -> float:
    """The share of pictures whose own name is nearest among 20 different names."""
    names = [context.prepared.conditions["name"].text(item) for item in _names(context)]
    encoder: Any = judge.family
    batch = context.held.batch(context.rows, augment=None)
    told = judge.conditions["name"].collate([judge.conditions["name"].encode(name) for name in names])
    pictures = encoder.embed(type(batch)(Field(made), {"name": told}, ids=batch.ids))
    words = encoder.embed(type(batch)(Field(made), {"name": told}, ids=batch.ids), "name")
    likeness = torch.nn.functional.normalize(pictures, dim=1) @ torch.nn.functional.normalize(words, dim=1).T
    generator = torch.Generator().manual_seed(seed)
    right = 0
    for row, name in enumerate(names):
        others = [other for other in torch.randperm(len(names), generator=generator).tolist() if names[other] != name]
        distinct = list({names[other]: other for other in others}.values())[: CHOICES - 1]
        right += bool(likeness[row, row] > likeness[row, distinct].max())
    return right / len(names)


def _names(context: Context) -> list[Any]:
    field = context.held.batch(context.rows, augment=None).conditions["name"]
    modality = context.prepared.conditions["name"]
    return [modality.decode(array) for array in modality.split_batch(field.values, field.lengths)]


def _plot(means: dict[float, list[float]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for index, (axis, title) in enumerate(zip(axes, COLUMNS[1:], strict=True)):
        axis.plot(list(means), [values[index] for values in means.values()], marker="o")
        axis.set(title=title, xlabel="guidance")
    figure.savefig(PICTURES / "guidance.png", dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
