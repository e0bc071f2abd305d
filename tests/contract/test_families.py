"""What is true of every family, over every form of target that it models: trained once through the one trainer."""

import functools
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from miaobi import evaluation, families, models, training
from miaobi.data import prepare
from miaobi.errors import InvalidRecipe
from miaobi.evaluation.understanding import names as views
from miaobi.evaluation.understanding import understand
from miaobi.families import Counting, Latent, Likelihood, Predicting, Sampling
from miaobi.generation import generate
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from tests.support.pages import Balanced
from tests.support.worlds import cases, recipe

CASES = [pytest.param(*case, id=f"{case[0]}: {case[1]}", marks=pytest.mark.xdist_group(case[0])) for case in cases()]
every = pytest.mark.parametrize(("name", "form"), CASES)


@functools.cache
def trained(name, form):
    folder = Path(tempfile.mkdtemp())
    recipe_of = Recipe.load(recipe(name, form, folder))
    return training.train(recipe_of, run=folder / "run", progress=False), recipe_of


@functools.cache
def data_of(name, form):
    return prepare(trained(name, form)[1])


def model_of(name, form):
    return models.load(trained(name, form)[0].run)


def fresh(name, form):
    data = data_of(name, form)
    return models.build(trained(name, form)[1], data.target, data.specs)


def test_every_family_is_covered():
    assert {case.values[0] for case in CASES} == set(families.names())


@every
def test_the_metric_improves(name, form):
    if not families.find(name).learns:
        pytest.skip("it is asked, not trained")
    data = data_of(name, form)
    metric = families.find(name).metric(form)
    options = {"count": 100, "seed": 0, "extractor": "pixels"}
    _, before, direction = evaluation.held_out(fresh(name, form), data, metric, **options)
    _, after, _ = evaluation.held_out(model_of(name, form).family, data, metric, **options)
    assert after < before if direction == evaluation.Direction.LOWER else after > before


@every
def test_saving_and_loading_changes_nothing(name, form, tmp_path):
    model = model_of(name, form)
    models.save(model, tmp_path / "copy")
    again = models.load(tmp_path / "copy")
    left, right = model.family.state_dict(), again.family.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    require_sampling(model.family)
    ours = [made.item for made in generate(model, n=3, seed=5)]
    theirs = [made.item for made in generate(again, n=3, seed=5)]
    pack = model.modality.pack
    assert [pack(item) for item in ours] == [pack(item) for item in theirs]


