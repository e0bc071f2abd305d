"""Fashion-MNIST by every continuous family at one budget: which family suits these pictures, and at what cost.

``python -m benchmarks families`` trains one after another, each for `MINUTES` turned into steps once, and scores each
on 5,000 samples at three sampling seeds. Rows are kept under ``benchmarks/reports/families`` and not measured again
while their file is there, so an interrupted table goes on where it stopped. It takes hours, so ``make bench`` leaves it
out.
``python -m benchmarks.families NAME ...`` does only those rows, without a table: one process a core can share the work.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._common import Report, machine
from miaobi import generate, models, training
from miaobi.evaluation import evaluate
from miaobi.recipe import Recipe

MINUTES = float(os.environ.get("MIAOBI_BENCH_MINUTES", "10"))
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "2"))
SAMPLES = 5000
SEEDS = (0, 1, 2)
TIMED = 256
WORK = Path(__file__).parent / ".work" / "families"
KEPT = Path(__file__).parent / "reports" / "families"
RECIPES = Path(__file__).parent.parent / "recipes" / "image"
DISTANCES = ("kernel_distance", "frechet_distance")
ONCE = ("precision_recall", "memorization")
ROWS = {
    "A0 Gaussian": "gaussian",
    "G1 GAN": "gan",
    "G2 conditional GAN": "conditional-gan",
    "G3 StyleGAN": "stylegan",
    "V1 VAE": "vae",
    "V3+A3 codes, Transformer": "codes-transformer",
    "D1 flow matching": "flow",
    "D1 EDM": "edm",
    "D2 latent flow matching": "latent",
}
COLUMNS = [
    *("family", "kernel distance x1000", "Frechet distance", "precision", "recall", "copied share"),
    *("images/s", "parameters", "steps", "seconds"),
]
LABELLED = ("conditional-gan",)
SHARES = {"codes-transformer": {"codec": 0.4, "writer": 0.6}, "latent": {"codec": 0.3, "prior": 0.7}}
"""Of the budget, for each stage."""


def main() -> None:
    """Train and score what is missing, then write the table, nearest to the data first."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    found = {title: _row(name) for title, name in ROWS.items()}
    setting = (
        f"{MINUTES:g} minutes each on {THREADS} thread(s), turned into steps once; no labels but for G2; "
        f"{SAMPLES} samples, seeds {SEEDS}; "
        f"distances on EfficientNet-lite0, smallest to largest over the seeds; {machine()}"
    )
    report = Report(
        "Fashion-MNIST by family",
        setting,
        COLUMNS,
    )
    for title, row in sorted(found.items(), key=lambda pair: statistics.median(pair[1]["kernel_distance"])):
        report.rows.append([title, *_cells(row)])
    any_row = next(iter(found.values()))
    floors = [f"{1000 * any_row['floors']['kernel_distance']:.1f}", f"{any_row['floors']['frechet_distance']:.2f}"]
    copied = f"{any_row['floors']['copied_share']:.3f}"
    report.rows.append(["training data (floor)", *floors, "", "", copied, "", "", "", ""])
    report.write()


def _cells(row: dict[str, Any]) -> list[str]:
    kernel = _range([1000 * value for value in row["kernel_distance"]], ".0f")
    shares = [f"{row[name]:.3f}" for name in ("precision", "recall", "copied_share")]
    frechet = _range(row["frechet_distance"], ".1f")
    return [
        kernel,
        frechet,
        *shares,
        f"{row['rate']:.0f}",
        f"{row['parameters']:,}",
        str(row["steps"]),
        f"{row['seconds']:.0f}",
    ]


def _range(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _row(name: str) -> dict[str, Any]:
    """One family's figures, measured now or before."""
    kept = KEPT / f"{name}-{MINUTES:g}.json"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        run = WORK / f"{name}-{MINUTES:g}"
        result = training.train(recipe_of(name), run=run, resume=True)
        fresh = kept.with_suffix(".part")
        fresh.write_text(json.dumps(_score(result.run), indent=1) + "\n", encoding="utf-8")
        fresh.replace(kept)
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def recipe_of(name: str) -> Recipe:
    """The recipe of a row, at the table's budget."""
    changes = [f"train.threads={THREADS}", "train.tracking=[]"]
    if name not in LABELLED:
        changes.append("data.condition={}")
    if name in SHARES:
        changes += [f"stages.{stage}.train.minutes={share * MINUTES}" for stage, share in SHARES[name].items()]
    elif name != "gaussian":
        changes.append(f"train.minutes={MINUTES}")
    return Recipe.load(RECIPES / f"fashion-mnist-{name}.yaml", changes)


def _score(run: Path) -> dict[str, Any]:
    model = models.load(run)
    row: dict[str, Any] = {figure: [] for figure in DISTANCES} | {"floors": {}}
    for seed in SEEDS:
        metrics = DISTANCES if seed else (*DISTANCES, *ONCE)
        for figure, score in evaluate(model, metrics=metrics, samples=SAMPLES, seed=seed).items():
            if figure in DISTANCES:
                row[figure].append(score.value)
            else:
                row[figure] = score.value
            if not seed:
                row["floors"][figure] = score.floor
    started = time.perf_counter()
    generate(model, n=TIMED, seed=9)
    row["rate"] = TIMED / (time.perf_counter() - started)
    row["parameters"] = sum(p.numel() for p in model.family.parameters())
    row["parameters"] += sum(p.numel() for part in model.parts.values() for p in part.family.parameters())
    infos = [model.info, *(part.info for part in model.parts.values())]
    row["steps"], row["seconds"] = (sum(info[key] for info in infos) for key in ("steps", "seconds"))
    return row


if __name__ == "__main__":
    if sys.argv[1:]:
        for row in sys.argv[1:]:
            _row(row)
    else:
        main()
