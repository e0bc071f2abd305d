"""What is known about a finished run, in words: shared by its page and its model card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from miaobi.evaluation import Score
from miaobi.evaluation.ranking import copying
from miaobi.recipe import plugin_name
from miaobi.training.progress import duration

ASSUMED_WATTS = 30.0
"""Power that an estimate of energy assumes where nothing is said: of a busy laptop."""
UNKNOWN_LICENCE = "not recorded; find out before you publish the model"
_DROPPED = {
    "unreadable": "unreadable",
    "too_short": "too short",
    "too_long": "too long",
    "left_out": "not encodable",
    "exact": "exact duplicates",
    "near": "near duplicates",
}


def watt_hours(seconds: float, watts: float = ASSUMED_WATTS) -> float:
    """An estimate: seconds of training times an assumed power."""
    return seconds * watts / 3600


def model(info: Mapping[str, Any]) -> dict[str, str]:
    """What it is."""
    recipe = info["recipe"]
    return {
        "Family": f"{recipe['model']['family']}, size {recipe['model']['size']}, {info['parameters']:,} parameters",
        "Target": plugin_name(recipe["modality"]),
        "Conditions": ", ".join(recipe["data"]["condition"]) or "none",
        "Weights": _weights(info),
    }


def data(info: Mapping[str, Any]) -> dict[str, str]:
    """What it learnt from."""
    found = info["data"]
    facts = {
        "Source": f"{found['source']} (fingerprint {found['fingerprint']})",
        "Licence of the data": found["licence"] or UNKNOWN_LICENCE,
        "Items": ", ".join(f"{count:,} {part}" for part, count in found["items"].items()),
        "Split": _split(info["recipe"]["data"]["split"]),
    }
    dropped = [f"{count:,} {_DROPPED[kind]}" for kind, count in found.get("dropped", {}).items() if count]
    return facts | ({"Left out": ", ".join(dropped)} if dropped else {})


def dropped(report: Mapping[str, Any]) -> dict[str, int]:
    """How many items of a data report were left out, by reason."""
    kinds = ("unreadable", "too_short", "too_long", "left_out")
    counts = {kind: int(report.get(kind, {}).get("count", 0)) for kind in kinds}
    duplicates = report.get("duplicates", {})
    return counts | {kind: int(duplicates.get(kind, {}).get("count", 0)) for kind in ("exact", "near")}


def cost(info: Mapping[str, Any]) -> dict[str, str]:
    """What it took."""
    train = info["recipe"]["train"]
    return {
        "Training": f"{info['steps']:,} steps over {info['items']:,} items in {duration(info['seconds'])}",
        "Machine": f"{train['precision']}, {train['threads']} threads, {info['memory'] / 2**20:,.0f} MiB at most",
        "Energy": f"about {watt_hours(info['seconds']):.3g} Wh: seconds times {ASSUMED_WATTS:g} W, which is assumed, "
        "not measured",
        "Rolled back": f"{info['rollbacks']} times after NaN or infinity, each time to half the rate",
    }


def limits(info: Mapping[str, Any], scores: Mapping[str, Score]) -> list[str]:
    """What a reader has to know before use, drawn from the run and its scores."""
    return [
        "It knows its training data only: what it makes can be wrong, biased, or close to an item of that data.",
        *_of_validation(info),
        *_of_scores(scores),
        *([f"Training stopped early: {info['stopped']}."] if info["stopped"] else []),
        *([] if info["data"]["licence"] else ["The licence of its data is not known: do not publish it before it is."]),
    ]


def _weights(info: Mapping[str, Any]) -> str:
    kind = "exponential moving average" if info["weights"] == "average" else "raw (no averaging)"
    why = "the best on held-out data" if info["best"] else "the last"
    return f"{kind}, of step {info['step']:,} of {info['steps']:,}, {why}"


def _split(split: Mapping[str, Any]) -> str:
    grouped = f", items of one {split['group']} together" if split["group"] else ""
    how = {
        "hash": "by content, duplicates together",
        "position": "the last items held out",
        "given": "as a column of the data says",
    }
    return f"{how[split['by']]}{grouped}"


def _of_validation(info: Mapping[str, Any]) -> list[str]:
    best = info["best"]
    if best is None:
        return ["Nothing was held out, so nothing is known of how it does on what it has not seen."]
    figure = f"{best['metric']} {best['value']:.5g}"
    return [f"{figure} on the validation part (step {best['step']:,}) chose these weights, so it is optimistic."]


def _of_scores(scores: Mapping[str, Score]) -> Iterator[str]:
    if not scores:
        yield "It has not been scored on the test part: `miaobi evaluate` does."
        return
    yield from (f"It {said}, more than chance explains." for said in copying(scores))
    uncertain = sorted(figure for figure, score in scores.items() if score.interval is None)
    if uncertain:
        yield f"Without an interval, so of unknown noise: {', '.join(uncertain)}."
    yield from _elsewhere(scores.values())
    yield "Scores are of one run and one seed of its samples; another training run would score otherwise."


def _elsewhere(scores: Iterable[Score]) -> Iterator[str]:
    for key, said in (
        ("trained_on", "Some scores are on other data than it was trained on, which may hold training items"),
        (
            "split_requested",
            "There is no test part: some scores are on the validation part, which chose the weights",
        ),
        ("supplied", "Some scores were given conditions from held-out items that another model makes in use"),
    ):
        if any(key in score.protocol for score in scores):
            yield f"{said}."
