"""What a refreshed model has to show: a gain on the new data, and little forgetting of the old.

Both are of the same held-out items before and after, so noise that the items share cancels out. A gate looks at the
worse end of the interval: what is not shown beyond noise does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from miaobi.evaluation.paired import Paired
from miaobi.recipe import RefreshSettings

GAIN, FORGETTING = "gain", "forgetting"


def judge(settings: RefreshSettings, new: Paired, old: Sequence[tuple[str, Paired]]) -> dict[str, Any]:
    """The verdict, as ``gates.json`` has it.

    Args:
        settings: the margins, as shares of the figure before.
        new: the new data, the model in use against the refreshed one.
        old: each earlier version, and on its data that version against the refreshed one: none may be forgotten, and a
            little in each of many refreshes adds up to no more than is allowed in one.
    """
    forgotten = [forgetting(one, settings.forget) | {"since": version} for version, one in old]
    gates = [gain(new, settings.gain), *forgotten]
    return {
        "passed": all(gate["passed"] for gate in gates),
        "figure": new.figure,
        "better": str(new.direction),
        "replay": settings.replay,
        "distil": settings.distil,
        "gates": gates,
    }


def gain(found: Paired, share: float) -> dict[str, Any]:
    """Passes where the lower end of the improvement is above ``share`` of the old model's figure."""
    margin = share * abs(found.before)
    return _gate(GAIN, found, found.better, found.interval, margin, found.interval and found.interval[0] > margin)


def forgetting(found: Paired, share: float) -> dict[str, Any]:
    """Passes where the upper end of the worsening is below ``share`` of the figure before."""
    margin = share * abs(found.before)
    worse = None if found.interval is None else (-found.interval[1], -found.interval[0])
    return _gate(FORGETTING, found, -found.better, worse, margin, worse and worse[1] < margin)


def sentence(gate: Mapping[str, Any]) -> str:
    """A gate in words."""
    verdict = "passed" if gate["passed"] else "not passed"
    if gate["interval"] is None:
        return f"{gate['gate']} on {gate['source']}: {verdict}: {gate['items']} held-out items are too few to tell"
    low, high = gate["interval"]
    since = f" with version {gate['since']}" if "since" in gate else ""
    wanted = f"all of it has to be {'above' if gate['gate'] == GAIN else 'below'} {gate['margin']:.4g}"
    return (
        f"{gate['gate']} on {gate['source']}: {verdict}: {gate['change']:+.4g} ({low:+.4g} to {high:+.4g}; {wanted}), "
        f"{gate['figure']} {gate['before']:.5g} before{since} and {gate['after']:.5g} after"
    )


def _gate(
    name: str,
    found: Paired,
    change: float,
    interval: tuple[float, float] | None,
    margin: float,
    passed: object,
) -> dict[str, Any]:
    return {
        "gate": name,
        "passed": bool(passed),
        "source": found.source,
        "split": found.split,
        "items": found.items,
        "figure": found.figure,
        "before": found.before,
        "after": found.after,
        "change": change,
        "interval": None if interval is None else list(interval),
        "margin": margin,
    }
