"""The records of a rating study: what is asked, what is shown, and what was answered. All of it is plain JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field as Value

from miaobi.types import Settings

REAL = "real"
"""The system whose items are held-out data."""
TIE = "tie"
POINTS = 5
"""Of the Likert scale."""


class Task(StrEnum):
    """What a rater does: rate one item from 1 to 5, choose the better of two, or the real one of two."""

    LIKERT = "likert"
    PAIRS = "pairs"
    REAL = "real"


class Role(StrEnum):
    """What a trial is for: an estimate, a check of attention with a known answer, or a check of consistency."""

    RATED = "rated"
    INSTRUCTION = "instruction"
    BROKEN = "broken"
    REPEAT = "repeat"


CATCHES = frozenset({Role.INSTRUCTION, Role.BROKEN})


class Design(Settings):
    """What a study asks.

    Attributes:
        task, question: what is done, and the words above every trial.
        low, high: the words at the ends of the scale, for Likert.
        own_question: whether the question is the user's, so that a broken item need not be a bad one.
        systems: what is compared; ``real`` is held-out data.
        modality: of the items.
        items: sets of length-matched items; ``requested``: how many were asked for.
        length_ratio: the longest of a set is at most this many times its shortest.
        aligned: whether a set's items were made from the same conditions, which raters see.
        ties: whether "cannot tell" may be answered.
        seed: of what models make, and of which trials are repeated.
        salt: secret and random: order, sides and ids follow from it, and from nothing that a rater could know.
        looks: the one form that pictures, sounds or clips were brought to; empty of texts.
        sources: where each system's items came from.
    """

    task: Task
    question: str = Value(min_length=1, max_length=500)
    low: str = Value("bad", max_length=80)
    high: str = Value("good", max_length=80)
    own_question: bool = False
    systems: tuple[str, ...] = Value(min_length=1, max_length=16)
    modality: str
    items: int = Value(ge=1)
    requested: int = Value(ge=1)
    length_ratio: float = Value(ge=1)
    aligned: bool = False
    ties: bool = False
    seed: int = 0
    salt: str = Value(pattern="^[0-9a-f]{32}$")
    looks: str = ""
    sources: dict[str, str] = Value(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to look at, under an id that says nothing.

    Attributes:
        id: 16 hexadecimal digits.
        system: who made it; empty for attention checks.
        kind: text, image, sound, video or instruction.
        text: of texts and instructions.
        file: name in the study's folder of media, of the others.
        length: in the modality's terms.
        given: the conditions that it was made from, as text.
    """

    id: str
    system: str
    kind: str
    text: str = ""
    file: str = ""
    length: int = 0
    given: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One question, the same for every rater.

    Attributes:
        key: its name; ``of``: the trial that a repeat repeats; ``set``: the number of its set of matched items.
        role: what it is for.
        pieces: ids of one piece, or of two.
        expected: of a catch trial: the right answer, a piece's id, or the highest rating that passes after ``<=``.
    """

    key: str
    role: Role
    pieces: tuple[str, ...]
    expected: str = ""
    of: str = ""
    set: int = -1

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        """The inverse of ``asdict``."""
        return cls(**{**data, "role": Role(data["role"]), "pieces": tuple(data["pieces"])})

    def passed(self, choice: str) -> bool:
        """Whether an answer to a catch trial is the known one."""
        if self.expected.startswith("<="):
            return int(choice) <= int(self.expected[2:])
        return choice == self.expected


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of ``answers.jsonl``.

    Attributes:
        rater, trial: whose, and to which key.
        choice: 1 to 5, the id of a piece, or ``tie``.
        first: of two pieces: the id of the one that was shown first.
        seconds: from the moment when everything was shown, by the rater's own clock.
        time: when it arrived, ISO 8601.
    """

    rater: str
    trial: str
    choice: str
    first: str
    seconds: float
    time: str

    def to_json(self) -> dict[str, Any]:
        """A mapping with one entry an attribute."""
        return asdict(self)
