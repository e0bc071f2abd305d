"""The style metric of a family whose distances are known."""

from __future__ import annotations

import math

import pytest
from torch import Tensor

from miaobi.errors import Diverged, Incomparable, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.comparability import require_comparable
from miaobi.types import Batch
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


class Painter(Sampler):
    """Distances that hang on the item alone."""

    broken = False
    style = "waves"

    def style_signature(self) -> str:
        return self.style

    def style_distances(self, batch: Batch) -> dict[str, Tensor]:
        brightness = batch.target.values.flatten(1).mean(1) + 1
        known = {"objective": 3 * brightness, "style": 2 * brightness, "content": brightness, "roughness": brightness}
        if self.broken:
            known["style"] = known["style"] * math.nan
        return known | {f"untouched_{name}": 10 * values for name, values in known.items()}


def measured(painter: type[Sampler] = Painter, **options: object) -> dict:  # type: ignore[type-arg]
    items = digits(50)
    modality = image(items)
    return score(context(painter(modality, items), data(modality, items[:20], items[20:]), **options), ["style"])


def test_figures_are_means_over_items_beside_the_untouched() -> None:
    found = measured()
    assert list(found) == ["stylisation", "style_distance", "content_distance"]
    content = found["content_distance"].value
    assert content > 0
    for figure, factor in (("stylisation", 3), ("style_distance", 2), ("content_distance", 1)):
        one = found[figure]
        assert one.value == pytest.approx(factor * content)
        assert one.protocol["detail"]["untouched"] == pytest.approx(10 * one.value)
        assert one.interval[0] < one.value < one.interval[1]
        assert one.protocol["samples"] == 30
        assert Direction(one.protocol["direction"]) is Direction.LOWER


def test_distances_from_another_style_do_not_compare() -> None:
    waves, dots = measured()["style_distance"], measured(type("Dots", (Painter,), {"style": "dots"}))["style_distance"]
    require_comparable(waves, measured()["style_distance"])
    with pytest.raises(Incomparable, match="signature"):
        require_comparable(waves, dots)


def test_batches_do_not_matter() -> None:
    values = {measured(batch_rows=rows)["stylisation"].value for rows in (1, 7, 64)}
    assert max(values) - min(values) < 1e-6


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(Unsupported, match="Stylises"):
        measured(Sampler)
    with pytest.raises(Diverged, match="not finite"):
        measured(type("Broken", (Painter,), {"broken": True}))
