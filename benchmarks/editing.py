"""Restoring Fashion-MNIST: inpainting, super-resolution and JPEG repair beside the classical way, on held-out images.

Each recipe is trained for `MINUTES` (turned into steps once; kept under ``benchmarks/.work/editing``). Two modes of one
model: two steps from pure noise end near the mean of what the original may have been, which squared error rewards
(distortion); more steps, of Heun's method, draw one such original, which features reward (perception; Blau and Michaeli
2018, "The perception-distortion tradeoff").
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks._common import Report, machine
from miaobi import models, training
from miaobi.data import Prepared, prepare
from miaobi.evaluation import extractors
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch

MINUTES = float(os.environ.get("MIAOBI_BENCH_MINUTES", "6"))
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "2"))
IMAGES = 1000
ROWS = 50
SHOWN = 8
WORK = Path(__file__).parent / ".work" / "editing"
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
RECIPES = Path(__file__).parent.parent / "recipes" / "image"
MODES = {"distortion": {"solver": "euler", "steps": 2}, "perception": {"solver": "heun", "steps": 3}}
Values = Tensor
"""``[N, 1, H, W]`` in [-1, 1]."""


def main() -> None:
    """Train what is missing, restore, and check each mode against the classical way in its own measure."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    report = Report(
        "Restoring images",
        f"Fashion-MNIST, {MINUTES:g} minutes of training a task, {IMAGES} held-out images, seed 0; {machine()}",
        ["task", "method", "PSNR, dB", "kernel distance x1000 (EfficientNet-lite0)"],
    )
    for task, classical in (("inpaint", _biharmonic), ("upscale", _as_seen), ("jpeg", _as_seen)):
        _compare(report, task, classical)
    report.write()


def _compare(report: Report, task: str, classical: Callable[[Batch], Values]) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    run = training.train(_recipe(task), run=WORK / f"{task}-{MINUTES:g}", resume=True).run
    model = models.load(run)
    prepared = prepare(_recipe(task), fitted=(model.modality, model.conditions))
    batches = list(_batches(prepared))
    real = torch.cat([batch.target.values for batch in batches])
    found = {_named(classical): torch.cat([classical(batch) for batch in batches])}
    for mode, controls in MODES.items():
        found[mode] = torch.cat([_restored(model, batch, controls) for batch in batches])
    figures = {name: (_psnr(values, real), _distance(model, values, real)) for name, values in found.items()}
    for name, (psnr, distance) in figures.items():
        report.rows.append([task, name, f"{psnr:.2f}", f"{distance:.0f}"])
    base = figures[_named(classical)]
    report.checks[f"{task}: the distortion mode has a higher PSNR than {_named(classical)}"] = (
        figures["distortion"][0] > base[0]
    )
    report.checks[f"{task}: the perception mode is nearer in features than {_named(classical)}"] = (
        figures["perception"][1] < base[1]
    )
    seen = torch.cat([batch.conditions["seen"].values[:, :1] for batch in batches])
    _draw(task, [real, seen, *found.values()])


def _recipe(task: str) -> Recipe:
    changes = [f"train.minutes={MINUTES}", f"train.threads={THREADS}", "train.tracking=[]"]
    return Recipe.load(RECIPES / f"fashion-mnist-{task}.yaml", changes)


def _batches(prepared: Prepared) -> Any:
    for start in range(0, IMAGES, ROWS):
        yield prepared.test.batch(range(start, start + ROWS), augment=None)


def _restored(model: Model, batch: Batch, controls: dict[str, Any]) -> Values:
    chosen = type(model.family).Controls.parse(controls, "controls")
    made: Values = model.family.sample(batch.conditions, controls=chosen, seeds=seeds_of(0, batch.ids)).values  # type: ignore[operator]
    seen = batch.conditions["seen"].values
    return torch.where(seen[:, 1:] > 0, made, batch.target.values) if seen.shape[1] > 1 else made


def _biharmonic(batch: Batch) -> Values:
    """scikit-image's biharmonic inpainting (Damelin and Hoang 2018)."""
    from skimage.restoration import inpaint_biharmonic

    seen = batch.conditions["seen"].values.numpy()
    filled = [inpaint_biharmonic(pixels.astype(np.float64), hole > 0) for pixels, hole in seen]
    return torch.from_numpy(np.stack(filled)[:, None]).float().clamp(-1, 1)


def _as_seen(batch: Batch) -> Values:
    """Bicubic interpolation, which the view already did; or the compressed picture as it is."""
    return batch.conditions["seen"].values


def _named(classical: Callable[[Batch], Values]) -> str:
    return "biharmonic" if classical is _biharmonic else "as seen (bicubic, or the JPEG itself)"


def _psnr(values: Values, real: Values) -> float:
    error = (values - real).square().flatten(1).mean(1) / 4
    return float((-10 * error.clamp(min=1e-10).log10()).mean())


def _distance(model: Model, values: Values, real: Values) -> float:
    extractor = extractors.choose(None, model.modality)
    made, data = (_features(extractor, model, side) for side in (values, real))
    return 1000 * polynomial_mmd(data, made)


def _features(extractor: Any, model: Model, values: Values) -> np.ndarray:
    parts = [model.modality.split_batch(rows, None) for rows in values.split(ROWS)]
    return np.concatenate([extractor([model.modality.decode(array) for array in part]) for part in parts])


def _draw(task: str, rows: list[Values]) -> None:
    """The first few images, a row a method, four times their size."""
    sheet = torch.cat([torch.cat(list(values[:SHOWN, 0]), 1) for values in rows], 0)
    pixels = sheet.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    picture = Image.fromarray(pixels)
    PICTURES.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST).save(buffer, "PNG")
    (PICTURES / f"editing-{task}.png").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
