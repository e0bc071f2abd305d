"""Pairs of models: the parts of a figure add up to it, and the interval is that of the differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi import families, models
from miaobi.data import prepare
from miaobi.errors import Unsupported
from miaobi.evaluation import Context, Direction
from miaobi.evaluation.metrics import find
from miaobi.evaluation.metrics._itemised import Ratio
from miaobi.evaluation.paired import check_paired, compare_on, pair
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.types import Form
from tests.support import worlds

MEASURED = {
    "likelihood": ("autoregressive", Form.TOKENS),
    "masked_prediction": ("masked_lm", Form.TOKENS),
    "accuracy": ("classifier", Form.LABEL),
    "denoising": ("diffusion", Form.TENSOR),
}


def untrained(name, folder, seed=0):
    family, form = MEASURED[name]
    recipe = Recipe.load({**worlds.recipe(family, form, folder), "seed": seed})
    prepared = prepare(recipe)
    known = {"target": prepared.modality, **prepared.conditions}
    built = models.build(recipe, prepared.target, prepared.specs, modalities=known)
    return Model(built.eval(), prepared.modality, prepared.conditions), prepared


@pytest.mark.parametrize("name", MEASURED)
def test_the_parts_add_up_to_the_figure(name, tmp_path):
    model, prepared = untrained(name, tmp_path)
    context = Context(model, prepared)
    metric = find(name)(find(name).Config())
    ratio = metric.ratio(context)
    assert len(ratio.amounts) == len(ratio.counts) == len(context.held)
    assert ratio.amounts.sum() / ratio.counts.sum() == pytest.approx(metric.compute(context)[ratio.figure].value)


def test_a_model_is_as_good_as_itself_and_an_untrained_one_differs(tmp_path):
    model, prepared = untrained("likelihood", tmp_path)
    other, _ = untrained("likelihood", tmp_path, seed=1)
    same = compare_on(model, model, prepared, "likelihood", count=100, seed=0)
    assert (same.better, same.interval) == (0, (0, 0))
    forth, back = (
        compare_on(*two, prepared, "likelihood", count=100, seed=0) for two in ((model, other), (other, model))
    )
    assert forth.better == pytest.approx(-back.better)
    assert forth.better == pytest.approx(forth.before - forth.after)
    assert forth.items == len(prepared.test)


@given(st.integers(10, 60), st.integers(0, 1000), st.sampled_from([Direction.LOWER, Direction.HIGHER]))
def test_what_items_share_cancels_out(count, seed, direction):
    noise = np.random.default_rng(seed)
    common, counts = noise.normal(size=count) * 100, np.ones(count)
    apart = 1 + 0.01 * noise.normal(size=count)
    found = pair(Ratio("f", common, counts), Ratio("f", common + apart, counts), direction, seed=seed)
    sign = 1 if direction is Direction.HIGHER else -1
    low, high = sorted(sign * bound for bound in found.interval)
    assert found.better == pytest.approx(sign * apart.mean())
    assert low <= apart.mean() + 1e-9
    assert high - low < 0.1
    assert low > 0.9
    assert high < 1.1


def test_ratios_are_of_sums_and_few_items_have_no_interval():
    before, after = (Ratio("f", np.array(amounts), np.array([1.0, 9.0])) for amounts in ([1.0, 9.0], [1.0, 18.0]))
    found = pair(before, after, Direction.LOWER, seed=0)
    assert (found.before, found.after, found.better) == (1.0, 1.9, pytest.approx(-0.9))
    assert found.interval is None


@pytest.mark.parametrize("name", ["diversity", "likelihood.perplexity", "kernel_distance"])
def test_figures_that_are_not_made_of_items_are_refused(name):
    with pytest.raises(Unsupported, match=r"accuracy, denoising, likelihood, masked_prediction"):
        check_paired(name)


def test_every_metric_that_has_parts_is_tested_here():
    from miaobi.evaluation.metrics import names
    from miaobi.evaluation.metrics._itemised import Itemised

    assert {name for name in names() if issubclass(find(name), Itemised)} == set(MEASURED)
    assert all(
        families.find(family).metric(form).partition(".")[0] == name for name, (family, form) in MEASURED.items()
    )
