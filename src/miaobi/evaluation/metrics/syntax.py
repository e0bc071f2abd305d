"""Whether generated texts are Python: the share that the language's own parser takes."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field as Value

from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._pairs import require_text
from miaobi.evaluation.metrics._python import is_python
from miaobi.evaluation.records import Direction, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    import numpy as np

    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_RULE = (
    "parsed by `ast` into at least one statement; a text of the longest length, or a stream's window, may be cut off: "
    "where it does not parse, it is judged once more without its last top-level statement, from that one's first line "
    "to the end, and at least one statement must be left; all other texts are judged whole"
)


class Syntax(Metric):
    """The share of samples that parse as Python; nothing is run.

    A sample that ends by itself is judged whole. One that reaches the longest length may be cut off in the middle of a
    statement, so where it does not parse it is judged as cut back to its last complete top-level statement: the last
    one that begins is dropped, once.

    Pitfalls. Parsing is little: a lone word is an expression, and nothing says that names exist or that the program
    does anything; read it beside the likelihood. What parses depends on the version of Python, which is stamped.
    Windows of a stream begin anywhere, in held-out texts too, so a share is only read against its floor.
    """

    class Config(Settings):
        """The metric's options."""

        longest: int = Value(20_000, ge=1, le=100_000, description="characters; a longer text counts as not parsing")

    figures: ClassVar[dict[str, Direction]] = {"parses": Direction.HIGHER}
    paper: ClassVar[str] = (
        'the share of valid programs as in Poesia et al. 2022, "Synchromesh: Reliable Code Generation from Pre-trained '
        "Language Models\"; the parser is Python's own"
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
        """One figure, 0 to 1; the floor is the held-out items' share."""
        right = self._right(context, context.generated)
        protocol = self.stamp(
            "parses",
            context.sample_stamp(),
            unit="share of samples",
            preprocessing=_RULE,
            interval_method="95 %, Wilson",
            floor_method="the same share of the held-out items",
            floor_samples=context.count,
            signature=f"python:{'.'.join(platform.python_version_tuple()[:2])}",
            detail={"longest": self.config.longest},
        )
        floor = self._right(context, context.real) / context.count
        return {"parses": Score(right / context.count, share(right, context.count), floor, protocol)}

    def _right(self, context: Context, arrays: Sequence[np.ndarray]) -> int:
        limit = _cut_at(context)
        return sum(
            is_python(str(context.modality.decode(array)), cut=len(array) >= limit, longest=self.config.longest)
            for array in arrays
        )


def _cut_at(context: Context) -> float:
    """Tokens from which on a text may be cut off."""
    spec = context.modality.spec
    asked: Any = context.controls.to_json().get("max_length")
    return 0 if spec.stream else min(spec.max_length, asked or spec.max_length)
