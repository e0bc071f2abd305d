"""Salts that a test can count on: simulated raters draw their answers in the order in which they are asked."""

from __future__ import annotations

import itertools

import pytest


@pytest.fixture(autouse=True)
def _salts(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count(1)
    monkeypatch.setattr(
        "miaobi.evaluation.human.study.secrets.token_hex", lambda size=32: f"{next(numbers):0{2 * size}x}"
    )
