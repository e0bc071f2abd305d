"""One public model, five ways to a task: asked, shown examples, prompt tuning, low-rank adapters, all weights.

Each of `WAYS` changes the recipe `RECIPE`; what is trained gets ``MIAOBI_BENCH_MINUTES``. All are measured on the same
held-out items. Runs and scores are kept under ``benchmarks/.work/adaptation``, so an interrupted table
goes on where it stopped. It takes over an hour at its usual budget, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import Report, machine
from miaobi.models import info_of
from miaobi.recipe import shipped

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
    size = (WORK / _slug(LORA) / "model" / "model.safetensors").stat().st_size / 1e6
    report.checks[f"the adapter has {size:.1f} MB, under 10"] = size < 10
    peak, said = _memory(LORA)
    report.checks[f"LoRA's peak of {peak:,.0f} MiB is within 10 % of the {said:,.0f} estimated"] = (
        abs(peak / said - 1) < 0.1
    )
    report.write()


def _scored(way: str, changes: Sequence[str]) -> dict[str, Any]:
    run = WORK / _slug(way)
    kept = run.with_suffix(".json")
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    settings = [f"--set={change}" for change in (*changes, *_SHARED)]
    # A run that is done would be delivered again by a process that trained nothing, and say its memory.
    if not (run / "model" / "model.json").is_file():
        _miaobi("train", RECIPE, "--run", str(run), "--resume", *settings)
    found = _miaobi("evaluate", str(run), "--metric", "rouge")
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def _miaobi(*arguments: str) -> dict[str, Any]:
    print("miaobi", *arguments, file=sys.stderr, flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS}
    command = [sys.executable, "-m", "miaobi.cli", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _row(way: str, made: dict[str, Any]) -> list[Any]:
    info = info_of(WORK / _slug(way))
    folder = WORK / _slug(way) / "model"
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
    said = json.loads((WORK / _slug(way) / "lineage.json").read_text(encoding="utf-8"))
    return said["result"]["memory"] / 2**20, said["estimate"]["memory"] / 2**20


def _slug(way: str) -> str:
    """A folder's name; runs of other settings have another."""
    said = json.dumps([WAYS[way], _SHARED, Path(shipped()[RECIPE]).read_text(encoding="utf-8")])
    name = "".join(letter if letter.isalnum() else "-" for letter in way.lower())
    return f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


if __name__ == "__main__":
    main()
