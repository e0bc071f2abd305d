"""How long every model of a comparison may learn: as a person writes it, and as settings of a recipe."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from miaobi.errors import InvalidRecipe

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 60.0 * 1e5
_MOST_STEPS = 10**9
_ALLOWED = "seconds, minutes, hours or steps: 300s, 5m, 2h, 500steps; up to 6,000,000 seconds or 1,000,000,000 steps"


@dataclass(frozen=True, slots=True)
class Budget:
    """Exactly one of the two: seconds of wall time, which a rehearsal turns into steps, or steps."""

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, given: str | float) -> Budget:
        """Read ``300s``, ``5m``, ``2h``, ``500steps``, or a number of seconds.

        Raises:
            InvalidRecipe: none of these, not positive, or too much.
        """
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(s|m|h|steps?)?", str(given).strip())
        number, unit = (float(found[1]), found[2] or "s") if found else (math.nan, "")
        if unit.startswith("step"):
            if number.is_integer() and 1 <= number <= _MOST_STEPS:
                return cls(steps=int(number))
        elif unit and 0 < number * _UNITS[unit] <= _LONGEST:
            return cls(seconds=number * _UNITS[unit])
        raise InvalidRecipe("not a budget", given=given, allowed=_ALLOWED)

    @property
    def length(self) -> dict[str, Any]:
        """What a recipe's ``train`` section says of its length."""
        minutes = None if self.seconds is None else self.seconds / 60
        return {"steps": self.steps, "epochs": None, "minutes": minutes}

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.seconds is None else f"{self.seconds:g} s"
