"""Names of metrics, and what every metric must state about itself."""

from __future__ import annotations

import re

import pytest

from miaobi.errors import UnknownName
from miaobi.evaluation import Direction
from miaobi.evaluation.metrics import Choice, figures, find, names, resolve


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("likelihood", Choice("likelihood", None)),
        ("kernel-distance", Choice("kernel_distance", None)),
        ("likelihood.nats_per_token", Choice("likelihood", "nats_per_token")),
        ("recall", Choice("precision_recall", "recall")),
        ("self-bleu", Choice("diversity", "self_bleu")),
    ],
)
def test_group_figure_and_unique_figure(name: str, choice: Choice) -> None:
    assert resolve(name) == choice


@pytest.mark.parametrize(
    ("name", "near"),
    [("kernal_distance", "kernel_distance"), ("likelihood.bits_per_bite", "bits_per_byte"), ("recal", "recall")],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownName, match=near):
        resolve(name)


def test_a_shared_figure_must_name_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miaobi.evaluation.metrics.figures", lambda: {"recall": ("precision_recall", "other")})
    with pytest.raises(UnknownName, match=r"other\.recall"):
        resolve("recall")


@pytest.mark.parametrize("name", names())
def test_every_metric_states_its_figures_and_source(name: str) -> None:
    metric = find(name)
    assert metric.figures
    assert all(isinstance(direction, Direction) for direction in metric.figures.values())
    assert re.search(r"\b(19|20)\d\d\b", metric.paper)
    assert all(figures()[figure] == (name,) for figure in metric.figures)
    assert metric.Config.parse({}) == metric.Config()
