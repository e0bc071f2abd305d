"""Scores that can be trusted: stamped with their protocol, with a real-versus-real floor and an interval."""

from __future__ import annotations

from miaobi.evaluation.context import Context
from miaobi.evaluation.records import Direction, Pair, Protocol, Score
from miaobi.evaluation.scoring import applicable, check, evaluate, held_out, score

__all__ = [
    "Context",
    "Direction",
    "Pair",
    "Protocol",
    "Score",
    "applicable",
    "check",
    "evaluate",
    "held_out",
    "score",
]
