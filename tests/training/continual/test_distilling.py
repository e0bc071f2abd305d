"""Distillation is the divergence that it says, of replayed items alone, from a model that stays as it is."""

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F

from miaobi import load, models
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Distilling
from miaobi.recipe import RefreshSettings
from miaobi.sampling.noise import seeds_of
from miaobi.training.continual.distilling import Distilled, distilled, divergence
from miaobi.training.continual.refreshing import check, recipe_of
from tests.support.refreshed import base, data, mixed, old, refreshed

NEW = data() / "new.jsonl"


@pytest.fixture
def teacher():
    return load(base()).family


@pytest.fixture
def student(teacher):
    made = copy.deepcopy(teacher)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return made.requires_grad_(True)


@pytest.fixture
def batch():
    return old().train.batch(range(8))


def test_the_divergence_is_torchs_own(batch, teacher, student):
    wanted, weight = teacher.distributions(batch)
    found, _ = student.distributions(batch)
    summed = F.kl_div(found, wanted, log_target=True, reduction="sum")
    assert (weight == 1).all()
    assert divergence(wanted, found, weight).item() == pytest.approx(summed.item(), rel=1e-5)
    assert divergence(wanted, wanted, weight).item() == pytest.approx(0, abs=1e-5)
    half = divergence(wanted, found, weight / 2)
    assert half.item() == pytest.approx(summed.item() / 2, rel=1e-5)


def test_what_is_impossible_for_both_counts_nothing():
    wanted = torch.tensor([[0.0, float("-inf")]])
    assert divergence(wanted, wanted.clone(), torch.ones(1)) == 0


def test_distributions_predict_what_the_likelihood_counts(batch, teacher):
    log_probs, weight = teacher.distributions(batch)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(len(log_probs)))
    assert len(weight) == int(teacher.log_likelihood(batch, seeds=batch.ids).predicted.sum())


def test_only_replayed_items_are_kept_near(batch, teacher, student):
    seeds = seeds_of(0, batch.ids)
    plain = student(batch, "train", seeds)
    none = Distilled(student, teacher, torch.tensor([1]), 2.0)(batch, "train", seeds)
    assert none.total.item() == plain.total.item()
    assert none.parts["distil"] == 0
    some = Distilled(student, teacher, batch.ids[:3], 2.0)(batch, "train", seeds)
    alone, weight = teacher.distributions(batch.select(slice(0, 3)))
    apart = divergence(alone, student.distributions(batch.select(slice(0, 3)))[0], weight)
    assert some.parts["distil"].item() == pytest.approx(apart.item(), rel=1e-4)
    assert (some.total - plain.total).item() == pytest.approx(2 * apart.item(), rel=1e-4)
    assert some.count == plain.count


def test_the_old_model_is_no_part_of_what_is_trained_or_saved(batch, teacher, student):
    objective = Distilled(student, teacher, batch.ids, 1.0)
    own = {id(parameter) for parameter in student.parameters()}
    assert {id(parameter) for parameter in objective.parameters()} == own
    objective.train()
    objective(batch, "train", seeds_of(0, batch.ids)).total.backward()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_a_distilled_refresh_stays_nearer_to_the_old_model(tmp_path):
    batch, teacher = old().test.batch(range(30)), load(base()).family
    apart = {}
    for weight in (0, 5):
        run = shutil.copytree(base(), tmp_path / str(weight))
        made = refreshed(run, "train.steps=25", f"refresh.distil={weight}")
        wanted, ones = teacher.distributions(batch)
        found, _ = models.load(made.model).family.distributions(batch)
        apart[weight] = divergence(wanted, found, ones).item()
        assert models.load(made.model).parts == {}
    assert apart[5] < 0.7 * apart[0]


def test_a_family_without_distributions_is_refused_before_any_work(teacher):
    assert isinstance(teacher, Distilling)
    changes = ["model={family: sequence_vae, size: tiny}", "refresh.distil=1"]
    with pytest.raises(Unsupported, match=r"autoregressive.*refresh.distil=0"):
        check(recipe_of(base(), "new.jsonl", "0001", changes))


def test_without_replay_there_is_nothing_to_distil_on():
    with pytest.raises(InvalidRecipe, match="set replay above 0"):
        recipe_of(base(), "new.jsonl", "0001", ["refresh.distil=1", "refresh.replay=0"])


def test_a_run_that_is_no_refresh_differentiates_its_family_alone(student):
    settings = RefreshSettings(distil=3.0)
    assert distilled(settings, student, torch.tensor([1]), torch.device("cpu")) is student
    assert mixed(base(), NEW, "refresh.replay=0").replayed is None
