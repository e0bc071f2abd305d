"""Whether held-out Python, completed and filled in by a model, is Python again."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field as Value

from miaobi.errors import InvalidRecipe
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean, share
from miaobi.evaluation.metrics._pairs import require_text
from miaobi.evaluation.metrics._passages import Passage, completed, ends_of, filled, gaps_of
from miaobi.evaluation.metrics._python import code_lines, is_python, parses
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_RULE = (
    "the whole text, what was given and what was written, parsed by `ast` as it stands; what was written has at least "
    "one line that is neither blank nor a comment"
)
_SHORT = "pass"


class Completion(Metric):
    """Held-out texts are cut, and what the model writes in place of what was taken out is put between what was left.

    A completion goes from ``prompt_share`` of the lines to the model's end token; one that reaches the longest length
    is judged as it is. A gap, of a model that fills gaps of any length, is ``gap_share`` of the lines, anywhere but at
    the ends. Nothing is run.

    Pitfalls. Parsing is little, and a short completion parses easily: the protocol says what share parses where
    ``pass`` is written in place of everything, or nothing at all; the mean number of lines, and the share of
    completions that parse *and* have some lines, stand beside it. Texts that are cut off at the longest length may not
    parse as they are: a share is read against its floor.
    """

    class Config(Settings):
        """The metric's options."""

        prompt_share: float = Value(0.5, ge=0, le=0.9, description="of a text's lines, at least one, that are given")
        gap_share: float = Value(0.3, gt=0, le=0.9, description="of a text's lines, at least one, that are taken out")
        least_lines: int = Value(3, ge=1, le=100, description="lines of code of a long completion")
        longest: int = Value(20_000, ge=1, le=100_000, description="characters; a longer text counts as not parsing")

    figures: ClassVar[dict[str, Direction]] = {
        "completion_parse": Direction.HIGHER,
        "completion_parse_long": Direction.HIGHER,
        "completion_lines": Direction.NEITHER,
        "completion_distinct": Direction.NEITHER,
        "infill_parse": Direction.HIGHER,
        "infill_exact": Direction.HIGHER,
        "infill_lines": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'lines taken out as in Bavarian et al. 2022, "Efficient training of language models to fill in the middle"; '
        "the parser is Python's own"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text.
        """
        super().check(family, modality)
        require_text(name_of(cls), modality)

    def compute(self, context: Context) -> dict[str, Score]:
        """Of the texts from which code can be taken; infills where the family fills gaps of any length.

        Raises:
            InvalidRecipe: there are none.
        """
        texts = [str(item) for item in context.real_items]
        scores: dict[str, Score] = {}
        if ends := _of_code(ends_of(texts, self.config.prompt_share)):
            judged = _Judged(self, context, "completion", ends, completed(context, ends))
            least = self.config.least_lines
            scores |= judged.parse() | judged.parse("_long", least) | judged.lines() | judged.distinct()
        gaps = _of_code(gaps_of(texts, self.config.gap_share, context.seed))
        if gaps and context.model.family.fills_any_length:
            judged = _Judged(self, context, "infill", gaps, filled(context, gaps))
            scores |= judged.parse() | judged.lines() | judged.exact()
        if not scores:
            raise InvalidRecipe(
                "completion takes lines of code out of held-out texts",
                given=f"{len(texts)} of them, none with lines to take",
                cure="leave the metric out, or hold out texts of several lines",
            )
        return scores


@dataclass(frozen=True, slots=True)
class _Judged:
    """Figures of what was ``written`` in place of each case's inside; ``kind`` begins their names."""

    metric: Completion
    context: Context
    kind: str
    cases: Sequence[Passage]
    written: Sequence[str]

    def parse(self, ending: str = "", least: int = 1) -> dict[str, Score]:
        """The share that parses with at least ``least`` lines of code; the floor is that of the texts as they were."""
        floor = sum(self._right(self.originals, least)) / len(self.cases)
        without = {"empty": self._parse_with(""), _SHORT: self._parse_with(_SHORT)}
        return self._share(
            f"parse{ending}",
            self._right(self.written, least),
            floor,
            preprocessing=f"{_RULE} (here {least})",
            signature=f"python:{'.'.join(platform.python_version_tuple()[:2])}",
            detail={"parse_with": without},
        )

    def exact(self) -> dict[str, Score]:
        """The share that is what was taken out, blanks at the ends aside."""
        same = [text.strip() == real.strip() for text, real in zip(self.written, self.originals, strict=True)]
        return self._share("exact", same, None, preprocessing="blanks at both ends are taken off")

    def lines(self) -> dict[str, Score]:
        """Mean lines of code written; the floor is the mean of what was taken out."""
        written, real = ([code_lines(text) for text in texts] for texts in (self.written, self.originals))
        protocol = self._stamp("lines", unit="lines neither blank nor a comment", interval_method="95 %, Student's t")
        return {f"{self.kind}_lines": Score(_mean(written), of_mean(written), _mean(real), protocol)}

    def distinct(self) -> dict[str, Score]:
        """Different ones among all; the floor is that of what was taken out."""
        value, floor = (len(set(texts)) / len(texts) for texts in (self.written, self.originals))
        protocol = self._stamp("distinct", unit="different ones, share of all")
        return {f"{self.kind}_distinct": Score(value, None, floor, protocol)}

    @property
    def originals(self) -> list[str]:
        """What was taken out."""
        return [case.inside for case in self.cases]

    def _share(self, name: str, right: Sequence[bool], floor: float | None, **more: Any) -> dict[str, Score]:
        count, done = len(right), sum(right)
        protocol = self._stamp(name, unit="share", interval_method="95 %, Wilson", **more)
        return {f"{self.kind}_{name}": Score(done / count, share(done, count), floor, protocol)}

    def _stamp(self, name: str, **more: Any) -> Protocol:
        own = {"samples": len(self.cases), "floor_method": "what was taken out, in place of what was written"}
        common = self.context.sample_stamp()
        return self.metric.stamp(f"{self.kind}_{name}", common, **{**own, "floor_samples": len(self.cases), **more})

    def _right(self, written: Sequence[str], least: int) -> list[bool]:
        longest = self.metric.config.longest
        return [
            code_lines(text) >= least and is_python(case.before + text + case.after, cut=False, longest=longest)
            for case, text in zip(self.cases, written, strict=True)
        ]

    def _parse_with(self, text: str) -> float:
        """The share that parses where ``text`` is the one line that is written, indented as fits the line before it."""
        lines = (_next_line(case.before, text) if text else "" for case in self.cases)
        return _mean([parses(case.before + line + case.after) for case, line in zip(self.cases, lines, strict=True)])


def _of_code(passages: Sequence[Passage]) -> list[Passage]:
    return [one for one in passages if code_lines(one.inside)]


def _next_line(before: str, text: str) -> str:
    """``text`` on a line of its own: deeper after a colon, else as deep as the last line."""
    last = before.rpartition("\n")[2]
    depth = len(last) - len(last.lstrip()) + (4 if last.endswith(":") else 0)
    return f"\n{' ' * depth}{text}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
