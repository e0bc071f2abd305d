"""Does a short solver do? Heun's eight steps beside 50 and 200 of Euler's, of one model, at several sampling seeds.

Takes the flow matching model of `families` (trained for `MINUTES` where it is not there yet), and draws `SAMPLES` with
every solver from the same starting noise. Two hundred steps take long, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

from benchmarks._common import Report, machine
from benchmarks.families import MINUTES, THREADS, WORK, recipe_of
from miaobi import models, training
from miaobi.evaluation import evaluate

SAMPLES = int(os.environ.get("MIAOBI_BENCH_SAMPLES", "500"))
SEEDS = (0, 1, 2)
SHORT, LONG, LONGEST = ("heun", 8), ("euler", 50), ("euler", 200)
SOLVERS = (SHORT, LONG, LONGEST)
OVER_LONG, APART = 1.05, 0.05


def main() -> None:
    """Train, draw, and check both targets."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    model = models.load(training.train(recipe_of("flow"), run=WORK / f"flow-{MINUTES:g}", resume=True).run)
    found = {solver: [_distance(model, solver, seed) for seed in SEEDS] for solver in SOLVERS}
    trained = f"fashion-mnist-flow without labels, {model.info['steps']} steps of training"
    report = Report(
        "Solvers",
        f"{trained}, {SAMPLES} samples, seeds {SEEDS}; {machine()}",
        ["solver", "steps", *(f"kernel distance x1000, seed {seed}" for seed in SEEDS), "median"],
    )
    for (name, steps), values in found.items():
        report.rows.append([name, steps, *(f"{value:.1f}" for value in values), f"{statistics.median(values):.1f}"])
    pairs = list(zip(found[SHORT], found[LONG], found[LONGEST], strict=True))
    report.checks[f"8 steps of Heun at most {OVER_LONG} times 50 of Euler, every seed"] = all(
        short <= OVER_LONG * long for short, long, _ in pairs
    )
    report.checks["50 and 200 steps of Euler differ by under 5 %, every seed"] = all(
        abs(long - longest) < APART * longest for _, long, longest in pairs
    )
    report.write()


def _distance(model: Any, solver: tuple[str, int], seed: int) -> float:
    controls = {"solver": solver[0], "steps": solver[1]}
    scores = evaluate(model, metrics=["kernel_distance"], samples=SAMPLES, seed=seed, controls=controls)
    return 1000 * scores["kernel_distance"].value


if __name__ == "__main__":
    main()
