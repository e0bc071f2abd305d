"""One public model, five ways to a task: asked, shown examples, prompt tuning, low-rank adapters, all weights.

Each of `WAYS` changes the recipe `RECIPE`; what is trained gets ``MIAOBI_BENCH_MINUTES``. All are measured on the same
held-out items. Runs and scores are kept under ``benchmarks/.work/adaptation``, so an interrupted table
goes on where it stopped. It takes over an hour at its usual budget, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import Report, machine
from benchmarks._runs import folder_of, scored
from miaobi.models import info_of

MINUTES = os.environ.get("MIAOBI_BENCH_MINUTES", "10")
THREADS = os.environ.get("MIAOBI_BENCH_THREADS", "2")
SAMPLES = os.environ.get("MIAOBI_BENCH_SAMPLES", "300")
ITEMS = os.environ.get("MIAOBI_BENCH_ITEMS", "6000")
"""Of the data, the held-out ones among them."""
HERE = Path(__file__).parent
WORK = HERE / ".work" / "adaptation"
RECIPE = "text/debian-summaries-lora"
_ASKED = (
    "model.family=prompted",
    "model.network={}",
    "train.minutes=null",
    "model.options.packing=false",
    "train.precision=bfloat16",
)
_TRAINED = (f"train.minutes={MINUTES}",)
_SHARED = (f"train.threads={THREADS}", f"evaluate.samples={SAMPLES}", f"data.clean.limit={ITEMS}")
WAYS = {
    "zero-shot": (*_ASKED, "model.options.shots=0"),
    "few-shot: the 4 most similar": (*_ASKED, "model.options.shots=4"),
    "LoRA: rank 4": _TRAINED,
    "prompt tuning: 20 tokens": (
        *_TRAINED,
        "model.network={adapter: {name: prompt, tokens: 20}}",
        "model.options.packing=false",
        "train.group_by_length=true",
        "train.learning_rate=0.03",
    ),
    "all weights": (*_TRAINED, "model.network={}", "train.learning_rate=5e-5"),
}
COLUMNS = ["way", "trained numbers", "steps", "seconds", "peak MiB (estimated)", "folder, MB", "ROUGE-L"]
LORA, SHOWN = "LoRA: rank 4", ("zero-shot", "few-shot: the 4 most similar")


def main() -> None:
    scores = {way: _scored(way, changes) for way, changes in WAYS.items()}
    report = Report(
        "Five ways to a task for one public model",
        f"SmolLM2-135M-Instruct on Debian's one-line summaries (`{RECIPE}` and what benchmarks/adaptation.py changes); "
        f"{MINUTES} minutes of training where there is any, {THREADS} threads; ROUGE-L by 95 % bootstrap intervals on "
        f"{SAMPLES} test items, taking the likeliest token; {ITEMS} items are read, an epoch of which is more than the "
        f"training sees. {machine()}",
        COLUMNS,
        [_row(way, made) for way, made in scores.items()],
    )
    lower = scores[LORA]["scores"]["rouge_l"]["interval"][0]
    for way in SHOWN:
        upper = scores[way]["scores"]["rouge_l"]["interval"][1]
        report.checks[f"LoRA's interval of ROUGE-L is above {way}'s: {lower:.3f} over {upper:.3f}"] = lower > upper
    size = (_run(LORA) / "model" / "model.safetensors").stat().st_size / 1e6
    report.checks[f"the adapter has {size:.1f} MB, under 10"] = size < 10
    peak, said = _memory(LORA)
    report.checks[f"LoRA's peak of {peak:,.0f} MiB is within 10 % of the {said:,.0f} estimated"] = (
        abs(peak / said - 1) < 0.1
    )
    report.write()


def _scored(way: str, changes: Sequence[str]) -> dict[str, Any]:
    return scored(_run(way), RECIPE, (*changes, *_SHARED), ("rouge",), THREADS)


def _row(way: str, made: dict[str, Any]) -> list[Any]:
    info = info_of(_run(way))
    folder = _run(way) / "model"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    rouge = made["scores"]["rouge_l"]
    peak, said = _memory(way)
    return [
        way,
        f"{info['trained']:,} of {info['parameters']:,}",
        0 if way in SHOWN else info["step"],
        f"{info['seconds']:,.0f}",
        f"{peak:,.0f} ({said:,.0f})",
        f"{size:,.1f}",
        f"{rouge['value']:.3f} ({rouge['interval'][0]:.3f} to {rouge['interval'][1]:.3f})",
    ]


def _memory(way: str) -> tuple[float, float]:
    """MiB at the peak of the run, and as estimated before it."""
    said = json.loads((_run(way) / "lineage.json").read_text(encoding="utf-8"))
    return said["result"]["memory"] / 2**20, said["estimate"]["memory"] / 2**20


def _run(way: str) -> Path:
    return folder_of(WORK, way, RECIPE, (*WAYS[way], *_SHARED))


if __name__ == "__main__":
    main()
