"""Stitching: are generated texts or music put together from long runs of training items?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._copies import training_sequences
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.metrics._runs import coverage
from miaobi.evaluation.metrics._words import bound_to_tokens, elements, kind_of_elements
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_SIZES = (*range(6, 33), 35, 38, 42, 46, 50, 55, 60, 66, 72, 79, 86)
_SHARED = 1 / 3
"""Of held-out items, what may be in runs of a length that is called long."""


class Stitching(Metric):
    """The mean share of a sample's elements that lie in long runs which some training item, any one, has too.

    Long is the shortest of 6 to 86 elements at which at most a third of the held-out items' own elements lie
    in such runs. `memorization` looks for one training item and `pasting` for two; this one for any number of pieces.

    Pitfalls. Shorter pieces escape it: then they are as short as what unrelated items share. Formulas that the data is
    full of count as runs, for held-out items as well, which the floor tells. An n-gram model of a high order is put
    together from runs by its nature.
    """

    class Config(Settings):
        """The metric's options."""

        run: int | None = Value(
            None, ge=1, le=10_000, description="elements of a long run; default: by the held-out items"
        )

    figures: ClassVar[dict[str, Direction]] = {"stitched_share": Direction.LOWER}
    paper: ClassVar[str] = (
        "coverage by runs of the training data, as the copied n-grams of McCoy et al. 2023, "
        '"How Much Do Language Models Copy From Their Training Data?"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    def compute(self, context: Context) -> dict[str, Score]:
        """The one figure."""
        queries = [elements(context.modality, array) for array in [*context.real, *context.generated]]
        sizes = [self.config.run] if self.config.run else list(_SIZES)
        found = coverage(queries, training_sequences(context), sizes)
        held = found[:, : context.count].mean(1)
        chosen = int(np.argmax(held <= _SHARED)) if (held <= _SHARED).any() else len(sizes) - 1
        values = found[chosen, context.count :]
        protocol = self.stamp(
            "stitched_share",
            context.sample_stamp(),
            tokenizer_bound=bound_to_tokens(context.modality),
            unit=f"share of {kind_of_elements(context.modality)} in runs of {sizes[chosen]}",
            interval_method="95 %, Student's t over samples",
            floor_method="the same figure of the held-out items",
            floor_samples=context.count,
            detail={"run": sizes[chosen], "training_items": len(context.prepared.train)},
        )
        interval = of_mean(values.tolist())
        return {"stitched_share": Score(float(values.mean()), interval, float(held[chosen]), protocol)}
