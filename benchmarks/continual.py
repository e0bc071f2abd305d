"""Refreshing a model with new data: how much it gains there, and how much of the old it forgets.

A language model of the Bible's verses in Basic English goes on with Debian's one-line package summaries, by characters:
naively (no replay), with half of an epoch's items replayed, and with distillation from the old model on those too. All
refreshes of a seed start from the same model, take the same number of steps and are measured on the same held-out
items, so the replayed items cost new ones. A refresh is a version of the run, so an interrupted table goes on where it
stopped; runs are kept under ``benchmarks/.work/continual``. Each of `SEEDS` trains four models for at most about
`SECONDS` each, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import Report, machine
from miaobi import models, training
from miaobi.data import prepare
from miaobi.evaluation.paired import Paired, compare_on
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder

SECONDS = float(os.environ.get("MIAOBI_BENCH_SECONDS", "90"))
"""Of the first model; its steps, of which a refresh takes half, are measured once."""
THREADS = int(os.environ.get("MIAOBI_BENCH_THREADS", "1"))
SEEDS = range(int(os.environ.get("MIAOBI_BENCH_SEEDS", "3")))
OLD, NEW, NEW_COLUMN = "catalog:bible-pairs", "catalog:debian-summaries", "summary"
NAIVE, REPLAY, DISTIL = "naive", "replay", "replay and distillation"
REFRESHES = {
    NAIVE: ["refresh.replay=0"],
    REPLAY: ["refresh.replay=0.5"],
    DISTIL: ["refresh.replay=0.5", "refresh.distil=1"],
}
WORK = Path(__file__).parent / ".work" / "continual"
COLUMNS = ["refresh", "seed", "gain on the new, bits a byte", "forgetting of the old, bits a byte", "gates", "seconds"]


def main() -> None:
    """Train and measure what is missing, then the table."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    verdicts = {seed: _seed(seed) for seed in SEEDS}
    report = Report("Continual learning: replay against forgetting", "", COLUMNS)
    for name in REFRESHES:
        found = [verdicts[seed][name] for seed in SEEDS]
        report.rows += [_row(name, seed, one) for seed, one in zip(SEEDS, found, strict=True)]
        report.rows.append(_mean(name, found))
    spared = {seed: _spared(seed) for seed in SEEDS}
    report.checks = {
        "every refresh gains on the new data beyond noise": all(
            _gate(one, "gain")["interval"][0] > 0 for found in verdicts.values() for one in found.values()
        ),
        "with replay the old data's loss rises less than without, beyond noise, for every seed": all(
            one.interval is not None and one.interval[0] > 0 for one in spared.values()
        ),
    }
    report.setting = _setting(verdicts, spared)
    print(report.setting, file=sys.stderr)
    report.write()


def recipe(seed: int) -> Recipe:
    """Of the first model."""
    return Recipe.load(
        {
            "modality": {"name": "text", "max_length": 128},
            "data": {"source": OLD, "content": "basic", "clean": {"max_length": 128, "limit": 6000}},
            "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "transformer"}},
            "train": {
                "minutes": SECONDS / 60,
                "batch_size": 32,
                "learning_rate": 0.02,
                "optimiser": {"name": "muon", "other_learning_rate": 3e-3},
                "schedule": {"name": "linear", "warmup": 50},
                "threads": THREADS,
                "tracking": [],
            },
            "seed": seed,
        }
    )


def _seed(seed: int) -> dict[str, Any]:
    """The verdict of each refresh of a seed's first model."""
    run = _run(seed)
    if not (run / "model" / "model.json").is_file():
        training.train(recipe(seed), run=run, resume=True)
    steps = (Recipe.load(run).train.steps or 2) // 2
    return {
        name: _refreshed(run, _place(seed, name), [*changes, f"refresh.steps={steps}"])
        for name, changes in REFRESHES.items()
    }


def _refreshed(run: Path, place: Path, changes: Sequence[str]) -> dict[str, Any]:
    folder = RunFolder(place)
    if not folder.gates.is_file():
        if folder.used:
            training.train(place, resume=True)
        else:
            training.train(run, continue_with=NEW, changes=[f"data.content={NEW_COLUMN}", *changes])
    verdict: dict[str, Any] = json.loads(folder.gates.read_text(encoding="utf-8"))
    return verdict | {"seconds": models.info_of(folder.model)["seconds"]}


def _spared(seed: int) -> Paired:
    """How much better the old data is remembered with replay than without."""
    naive, replayed = (models.load(_place(seed, name) / "model") for name in (NAIVE, REPLAY))
    old = prepare(Recipe.load(_run(seed)), fitted=(naive.modality, naive.conditions))
    return compare_on(naive, replayed, old, "likelihood", count=1000, seed=seed)


def _run(seed: int) -> Path:
    return WORK / f"{SECONDS:g}-{seed}"


def _place(seed: int, name: str) -> Path:
    return _run(seed) / "versions" / f"{list(REFRESHES).index(name) + 2:04}"


def _gate(verdict: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(gate for gate in verdict["gates"] if gate["gate"] == name)


def _row(name: str, seed: int, verdict: Mapping[str, Any]) -> list[str]:
    changes = [_with_interval(_gate(verdict, gate)) for gate in ("gain", "forgetting")]
    passed = [f"{gate['gate']} {'passed' if gate['passed'] else 'not passed'}" for gate in verdict["gates"]]
    return [name, str(seed), *changes, ", ".join(passed), f"{verdict['seconds']:.0f}"]


def _mean(name: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for gate in ("gain", "forgetting"):
        changes = [_gate(one, gate)["change"] for one in found]
        cells.append(f"{statistics.mean(changes):+.3f} (seeds {min(changes):+.3f} to {max(changes):+.3f})")
    return [f"{name}, mean", "", *cells, "", f"{statistics.mean(one['seconds'] for one in found):.0f}"]


def _with_interval(gate: Mapping[str, Any]) -> str:
    low, high = gate["interval"]
    return f"{gate['change']:+.3f} ({low:+.3f} to {high:+.3f})"


def _setting(verdicts: Mapping[int, Mapping[str, Any]], spared: Mapping[int, Paired]) -> str:
    first = verdicts[SEEDS[0]][REPLAY]
    data, gain, forgetting = first["data"], _gate(first, "gain"), _gate(first, "forgetting")
    remembered = "; ".join(
        f"seed {seed}: {one.better:+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"
        for seed, one in spared.items()
        if one.interval
    )
    unknown = data["unknown"] / data["tokens"]
    return (
        f"{OLD} (Basic English verses), then {NEW} (one-line summaries), by characters; the first model trained for "
        f"{SECONDS:g} s on {THREADS} thread(s), each refresh for half of its steps; {data['new']} new training items, "
        f"{unknown:.2%} of their characters unknown to the first model; {gain['items']} new and {forgetting['items']} "
        f"old held-out items ({gain['split']}); before it, {gain['before']:.3f} bits a byte on the new and "
        f"{forgetting['before']:.3f} on the old (seed {SEEDS[0]}); in brackets 95 % intervals, paired bootstrap over "
        f"items, which leave out how much training runs differ; {machine()}.\n\n"
        f"Replay against naive on the old data, bits a byte better, paired by item: {remembered}."
    )


if __name__ == "__main__":
    main()
