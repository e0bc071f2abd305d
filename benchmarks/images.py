"""Fashion-MNIST without labels: miaobi's GAN and VAE beside pythae's default VAE, the same wall time, the same score.

Each of ours is trained through the public API, its whole run timed; pythae then gets the longer of the two times in an
environment of its own. All three are scored by `miaobi.evaluation` on 5,000 samples against the same held-out items.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import Report, machine
from benchmarks._peer import environment
from miaobi import models, training
from miaobi.data import Prepared, prepare
from miaobi.evaluation import Context, extractors
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.recipe import Recipe

MINUTES = float(os.environ.get("MIAOBI_BENCH_MINUTES", "4"))
THREADS = 2
SAMPLES = 5000
PEER = "pythae==0.1.2"
RECIPES = Path(__file__).parent.parent / "recipes" / "image"
HERE = Path(__file__).parent


def main() -> None:
    """Train the three, score them, and check that both of ours are closer to the data."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    report = Report(
        "Images",
        f"Fashion-MNIST without labels, {MINUTES:g} minutes each, {SAMPLES} samples; {machine()}",
        ["model", "wall time", "kernel distance x 1000 (EfficientNet-lite0)"],
    )
    with tempfile.TemporaryDirectory() as folder:
        ours = {family: _train(family, Path(folder)) for family in ("gan", "vae")}
        prepared = prepare(_recipe("gan"))
        context = Context(models.load(ours["gan"][0]), prepared, count=SAMPLES)
        longest = max(seconds for _, seconds in ours.values())
        samples, peer_seconds = _train_peer(prepared, context, longest, Path(folder))
        contexts = {family: Context(models.load(run), prepared, count=SAMPLES) for family, (run, _) in ours.items()}
        scores = {family: _score(made) for family, made in contexts.items()}
        peer = _distance(context, samples)
        floor = 1000 * polynomial_mmd(context.features("real"), context.features("training"))
    for family, (_, seconds) in ours.items():
        report.rows.append([f"miaobi {family.upper()}", f"{seconds:.0f} s", f"{scores[family]:.0f}"])
        report.checks[f"the {family.upper()} is closer to the data than pythae's VAE"] = scores[family] < peer
    report.rows += [[PEER, f"{peer_seconds:.0f} s", f"{peer:.0f}"], ["training data (floor)", "", f"{floor:.1f}"]]
    report.write()


def _recipe(family: str) -> Recipe:
    changes = ["data.condition={}", f"train.minutes={MINUTES}", f"train.threads={THREADS}", "train.tracking=[]"]
    return Recipe.load(RECIPES / f"fashion-mnist-{family}.yaml", changes)


def _train(family: str, folder: Path) -> tuple[Path, float]:
    """The run folder and the seconds that everything took, evaluation and checkpoints included."""
    prepare(_recipe(family))
    started = time.perf_counter()
    result = training.train(_recipe(family), run=folder / family)
    return result.run, time.perf_counter() - started


def _train_peer(prepared: Prepared, context: Context, seconds: float, folder: Path) -> tuple[list[Any], float]:
    """The peer's samples as items of the same modality."""
    training_items = prepared.train.items(range(len(prepared.train)))
    pixels = np.stack([np.atleast_3d(item).transpose(2, 0, 1) for item in training_items])
    source, destination = folder / "images.npy", folder / "samples.npy"
    np.save(source, pixels)
    numbers = [str(seconds), str(THREADS), str(context.count)]
    started = time.perf_counter()
    command = [
        str(environment("pythae", "torch==2.13.0", PEER)),
        str(HERE / "_pythae_peer.py"),
        str(source),
        str(destination),
        *numbers,
    ]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "OMP_NUM_THREADS": str(THREADS)})
    spent = time.perf_counter() - started
    made = np.load(destination, allow_pickle=False)
    return list(made.transpose(0, 2, 3, 1)), spent


def _score(context: Context) -> float:
    return 1000 * polynomial_mmd(context.features("real"), context.features("generated"))


def _distance(context: Context, items: list[Any]) -> float:
    extractor = extractors.choose(None, context.modality)
    features = np.concatenate([extractor(items[start : start + 64]) for start in range(0, len(items), 64)])
    return 1000 * polynomial_mmd(context.features("real"), features)


if __name__ == "__main__":
    main()
