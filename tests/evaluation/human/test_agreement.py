"""Agreement: the published figures, and simulated raters whose agreement is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.evaluation.human import agreement

NONE = math.nan
# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers, twelve units.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)


def simulated_choices(raters: int, items: int, ability: float) -> np.ndarray:
    """Simulated raters who choose side 1 with probability ``ability``."""
    return (np.random.default_rng(0).random((raters, items)) < ability).astype(float)


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_published_one(level: agreement.Level, expected: float) -> None:
    assert agreement.alpha(PUBLISHED, level) == pytest.approx(expected, abs=5e-4)


def test_it_reads_answers_and_leaves_out_what_one_rater_said() -> None:
    answers = {(r, i): float(n) for r, row in enumerate(PUBLISHED) for i, n in enumerate(row) if not math.isnan(n)}
    table = agreement.table_of(answers)
    assert table is not None
    assert table.shape == (4, 11)
    value, interval = agreement.over_items(table, 0, lambda some: agreement.krippendorff(some, "likert"))
    assert value == pytest.approx(0.815, abs=5e-4)
    assert interval is not None
    assert interval[0] < value < interval[1] <= 1
    assert agreement.table_of({(0, 0): 1.0, (0, 1): 2.0}) is None
    assert math.isnan(agreement.krippendorff(np.ones((2, 1)), "likert")), "of ratings that are all alike"


@pytest.mark.parametrize("ability", [0.6, 0.8, 0.95, 1.0])
def test_simulated_raters_who_nearly_all_say_the_same_agree(ability: float) -> None:
    """Two choices and chance one half: alpha is twice the agreement less one, but for Krippendorff's small sample."""
    table = simulated_choices(8, 200, ability)
    alike = agreement.alike(table)
    assert alike == pytest.approx(ability**2 + (1 - ability) ** 2, abs=0.03)
    assert agreement.krippendorff(table, "pairs") == pytest.approx(2 * alike - 1, abs=2e-3)
    if ability == 0.95:
        assert agreement.alpha(table, "nominal") < 0.1, "of the sides as they are named, alpha misses it"


@given(st.lists(st.booleans(), min_size=30, max_size=30), st.floats(0.5, 1))
def test_which_side_is_called_the_first_changes_nothing(turned: list[bool], ability: float) -> None:
    table = simulated_choices(4, 30, ability)
    table[0, :5], table[1, 3:9] = math.nan, 2
    other = np.where(np.array(turned) & (table < 2), 1 - table, table)
    assert agreement.krippendorff(other, "pairs") == pytest.approx(agreement.krippendorff(table, "pairs"))
    assert agreement.alike(other) == pytest.approx(agreement.alike(table))


def test_alike_is_the_share_of_pairs() -> None:
    assert agreement.alike(np.array([[1, 1], [1, 2], [2, NONE]])) == pytest.approx(1 / 4)
