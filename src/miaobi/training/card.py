"""``MODEL_CARD.md``: what a model is, what it learned from, how good it is, where its limits are, what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.evaluation import Score
from miaobi.evaluation.charts import short
from miaobi.training import facts

_LONGEST = 600
"""Characters of a sample that are shown."""
_SHARED = ("source", "data", "split", "samples", "seed", "controls")
_OWN = (
    "extractor",
    "extractor_hash",
    "likelihood",
    "unit",
    "signature",
    "options",
    "interval_method",
    "versions",
    "paper",
)
"""What is said of a protocol beside the figures; the rest is in ``scores/scores.json``."""


def text(info: Mapping[str, Any], scores: Mapping[str, Score], samples: Sequence[Path], place: str = "") -> str:
    """The card of a model.

    Args:
        info: saved beside its weights.
        scores: on held-out data, by figure; empty before anything was measured.
        samples: files of the last live samples.
        place: where these and the scores are in the run's folder.
    """
    sections = {
        "Model": _list(facts.model(info)),
        "Data": _list(facts.data(info)),
        "Scores": _scores(scores),
        "Protocol": _protocols(scores, place),
        "Samples": _samples(samples, place),
        "Limits": [f"- {line}" for line in facts.limits(info, scores)],
        "Cost": _list(facts.cost(info)),
        "Licence": [f"- Of the data: {info['data']['licence'] or facts.UNKNOWN_LICENCE}"],
    }
    body = "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines)
    return f"# Model card\n\n{body}\n\nMade with miaobi {info['miaobi']}; the recipe is in `model.json`.\n"


def _list(entries: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in entries.items()]


def _scores(scores: Mapping[str, Score]) -> list[str]:
    if not scores:
        return ["Not scored on the test part yet; `miaobi evaluate` of the run fills this in."]
    head = ["| figure | value | 95 % interval | real against real | better | items |", "|---|---|---|---|---|---|"]
    return [*head, *(_row(figure, score) for figure, score in scores.items())]


def _row(figure: str, score: Score) -> str:
    interval = "" if score.interval is None else f"{short(score.interval[0])} to {short(score.interval[1])}"
    floor = "" if score.floor is None else short(score.floor)
    said = score.protocol
    items = f"{said.get('samples', '?')} of {said.get('split', '?')}"
    direction = {"neither": "near real"}.get(said.get("direction", ""), said.get("direction", ""))
    return f"| {figure} | {short(score.value)} | {interval} | {floor} | {direction} | {items} |"


def _protocols(scores: Mapping[str, Score], place: str) -> list[str]:
    """What figures share, once for all that do, and what is their own."""
    if not scores:
        return []
    shared, own = (_alike(scores, keys) for keys in (_SHARED, _OWN))
    everywhere = len(shared) == 1
    lines = [f"- {line}" if everywhere else f"- {names}: {line}" for line, names in shared.items()]
    lines += [f"- {names}: {line}" for line, names in own.items()]
    return [*lines, f"- In full: `{place}scores/scores.json` of the run."]


def _alike(scores: Mapping[str, Score], keys: Sequence[str]) -> dict[str, str]:
    """What is said of figures, and the names of those of which it is."""
    found: dict[str, list[str]] = {}
    for figure, score in scores.items():
        found.setdefault(_inline(_chosen(score, keys)), []).append(figure)
    return {line: ", ".join(names) for line, names in found.items() if line}


def _chosen(score: Score, keys: Iterable[str]) -> dict[str, Any]:
    protocol: Mapping[str, Any] = score.protocol
    return {key: protocol[key] for key in keys if _said(protocol.get(key))}


def _said(value: Any) -> bool:
    """Whether there is something to say: settings that were left alone, of which there are many, hide the others."""
    return value not in (None, {}, [], "") and value is not False


def _inline(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items() if _said(one))
    return str(value)


def _samples(paths: Sequence[Path], place: str) -> list[str]:
    """Texts as they are, indented so that nothing in them is taken for Markdown; of others, where to see them."""
    texts = [path for path in paths if path.suffix == ".txt"]
    if not texts:
        return [f"{len(paths)} in `{place}samples/` of the run; its `report.html` shows them."] if paths else []
    shown = (path.read_text(encoding="utf-8", errors="replace")[:_LONGEST] for path in texts)
    quoted = ("\n".join(f"    {line}" for line in one.splitlines() or [""]) for one in shown)
    return ["As they come, none chosen:", "", "\n\n---\n\n".join(quoted)]
