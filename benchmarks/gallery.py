"""What recipes make: each trained at its own budget, scored by its own metrics, and looked at.

``python -m benchmarks.gallery image/emoji-latent ...`` trains the named recipes one after another, keeps their figures
in ``benchmarks/reports/gallery`` and a picture of held-out and generated items in ``docs/pictures``, and writes
docs/gallery.md anew from all that is kept. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import machine
from benchmarks._pictures import sheet
from miaobi import models, training
from miaobi.data import prepare
from miaobi.evaluation import Context, evaluate
from miaobi.evaluation.charts import read_log
from miaobi.families import Sampling
from miaobi.models import Model
from miaobi.recipe import Recipe

THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "1"))
HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
KEPT = HERE / "reports" / "gallery"
WORK = HERE / ".work" / "gallery"
SHOWN = 16
READ, LONGEST = 4, 400
PICTURED = {"image", "speech", "video"}
SEED = 0
HEAD = """# What the recipes make

Written by `python -m benchmarks.gallery NAME...`; do not edit. Each recipe was trained at its own budget and scored by
its own metrics on the test part, seed 0, as `miaobi evaluate` does. Pictures: above, held-out items; below, what the
model makes for the same conditions (of sound, its mel spectrogram; of video, frames from left to right). Of texts, the
first held-out items, not chosen.
"""


def main(names: Sequence[str]) -> None:
    """Measure what is named, then write the page."""
    for name in names:
        _measure(name)
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.rglob("*.json"))]
    (DOCS / "gallery.md").write_text(HEAD + "".join(map(_section, rows)), encoding="utf-8")


def _measure(name: str) -> None:
    stem = name.replace("/", "-")
    recipe = Recipe.load(HERE.parent / "recipes" / f"{name}.yaml", [f"train.threads={THREADS}"])
    result = training.train(recipe, run=WORK / stem, resume=True)
    model = models.load(result.run)
    scores = {figure: score.to_json() for figure, score in evaluate(model, seed=SEED).items()}
    prepared = prepare(Recipe.load(model.info["recipe"]), fitted=(model.modality, model.conditions))
    context = Context(model, prepared, count=SHOWN, seed=SEED, controls=recipe.evaluate.control)
    shows = isinstance(model.family, Sampling) and model.modality.name in PICTURED
    if shows:
        sheet([context.real_items, context.generated_items]).save(DOCS / "pictures" / f"recipe-{stem}.png")
    _, curves = read_log(result.run / "metrics.jsonl")
    if "diversity" in curves:
        _plot(curves["diversity"], DOCS / "pictures" / f"diversity-{stem}.png")
    infos = [model.info, *(part.info for part in (model.parts | model.supplies).values())]
    row = {
        "name": name,
        "steps": sum(info["steps"] for info in infos),
        "seconds": sum(info["seconds"] for info in infos),
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "shows": shows,
        "read": _read(model, context) if isinstance(model.family, Sampling) and model.modality.name == "text" else [],
        "diversity": "diversity" in curves,
        "machine": machine(),
        "scores": {name: {key: found[key] for key in ("value", "interval", "floor")} for name, found in scores.items()},
    }
    path = KEPT / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def _read(model: Model, context: Context) -> list[dict[str, str]]:
    """A few held-out items: what the model was told, what it wrote, what is right."""
    told = {
        name: context.held.condition_items(name, context.rows[:READ])
        for name, modality in model.conditions.items()
        if modality.name in ("text", "label")
    }
    made, real = context.generated_items[:READ], context.real_items[:READ]
    return [
        {**{name: str(items[row]) for name, items in told.items()}, "made": made[row], "held out": real[row]}
        for row in range(len(made))
    ]


def _plot(points: Sequence[tuple[float, float]], path: Path) -> None:
    """Diversity of live samples as a share of the data's, over the run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 2.5), layout="constrained")
    axis.plot(*zip(*points, strict=True), marker=".")
    axis.set(xlabel="step", ylabel="diversity over data's", ylim=(0, None))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _section(row: dict[str, Any]) -> str:
    name, size = row["name"], f"{row['parameters']:,} parameters"
    scores = "\n".join(f"| {figure} | {_cells(found)} |" for figure, found in row["scores"].items())
    stem = name.replace("/", "-")
    picture = f"\n![{name}](pictures/recipe-{stem}.png)\n" if row["shows"] else ""
    curve = f"\n![Diversity of {name} over the run](pictures/diversity-{stem}.png)\n" if row["diversity"] else ""
    return f"""
## {name}

`miaobi train {name}`: {row["steps"]:,} steps, {row["seconds"]:.0f} s, {size} ({row["machine"]}).

| figure | value | 95 % interval | floor |
|---|---|---|---|
{scores}
{picture}{curve}{_texts(row.get("read", []))}"""


def _texts(read: Sequence[dict[str, str]]) -> str:
    shown = ("\n".join(f"{key}: {_short(text)}" for key, text in one.items()) for one in read)
    return "\n```text\n" + "\n\n".join(shown) + "\n```\n" if read else ""


def _short(text: str) -> str:
    """On one line, without what would end the block."""
    line = text.replace("```", "...").replace("\n", " / ")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def _cells(found: dict[str, Any]) -> str:
    interval = "" if found["interval"] is None else f"{found['interval'][0]:.4g} to {found['interval'][1]:.4g}"
    floor = "" if found["floor"] is None else f"{found['floor']:.4g}"
    return f"{found['value']:.4g} | {interval} | {floor}"


if __name__ == "__main__":
    main(sys.argv[1:])
