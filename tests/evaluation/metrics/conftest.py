"""Every score that a test of a metric computes is held to what a score must say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from miaobi.evaluation import scoring
from miaobi.evaluation.metrics import Metric
from miaobi.evaluation.records import Score
from tests.support.protocols import check


@pytest.fixture(autouse=True)
def whole_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    stamped = scoring._stamped

    def checked(metric: Metric, scores: Mapping[str, Score]) -> dict[str, Score]:
        found = stamped(metric, scores)
        for figure, one in found.items():
            check(metric, figure, one)
        return found

    monkeypatch.setattr(scoring, "_stamped", checked)
