"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        run: its folder.
        steps: steps done.
        best: ``{metric, value, step}`` of the delivered weights; ``None`` where nothing was held out.
        model: the model folder.
        stopped: why it ended early, as a sentence; ``None`` where it went its whole length.
        gates: of a refresh, what its gates measured, as in ``gates.json``.
    """

    run: Path
    steps: int
    best: dict[str, Any] | None
    model: Path
    stopped: str | None
    gates: dict[str, Any] | None = None
