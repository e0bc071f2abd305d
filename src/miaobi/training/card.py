"""``MODEL_CARD.md``: what a model is, what it learned from, how good it is, where its limits are, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miaobi.recipe import plugin_name
from miaobi.training.progress import duration


def text(info: Mapping[str, Any]) -> str:
    """The card of a model whose ``info`` is saved beside its weights."""
    recipe, data = info["recipe"], info["data"]
    sections = {
        "Model": [
            f"- Family: {recipe['model']['family']}, size {recipe['model']['size']}, {info['parameters']:,} parameters",
            f"- Target: {plugin_name(recipe['modality'])}",
            f"- Conditions: {', '.join(recipe['data']['condition']) or 'none'}",
            f"- Weights: {_weights(info)}",
        ],
        "Data": [
            f"- Source: {data['source']} (fingerprint `{data['fingerprint']}`)",
            f"- Licence of the data: {data['licence'] or 'not recorded; find out before you publish the model'}",
            "- Items: " + ", ".join(f"{count:,} {part}" for part, count in data["items"].items()),
        ],
        "Score": [_score(info)],
        "Limits": [
            "- It knows its training data only: what it makes can be wrong, biased, or close to an item of that data.",
            "- The score above chose these weights, so it is optimistic; `miaobi evaluate` scores the test part.",
        ],
        "Cost": [
            f"- {info['steps']:,} steps over {info['items']:,} items in {duration(info['seconds'])}",
            f"- {recipe['train']['precision']}, {recipe['train']['threads']} threads, {_mebibytes(info)}",
            f"- Went back {info['rollbacks']} times after NaN or infinity, each time at half the rate",
        ],
    }
    body = "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items())
    return f"# Model card\n\n{body}\n\nMade with miaobi {info['miaobi']}; the recipe is in `model.json`.\n"


def _weights(info: Mapping[str, Any]) -> str:
    kind = "exponential moving average" if info["weights"] == "average" else "raw (no averaging)"
    why = "the best on held-out data" if info["best"] else "the last"
    return f"{kind}, of step {info['step']:,} of {info['steps']:,}, {why}"


def _score(info: Mapping[str, Any]) -> str:
    best = info["best"]
    if best is None:
        return "- None: nothing was held out"
    return f"- {best['metric']}: {best['value']:.5g} on the validation part, at step {best['step']:,}"


def _mebibytes(info: Mapping[str, Any]) -> str:
    return f"{info['memory'] / 2**20:,.0f} MiB"
