"""Who comes first: by quality, among the models whose samples are neither copies, nor all alike, nor without order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miaobi.errors import Incomparable, InvalidRecipe, Unsupported
from miaobi.evaluation.charts import short
from miaobi.evaluation.comparability import beyond_noise, require_comparable
from miaobi.evaluation.metrics import find, resolve
from miaobi.evaluation.metrics._copies import BY_CHANCE
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Sampling
from miaobi.modalities import Modality
from miaobi.types import Form

COPIED_MARGIN = 0.01
"""How far above what chance explains the share of copied samples, or of pasted ones, may surely be."""
NEAR_MARGIN = 0.25
"""How far above what chance explains the share of samples that are near a training item may surely be."""
STITCHED = 0.4
"""Share of what held-out items have outside long runs of the training data that samples may surely have inside them."""
LONGEST_RUN = 4.0
"""How many times the held-out items' own the longest run copied from one training item may surely be."""
LEAST_VARIETY = 0.5
"""Share of the held-out items' variety that samples of tokens need."""
LEAST_RECALL = 0.2
"""Share of real data's trimmed recall that samples of tensors need."""

Scores = Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Place:
    """A ranked model: its rank, its quality, and the ranked models that are within its noise."""

    name: str
    rank: int
    value: float
    ties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranked models, best first; the others with the reasons why they are not ranked; and the rule in words."""

    quality: str
    places: tuple[Place, ...]
    unranked: dict[str, tuple[str, ...]]
    rule: str

    @property
    def summary(self) -> str:
        """One line: the order, and who is not in it."""
        ranks = sorted({place.rank for place in self.places})
        groups = [[place for place in self.places if place.rank == rank] for rank in ranks]
        order = ", ".join(f"{group[0].rank}. {_group(group)}" for group in groups)
        left = "; ".join(f"{name} ({reasons[0]})" for name, reasons in self.unranked.items())
        first = f"by {self.quality}: {order}" if order else "no model is ranked: none passes every gate"
        return f"{first}. Not ranked: {left}." if left else f"{first}."

    def to_json(self) -> dict[str, Any]:
        """What ``miaobi compare --json`` prints as ``ranking``."""
        return {
            "quality": self.quality,
            "order": [
                {"name": place.name, "rank": place.rank, "value": place.value, "ties": list(place.ties)}
                for place in self.places
            ],
            "unranked": {name: list(reasons) for name, reasons in self.unranked.items()},
            "rule": self.rule,
            "summary": self.summary,
        }


def quality_of(modality: Modality, wanted: str | None = None) -> str:
    """The figure, as GROUP.FIGURE, that models of a modality are ranked by.

    Raises:
        UnknownName: no such figure.
        InvalidRecipe: one that cannot rank, because it is not of samples, or better neither higher nor lower.
        Unsupported: models of this modality are not ranked.
    """
    named = wanted or modality.shown.quality
    if named is None:
        raise Unsupported(
            f"models of {modality.shown.name} are not compared by their samples",
            allowed="texts, images, music, speech, video",
            cure="use miaobi evaluate on each",
        )
    choice = resolve(named)
    metric = find(choice.group)
    figure = choice.figure or next(iter(metric.figures))
    if metric.ability is not Sampling or metric.figures[figure] is Direction.NEITHER:
        raise InvalidRecipe(
            "models cannot be ranked by this figure",
            given=f"{choice.group}.{figure}",
            allowed="a figure of samples that is better higher, or better lower",
        )
    return f"{choice.group}.{figure}"


def figures(modality: Modality, quality: str) -> list[str]:
    """Quality and what the gates look at, as metrics are asked for."""
    tokens = modality.shown.form is Form.TOKENS
    spread = "diversity" if tokens else "precision_recall"
    pasting = ["pasting"] if tokens or modality.shown.name == "image" else []
    return list(dict.fromkeys([quality, spread, "memorization", *pasting, *(["stitching"] if tokens else [])]))


def rank(scores: Mapping[str, Scores], shuffled: Score, quality: str) -> Ranking:
    """The ranking of models.

    Args:
        scores: by model, by figure (without its group); what a model could not be scored by is absent.
        shuffled: the quality of shuffled training items, measured the same way.
        quality: the figure, as GROUP.FIGURE.
    """
    figure = quality.partition(".")[2]
    reasons = {name: failures(found, shuffled, figure) for name, found in scores.items()}
    passing = {name: scores[name][figure] for name in scores if not reasons[name]}
    return Ranking(
        quality,
        tuple(_places(passing)),
        {name: tuple(said) for name, said in reasons.items() if said},
        rule(quality, "self_bleu" in {key for found in scores.values() for key in found}),
    )


def failures(found: Scores, shuffled: Score, figure: str) -> list[str]:
    """Why a model is not ranked, a sentence for each gate that it does not pass; empty where it is."""
    if figure not in found:
        return [f"{figure} was not measured"]
    try:
        require_comparable(found[figure], shuffled)
    except Incomparable as error:
        return [f"its {figure} does not compare: it differs in {error.field}"]
    return [
        said
        for said in (*_unmeasured(found), *copying(found), *_variety(found), _order(found[figure], shuffled))
        if said
    ]


def rule(quality: str, tokens: bool) -> str:
    """The rule in words."""
    runs = (
        f"longest_copy is not more than {LONGEST_RUN:g} times that of held-out items; stitched_share, of elements in "
        f"long runs of any training items, takes at most {STITCHED:.0%} of what held-out items have outside such runs. "
    )
    variety = (
        f"at least {LEAST_VARIETY:.0%} of the held-out items' (distinct_4, and 100 less self_bleu)"
        if tokens
        else f"at least {LEAST_RECALL:.0%} of what real data reaches (trimmed_recall)"
    )
    return (
        f"Models are ranked by {quality} alone, and only those that pass every gate. "
        "Memory: surely, by the near end of a 95 % interval, copied_share, samples nearer to a training item than all "
        f"but a hundredth of held-out items, is not more than {COPIED_MARGIN:g} above chance; nor is pasted_share, "
        f"nearer to a paste of two, where it is measured; near_share, nearer than all but a twentieth, is not "
        f"{NEAR_MARGIN:g} above; chance is the far end of what held-out items of the samples' lengths score. "
        f"{runs if tokens else ''}"
        f"Variety: {variety}. "
        f"Order: {quality} is better than that of shuffled training items, beyond noise. "
        "A model's rank is one more than the number of ranked models that are better beyond noise: models whose 95 % "
        "intervals overlap are tied. Where there are too few items for an interval, or no model passes, none is ranked."
    )


def copying(found: Scores) -> list[str]:
    """In what ways samples surely are copies beyond chance, a sentence without subject for each."""
    limits = {name: limit(found[name]) for name, limit in _LIMITS.items() if name in found}
    return [
        f"{_WRONGS[name]}: {name} {short(found[name].value)}, of real data {short(found[name].floor or 0.0)}"
        for name, most in limits.items()
        if not _near_end(found[name]) <= most
    ]


def _unmeasured(found: Scores) -> list[str]:
    if not {"copied_share", "near_share"} <= found.keys():
        return ["memorization was not measured"]
    return ["too few held-out items to tell copies by"] if found["copied_share"].floor is None else []


def _by_chance(margin: float) -> Callable[[Score], float]:
    return lambda share: float(share.protocol.get("detail", {}).get(BY_CHANCE, share.floor or 0.0)) + margin


def _of_the_rest(stitched: Score) -> float:
    floor = stitched.floor or 0.0
    return floor + STITCHED * (1 - floor)


_LIMITS: Mapping[str, Callable[[Score], float]] = {
    "copied_share": _by_chance(COPIED_MARGIN),
    "near_share": _by_chance(NEAR_MARGIN),
    "pasted_share": _by_chance(COPIED_MARGIN),
    "longest_copy": lambda run: LONGEST_RUN * (run.floor or 0.0),
    "stitched_share": _of_the_rest,
}
_WRONGS = {
    "copied_share": "copies",
    "near_share": "copies with changes",
    "pasted_share": "cuts and pastes",
    "longest_copy": "copies long runs",
    "stitched_share": "stitches runs together",
}


def _near_end(score: Score) -> float:
    return score.value if score.interval is None else score.interval[0]


def _variety(found: Scores) -> list[str]:
    if "trimmed_recall" in found:
        return [
            _too_little("trimmed_recall", found["trimmed_recall"].value, found["trimmed_recall"].floor, LEAST_RECALL)
        ]
    if "distinct_4" not in found or "self_bleu" not in found:
        return ["diversity was not measured"]
    distinct, alike = found["distinct_4"], found["self_bleu"]
    other = None if alike.floor is None else 100 - alike.floor
    return [
        _too_little("distinct_4", distinct.value, distinct.floor, LEAST_VARIETY),
        _too_little("100 less self_bleu", 100 - alike.value, other, LEAST_VARIETY),
    ]


def _too_little(name: str, value: float, floor: float | None, share: float) -> str:
    if floor is None:
        return f"{name} has no floor"
    return "" if value >= share * floor else f"too alike: {name} {short(value)}, of real data {short(floor)}"


def _order(quality: Score, shuffled: Score) -> str:
    if beyond_noise(quality, shuffled):
        return ""
    if quality.interval is None or shuffled.interval is None:
        return "too few items to tell it from shuffled data"
    return f"no better than shuffled data: {short(quality.value)}, that {short(shuffled.value)}"


def _places(passing: Scores) -> list[Place]:
    places = [
        Place(
            name,
            1 + sum(beyond_noise(other, score) for other in passing.values()),
            score.value,
            tuple(
                other
                for other, one in passing.items()
                if other != name and not beyond_noise(one, score) and not beyond_noise(score, one)
            ),
        )
        for name, score in passing.items()
    ]
    lower = any(score.protocol["direction"] == Direction.LOWER for score in passing.values())
    return sorted(places, key=lambda place: (place.rank, place.value if lower else -place.value, place.name))


def _group(group: Sequence[Place]) -> str:
    said = " = ".join(f"{place.name} {short(place.value)}" for place in group)
    return f"{said} (within noise)" if len(group) > 1 else said