@every
def test_the_same_seed_gives_the_same_samples_and_another_gives_others(name, form):
    model = model_of(name, form)
    require_sampling(model.family)
    if isinstance(model.family, Predicting):
        pytest.skip("samples are its best guess")
    pack = model.modality.pack
    first, again, other = ([pack(m.item) for m in generate(model, n=4, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@every
def test_a_batch_of_samples_equals_its_items_one_by_one(name, form):
    model = model_of(name, form)
    require_sampling(model.family)
    batch = data_of(name, form).validation.batch(range(4))
    seeds = seeds_of(3, range(4))
    with torch.no_grad():
        together = model.family.sample(batch.conditions, seeds=seeds)
        for row in range(4):
            rows = slice(row, row + 1)
            conditions = {key: field.select(rows) for key, field in batch.conditions.items()}
            alone = model.family.sample(conditions, seeds=seeds[rows])
            if together.lengths is None:
                torch.testing.assert_close(together.values[rows], alone.values, rtol=1e-3, atol=1e-4)
            else:
                end = int(alone.lengths[0])
                assert int(together.lengths[row]) == end
                assert torch.equal(together.values[row, :end], alone.values[0, :end])


@every
def test_likelihoods_of_a_batch_equal_its_items_one_by_one(name, form):
    family = model_of(name, form).family
    if not isinstance(family, Likelihood):
        pytest.skip("no likelihood")
    batch = data_of(name, form).validation.batch(range(4))
    with torch.no_grad():
        together = family.log_likelihood(batch, seeds=seeds_of(0, batch.ids))
        for row in range(4):
            part = batch.select(slice(row, row + 1))
            alone = family.log_likelihood(part, seeds=seeds_of(0, part.ids))
            torch.testing.assert_close(together.nats[row : row + 1], alone.nats, rtol=1e-4, atol=1e-3)
    assert torch.isfinite(together.nats).all()
    if together.exact:
        assert (together.nats > 0).all()


@every
def test_accumulation_equals_the_large_batch(name, form):
    family = fresh(name, form)
    if isinstance(family, Counting):
        pytest.skip("counts are not accumulated by gradients")
    if family.couples_batch:
        pytest.skip("an item's loss depends on its batch")
    family.eval()  # dropout is the one thing that may depend on the micro-batch
    batch = data_of(name, form).train.batch(range(12))
    seeds = seeds_of(1, batch.ids)
    for phase in family.phases():
        whole = gradients(family, phase.name, [batch], [seeds])
        parts = [slice(0, 5), slice(5, 10), slice(10, 12)]
        micro = gradients(family, phase.name, [batch.select(p) for p in parts], [seeds[p] for p in parts])
        assert whole.keys() == micro.keys() != set()
        for key in whole:
            torch.testing.assert_close(
                whole[key], micro[key], rtol=1e-3, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}"
            )


@every
def test_a_phase_trains_its_modules_and_nothing_else(name, form):
    family = fresh(name, form)
    if isinstance(family, Counting):
        pytest.skip("no phases")
    batch = data_of(name, form).train.batch(range(8))
    for phase in family.phases():
        got = gradients(family, phase.name, [batch], [seeds_of(1, batch.ids)], phase.modules)
        assert got
        assert all(key.split(".")[0] in {module.split(".")[0] for module in phase.modules} for key in got)


@every
def test_the_loss_is_a_pure_function_of_its_seeds(name, form):
    family = fresh(name, form)
    if isinstance(family, Counting):
        pytest.skip("no loss")
    family.eval()
    batch = data_of(name, form).train.batch(range(8))
    for phase in family.phases():
        losses = []
        for global_seed in (0, 1):
            torch.manual_seed(global_seed)
            losses.append(family(batch, phase.name, seeds_of(1, batch.ids)).total.detach())
        assert torch.equal(*losses)


@every
def test_dropped_conditions_are_really_gone(name, form):
    family = fresh(name, form)
    if isinstance(family, Counting):
        pytest.skip("nothing is dropped")
    family.config = family.config.model_copy(update={"condition_drop": 1.0})
    batch = data_of(name, form).train.batch(range(8))
    dropped = family.drop_conditions(batch, seeds_of(0, batch.ids))
    assert all(not field.is_present().any() for field in dropped.conditions.values())
    other = replace(
        batch, conditions={key: field.select(torch.arange(8).flip(0)) for key, field in batch.conditions.items()}
    )
    family.eval()
    for phase in family.phases():
        seeds = seeds_of(1, batch.ids)
        torch.testing.assert_close(family(batch, phase.name, seeds).total, family(other, phase.name, seeds).total)


@every
def test_observing_in_parts_equals_observing_at_once(name, form):
    left, right = fresh(name, form), fresh(name, form)
    if not isinstance(left, Counting):
        pytest.skip("learns by gradients")
    batch = data_of(name, form).train.batch(range(20))
    left.observe(batch)
    for start in range(0, 20, 7):
        right.observe(batch.select(slice(start, start + 7)))
    probe = data_of(name, form).validation.batch(range(8))
    seeds = seeds_of(0, probe.ids)
    assert torch.equal(left.log_likelihood(probe, seeds=seeds).nats, right.log_likelihood(probe, seeds=seeds).nats)


@every
def test_an_unknown_control_and_option_are_refused(name, form):
    kind = families.find(name)
    for settings in (kind.Controls, kind.Config):
        with pytest.raises(InvalidRecipe, match="unknown key"):
            settings.parse({"warmth_of_heart": 1})


@every
def test_latents_decode_to_the_targets_shape(name, form):
    family = model_of(name, form).family
    if not isinstance(family, Latent):
        pytest.skip("no latent")
    batch = data_of(name, form).validation.batch(range(4))
    with torch.no_grad():
        mean = family.encode(batch)
        drawn = family.encode(batch, seeds=seeds_of(0, batch.ids))
        out = family.decode(mean, batch.conditions, seeds=seeds_of(0, batch.ids))
    if out.lengths is None:
        assert out.values.shape == batch.target.values.shape
    else:
        assert len(out.values) == 4
        assert out.lengths.max() <= family.target.max_length
    # A code is what it is; only a posterior is drawn from.
    assert name == "discrete" or not torch.equal(mean.values, drawn.values)


@every
def test_a_page_of_views_is_whole_and_leaves_everything_as_it_was(name, form):
    model = model_of(name, form)
    family = model.family
    family.train()
    weights = {key: value.clone() for key, value in family.state_dict().items()}
    modes = [module.training for module in family.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    seen = understand(model, items=2)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(states[0], after[0])
    assert states[1:] == after[1:]
    assert [module.training for module in family.modules()] == modes
    assert all(torch.equal(value, weights[key]) for key, value in family.state_dict().items())
    assert all(parameter.grad is None for parameter in family.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in family.modules())
    page = seen.page()
    assert all(address.startswith("data:") for address in Balanced(page).fetched)
    assert "<script" not in page
    assert "url(" not in page
    # Nothing is left out silently: what is not shown is on the page with its reason.
    assert sorted([*seen.found, *seen.left_out]) == sorted(views())
    assert all(finding.sections and finding.sections[0].body for finding in seen.found.values())
    assert understand(model, items=2).to_json() == seen.to_json()


def require_sampling(family):
    if not isinstance(family, Sampling):
        pytest.skip("cannot sample")


def gradients(family, phase, batches, seeds, modules=None):
    """Gradients of the summed loss over the summed count, by parameter name."""
    chosen = modules or next(p.modules for p in family.phases() if p.name == phase)
    family.zero_grad(set_to_none=True)
    family.requires_grad_(False)
    for module in chosen:
        family.get_submodule(module).requires_grad_(True)
    count = 0.0
    for batch, seed in zip(batches, seeds, strict=True):
        loss = family(batch, phase, seed)
        loss.total.backward()
        count += float(loss.count)
    family.requires_grad_(True)
    return {key: p.grad / count for key, p in family.named_parameters() if p.grad is not None}
