"""What a search came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from miaobi.training.tuning.confirming import Confirmed


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes:
        study: its folder.
        figure: the held-out figure that decided.
        trials: how many there are; ``pruned`` and ``failed`` of them did not go their whole length.
        best: ``{trial, value, parameters}``; of the recipe as it is the parameters are empty.
        default: ``{trial, value}`` of the recipe as it is; the value is ``None`` where it diverged.
        confirmed: both over further seeds on the test part, where there is one; ``None`` where no trial was better.
        recipe: the best one, ready for `miaobi.train`.
        importances: each setting's share in what made trials good; empty where too few went their whole length.
        summary: what was found, in sentences.
    """

    study: Path
    figure: str
    trials: int
    pruned: int
    failed: int
    best: dict[str, Any]
    default: dict[str, Any]
    confirmed: Confirmed | None
    recipe: Path
    importances: dict[str, float]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """What ``miaobi tune --json`` prints."""
        confirmed = self.confirmed and {**asdict(self.confirmed), "beyond_noise": self.confirmed.beyond_noise}
        return {**vars(self), "confirmed": confirmed}
