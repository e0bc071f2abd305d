"""Six steps of ours beside fifty of DDIM's, of networks trained as long: is the faster one also as near to the data?

Both denoisers learn Fashion-MNIST without labels for the same wall time, ours by the recipe fashion-mnist-flow, the
peer's as diffusers' own example trains one (`_diffusers_images`). Each then draws `SAMPLES`; speed is that of the
drawing alone. Half an hour, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._common import Report, machine
from benchmarks.denoisers import SAMPLING_TARGET, STEPS, diffusers_python
from miaobi import models, training
from miaobi.data import Prepared, prepare
from miaobi.evaluation import Context
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.recipe import Recipe

MINUTES = float(os.environ.get("MIAOBI_BENCH_MINUTES", "5"))
SAMPLES = int(os.environ.get("MIAOBI_BENCH_SAMPLES", "1000"))
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "2"))
HERE = Path(__file__).parent


def main() -> None:
    """Train both, draw, score, and check speed and distance."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    changes = ["data.condition={}", f"train.minutes={MINUTES}", f"train.threads={THREADS}", "train.tracking=[]"]
    recipe = Recipe.load(HERE.parent / "recipes" / "image" / "fashion-mnist-flow.yaml", changes)
    prepared = prepare(recipe)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model = models.load(training.train(recipe, run=Path(folder) / "flow").run)
        seconds = time.perf_counter() - started
        context = Context(model, prepared, count=SAMPLES, controls={"solver": "heun", "steps": STEPS})
        started = time.perf_counter()
        drawn = len(context.generated)
        ours = drawn / (time.perf_counter() - started)
        items, theirs, steps = _peer(prepared, context, seconds, Path(folder))
    real = context.features("real")
    made = np.concatenate([context.extractor(items[start : start + 64]) for start in range(0, len(items), 64)])
    distances = [1000 * polynomial_mmd(real, side) for side in (context.features("generated"), made)]
    report = Report(
        "Sampling at equal training time",
        f"Fashion-MNIST, {seconds:.0f} s of training each, {SAMPLES} samples, seed 0; {machine()}",
        ["sampler", "parameters", "training steps", "images/s", "kernel distance x1000 (EfficientNet-lite0)"],
    )
    size, peer_size = sum(p.numel() for p in model.family.parameters()), steps.pop("parameters")
    report.rows += [
        [f"miaobi, {STEPS} Heun steps", f"{size:,}", model.info["steps"], f"{ours:.1f}", f"{distances[0]:.0f}"],
        ["diffusers DDIM, 50 steps", f"{peer_size:,}", steps["steps"], f"{theirs:.1f}", f"{distances[1]:.0f}"],
    ]
    report.checks[f"at least {SAMPLING_TARGET:g} times as fast"] = ours >= SAMPLING_TARGET * theirs
    report.checks["at a distance no worse"] = distances[0] <= distances[1]
    report.write()


def _peer(
    prepared: Prepared, context: Context, seconds: float, folder: Path
) -> tuple[list[np.ndarray], float, dict[str, int]]:
    """Images ``uint8 [N, H, W, 1]``, images a second, and what the peer counted."""
    source, destination = folder / "images.npy", folder / "samples.npy"
    np.save(source, np.stack([np.atleast_3d(item) for item in prepared.train.items(range(len(prepared.train)))]))
    command = [str(diffusers_python()), str(HERE / "_diffusers_images.py"), str(source), str(destination)]
    numbers = [str(seconds), str(THREADS), str(context.count)]
    done = subprocess.run([*command, *numbers], check=True, stdout=subprocess.PIPE, text=True)
    counted = dict(pair.split("=") for pair in done.stdout.split())
    items = list(np.load(destination, allow_pickle=False))
    return items, float(counted.pop("rate")), {name: int(value) for name, value in counted.items()}


if __name__ == "__main__":
    sys.exit(main())
