"""Text GANs beside maximum likelihood, over temperatures: which is better at equal diversity?

One language model of short lines is trained for half of the time by maximum likelihood. From there it goes on as a GAN
by policy gradient, and as one by relaxed samples, for the other half; the control is the same network trained by
maximum likelihood for the whole time. Each then draws `SAMPLES` lines at every temperature. BLEU-4 against the test
part is quality; self-BLEU, each sample against the others, is the lack of diversity (Zhu et al. 2018, "Texygen"). A
temperature trades one for the other, so single numbers compare nothing: curves do (Caccia et al. 2020, "Language GANs
falling short"). Each GAN's point is held against the control's curve at the point's own self-BLEU.

Scores are kept under ``benchmarks/.work/text_gan``, so an interrupted table goes on where it stopped. It takes half an
hour for each of `SEEDS` at its usual budget, so ``make bench`` leaves it out. Draws docs/pictures/text-gan.png.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import Report, machine
from miaobi import models, training
from miaobi.data import prepare
from miaobi.evaluation import Context
from miaobi.evaluation.metrics._intervals import LEVEL, resamples
from miaobi.evaluation.metrics._references import References
from miaobi.evaluation.metrics._words import lines, tokenizer_of
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.training.stages import recipes

MINUTES = float(os.environ.get("MIAOBI_BENCH_MINUTES", "8"))
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "1"))
SAMPLES = int(os.environ.get("MIAOBI_BENCH_SAMPLES", "1000"))
SEEDS = range(int(os.environ.get("MIAOBI_BENCH_SEEDS", "1")))
"""Of training: each means three more models."""
TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
CONTROL, VARIANTS = "control", ("policy", "relaxed")
HERE = Path(__file__).parent
WORK = HERE / ".work" / "text_gan"
PICTURE = HERE.parent / "docs" / "pictures" / "text-gan.png"
TITLES = {CONTROL: "maximum likelihood", "policy": "GAN, policy gradient", "relaxed": "GAN, relaxed samples"}
COLUMNS = ["model", "temperature", "BLEU-4 against the test part", "self-BLEU-4", "BLEU-4 less the control's there"]


@dataclass(frozen=True)
class Curve:
    """A model over `TEMPERATURES`: BLEU of each sample ``[T, N]`` against the test part, and against its like."""

    quality: np.ndarray
    sameness: np.ndarray
    seconds: float
    """Of training, the start's among them."""

    def points(self, rows: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Mean self-BLEU and BLEU ``[T]``, of all or of some samples."""
        return self.sameness[:, rows].mean(1), self.quality[:, rows].mean(1)


def main() -> None:
    """Train and score what is missing, then the table, the picture and the verdict."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    found = {seed: {name: _curve(name, seed) for name in (CONTROL, *VARIANTS)} for seed in SEEDS}
    floor = _kept(f"data-{SAMPLES}", _data)
    report = Report("Text GANs beside maximum likelihood", "", COLUMNS)
    verdicts = []
    for seed, curves in found.items():
        gaps = {name: compare(curves[CONTROL], curves[name]) for name in VARIANTS}
        report.rows += [row for name in curves for row in _rows(seed, name, curves[name], gaps.get(name))]
        verdicts += [f"Training seed {seed}: {verdict(TITLES[name], gaps[name])}" for name in VARIANTS]
    report.rows.append(["training lines (floor)", "", f"{floor['quality']:.1f}", f"{floor['sameness']:.1f}", ""])
    seconds = ", ".join(f"{curve.seconds:.0f}" for curves in found.values() for curve in curves.values())
    report.setting = (
        f"Debian package summaries of up to 60 characters; {MINUTES:g} minutes of training each on {THREADS} thread(s) "
        f"({seconds} s in the end), half of it maximum likelihood for the GANs; the control ships its best held-out "
        f"likelihood, the GANs their best harmonic BLEU; {SAMPLES} samples at each temperature; in brackets 95 % "
        f"intervals by bootstrap over samples, which leave out how much training runs differ; {floor['signature']}; "
        f"{machine()}.\n\n" + " ".join(verdicts)
    )
    _plot({seed: {name: curve.points() for name, curve in curves.items()} for seed, curves in found.items()})
    print(*verdicts, sep="\n", file=sys.stderr)
    report.write()


Estimate = tuple[float, float, float]
"""A value and its interval."""


@dataclass(frozen=True)
class Gap:
    """BLEU above the control's at equal self-BLEU: at each temperature (``None``: beyond its curve), and their mean."""

    points: list[Estimate | None]
    mean: Estimate | None


def compare(control: Curve, other: Curve) -> Gap:
    """How far ``other``'s points lie above the control's curve, interpolated at each point's self-BLEU.

    Samples of both are resampled; a point that the control's curve reaches in fewer than nine of ten resamples has no
    equal there.
    """
    values = difference(control.points(), other.points())
    sides = (resamples(curve.quality.shape[1], seed) for seed, curve in enumerate((control, other)))
    drawn = zip(*sides, strict=True)
    resampled = np.array([difference(control.points(left), other.points(right)) for left, right in drawn])
    met = ~np.isnan(values) & (np.isnan(resampled).mean(0) <= 0.1)
    points = [
        _estimate(value, column) if ok else None for value, column, ok in zip(values, resampled.T, met, strict=True)
    ]
    if not met.any():
        return Gap(points, None)
    meeting = resampled[~np.isnan(resampled[:, met]).all(1)]
    return Gap(points, _estimate(values[met].mean(), np.nanmean(meeting[:, met], axis=1)))


def _estimate(value: float, resampled: np.ndarray) -> Estimate:
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(value), float(low), float(high)


def difference(control: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """BLEU of ``other``'s points less the control's at equal self-BLEU; NaN outside what the control reaches."""
    order = np.argsort(control[0])
    there = np.interp(other[0], control[0][order], control[1][order], left=np.nan, right=np.nan)
    return other[1] - there


def verdict(title: str, gap: Gap) -> str:
    """One sentence: better, worse, or no difference beyond the interval, on average where the curves meet."""
    if gap.mean is None:
        return f"{title} has no point as diverse as any of the control's, so nothing is compared."
    value, low, high = gap.mean
    met = sum(one is not None for one in gap.points)
    by = f"{value:+.2f} BLEU ({low:+.2f} to {high:+.2f}) at equal self-BLEU, the mean of {met} temperatures."
    if low > 0 or high < 0:
        return f"{title} is {'better' if low > 0 else 'worse'} than maximum likelihood: {by}"
    return f"{title} and maximum likelihood do not differ beyond the interval: {by}"


def _rows(seed: int, name: str, curve: Curve, gap: Gap | None) -> list[list[str]]:
    sameness, quality = (_with_intervals(values) for values in (curve.sameness, curve.quality))
    points = gap.points if gap else [None] * len(TEMPERATURES)
    said = ["" if one is None else f"{one[0]:+.1f} ({one[1]:+.1f} to {one[2]:+.1f})" for one in points]
    title = TITLES[name] + (f", seed {seed}" if len(SEEDS) > 1 else "")
    return [
        [title, f"{temperature:g}", *scores]
        for temperature, *scores in zip(TEMPERATURES, quality, sameness, said, strict=True)
    ]


def _with_intervals(values: np.ndarray) -> list[str]:
    """Means over samples ``[T, N]`` with their intervals; each sample's references stay whole."""
    means = np.array([values[:, rows].mean(1) for rows in resamples(values.shape[1], 0)])
    bounds = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
    return [f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, (low, high) in zip(values.mean(1), bounds, strict=True)]


def _curve(name: str, seed: int) -> Curve:
    kept = _kept(f"{name}-{MINUTES:g}-{SAMPLES}-{seed}", lambda: _measure(name, seed))
    return Curve(np.array(kept["quality"]), np.array(kept["sameness"]), kept["seconds"])


def _measure(name: str, seed: int) -> dict[str, Any]:
    seconds = models.load(_trained("start", seed)).info["seconds"] if name in VARIANTS else 0.0
    model = models.load(_trained(name, seed))
    return {**_score(model), "seconds": seconds + model.info["seconds"]}


def _kept(name: str, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What was measured before, or is now."""
    path = WORK / f"{name}.json"
    if not path.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".part")
        fresh.write_text(json.dumps(measure()) + "\n", encoding="utf-8")
        fresh.replace(path)
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recipe_of(name: str, seed: int) -> Recipe:
    """The recipe of a run: ``control``, ``start`` (half of it), ``policy`` or ``relaxed`` (the other half)."""
    fixed = [f"train.threads={THREADS}", "train.tracking=[]", f"seed={seed}"]
    folder = HERE.parent / "recipes" / "text"
    if name in (CONTROL, "start"):
        minutes = MINUTES if name == CONTROL else MINUTES / 2
        return Recipe.load(folder / "lines-control.yaml", [f"train.minutes={minutes}", *fixed])
    stage = recipes(Recipe.load(folder / f"lines-gan-{name}.yaml"))["adversarial"]
    changes = [f"train.minutes={MINUTES / 2}", f"model.start=run:{_run('start', seed)}", *fixed]
    return Recipe.load(stage, changes)


def _run(name: str, seed: int) -> Path:
    return WORK / f"{name}-{MINUTES:g}-{seed}"


def _trained(name: str, seed: int) -> Path:
    return training.train(recipe_of(name, seed), run=_run(name, seed), resume=True).run


def _score(model: Model) -> dict[str, Any]:
    prepared = prepare(Recipe.load(model.info["recipe"]), fitted=(model.modality, model.conditions))
    real = _lines(prepared.test, range(len(prepared.test)), prepared.modality)
    tokenizer = tokenizer_of(prepared.modality, real)
    test = References(real, tokenizer)
    found: dict[str, Any] = {"quality": [], "sameness": []}
    for temperature in TEMPERATURES:
        context = Context(model, prepared, count=SAMPLES, controls={"temperature": temperature})
        made = lines(prepared.modality, context.generated)
        found["quality"].append(test.scores(made))
        found["sameness"].append(References(made, tokenizer).leave_one_out())
    return found


def _data() -> dict[str, Any]:
    """What real lines score: training lines in the samples' place, as many."""
    prepared = prepare(recipe_of(CONTROL, 0))
    real = _lines(prepared.test, range(len(prepared.test)), prepared.modality)
    tokenizer = tokenizer_of(prepared.modality, real)
    test = References(real, tokenizer)
    step = len(prepared.train) // SAMPLES
    made = _lines(prepared.train, range(0, step * SAMPLES, step), prepared.modality)
    sameness = References(made, tokenizer).leave_one_out()
    return {
        "quality": float(np.mean(test.scores(made))),
        "sameness": float(np.mean(sameness)),
        "signature": test.signature(),
    }


def _lines(dataset: Any, rows: Sequence[int], modality: Any) -> list[str]:
    target = dataset.batch(rows, augment=None).target
    return lines(modality, modality.split_batch(target.values, target.lengths))


def _plot(found: Mapping[int, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for index, name in enumerate((CONTROL, *VARIANTS)):
        for seed, curves in found.items():
            label = TITLES[name] if seed == 0 else None
            axis.plot(*curves[name], marker="o", color=f"C{index}", label=label)
    axis.set(xlabel="self-BLEU-4 (less diverse to the right)", ylabel="BLEU-4 against the test part")
    axis.legend()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
