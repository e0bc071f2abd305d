"""The mistakes that tutorials make in the loop and with their data; each test fails when its mistake is planted."""

import pytest
import torch

from miaobi import evaluation, models
from miaobi.data import prepare
from miaobi.recipe import Recipe
from miaobi.training import optimisers
from miaobi.training.processes import Processes
from miaobi.training.step import PhaseRunner
from tests.support.worlds import image_sections

SGD = {"name": "sgd", "momentum": 0.0}


@pytest.fixture
def data(tmp_path):
    recipe = Recipe.load(
        {
            **image_sections(tmp_path),
            "model": {
                "family": "gan",
                "size": "tiny",
                "network": {"name": "mlp"},
                "options": {"loss": "non_saturating"},
            },
            "train": {
                "optimiser": SGD,
                "learning_rate": 0.1,
                "clip": None,
                "schedule": {"name": "constant", "warmup": 0},
            },
        }
    )
    return recipe, prepare(recipe)


def runner(recipe, prepared):
    family = models.build(recipe, prepared.target, prepared.specs).train()
    built = optimisers.build(family, family.phases(), recipe.train)
    return family, PhaseRunner(family, built, Processes(alone=True), recipe.train, recipe.seed)


def weights(module):
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_a_phase_takes_no_gradient_of_another(data):
    recipe, prepared = data
    batch = prepared.train.batch(range(8))
    family, run = runner(recipe, prepared)
    discriminator, generator = family.phases()
    run.run(generator, batch, step=0, repeat=0, scale=1.0)
    before = weights(family.discriminator)
    run.run(discriminator, batch, step=0, repeat=0, scale=1.0)
    moved = weights(family.discriminator) - before

    alone, other = runner(recipe, prepared)
    alone.generator.load_state_dict(family.generator.state_dict())
    start = weights(alone.discriminator)
    other.run(discriminator, batch, step=0, repeat=0, scale=1.0)
    torch.testing.assert_close(moved, weights(alone.discriminator) - start)


def test_a_step_uses_this_batchs_gradient_once(data):
    recipe, prepared = data
    family, run = runner(recipe, prepared)
    phase = family.phases()[0]
    run.run(phase, prepared.train.batch(range(8)), step=0, repeat=0, scale=1.0)
    between = {name: tensor.clone() for name, tensor in family.state_dict().items()}
    outcome = run.run(phase, prepared.train.batch(range(8, 16)), step=1, repeat=0, scale=1.0)

    alone, other = runner(recipe, prepared)
    alone.load_state_dict(between)
    start = weights(alone.discriminator)
    other.run(phase, prepared.train.batch(range(8, 16)), step=1, repeat=0, scale=1.0)
    torch.testing.assert_close(weights(family.discriminator), weights(alone.discriminator))
    length = (weights(alone.discriminator) - start).norm()
    torch.testing.assert_close(length, 0.1 * outcome.norm, rtol=1e-3, atol=1e-6)
    assert length > 0


def test_training_data_is_never_called_test_data(data):
    _recipe, prepared = data
    parts = [set(part.ids.tolist()) for part in (prepared.train, prepared.validation, prepared.test)]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    packed = [
        {prepared.modality.pack(item) for item in part.items(range(len(part)))}
        for part in (prepared.train, prepared.test)
    ]
    assert not packed[0] & packed[1]


def test_evaluation_reads_the_held_out_part(data, monkeypatch):
    recipe, prepared = data
    recipe = Recipe.load(
        recipe, ["model.family=vae", "model.network.name=mlp", "model.options={importance_samples: 1}"]
    )
    family = models.build(recipe, prepared.target, prepared.specs)
    touched = []
    original = type(prepared.train).batch

    def spy(self, rows, *args, **kwargs):
        touched.append(self.part)
        return original(self, rows, *args, **kwargs)

    monkeypatch.setattr(type(prepared.train), "batch", spy)
    evaluation.held_out(family, prepared, "likelihood", count=20, seed=0, extractor="pixels")
    assert set(touched) == {"validation"}
