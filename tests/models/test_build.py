import numpy as np
import pytest
import torch

from miaobi import models
from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.recipe import Recipe
from miaobi.types import Form, Spec

IMAGE = Spec(Form.TENSOR, 1, (8, 8), levels=256)
TOKENS = Spec(Form.TOKENS, vocabulary=9, max_length=7)


def build(target=IMAGE, seed=0, **model):
    sections = {"modality": "image", "data": {"source": "unused"}, "model": {"family": "gan", "size": "tiny", **model}}
    return models.build(Recipe.load({**sections, "seed": seed}), target, {})


def test_equal_recipes_give_equal_weights_and_other_seeds_others():
    torch.manual_seed(1)
    first = build().state_dict()
    torch.manual_seed(2)
    again, other = build().state_dict(), build(seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build()
    assert torch.equal(torch.rand(1), expected)


def test_one_section_serves_all_roles_and_a_role_can_have_its_own():
    both = build(network={"name": "mlp", "hidden": [5]})
    assert type(both.generator).__name__ == type(both.discriminator).__name__ == "MLP"
    mixed = build(network={"discriminator": {"name": "mlp", "hidden": [6]}})
    assert type(mixed.discriminator).__name__ == "MLP"
    assert type(mixed.generator).__name__ == "Convolutional"
    assert type(build(network={"discriminator": "mlp"}).discriminator).__name__ == "MLP"


def test_a_wrong_role_network_or_option_is_refused_by_name():
    with pytest.raises(UnknownName, match="did you mean discriminator"):
        build(network={"generator": "mlp", "discriminater": "mlp"})
    with pytest.raises(UnknownName, match="did you mean mlp"):
        build(network={"name": "mpl"})
    with pytest.raises(InvalidRecipe, match=r"generator\.hiden: unknown key"):
        build(network={"name": "mlp", "hiden": [5]})
    with pytest.raises(InvalidRecipe, match="unknown key"):
        build(options={"latnet": 4})


def test_a_family_that_cannot_model_the_target_names_those_that_can():
    with pytest.raises(Unsupported, match=r"use one of.*autoregressive"):
        build(target=TOKENS)


def test_a_model_starts_from_another_run(tmp_path):
    from miaobi import modalities
    from miaobi.models import Model

    modality = modalities.create({"name": "image", "size": 8, "mode": "L"})
    modality.fit([np.zeros((8, 8, 1), dtype=np.uint8)])
    first = build(seed=1)
    models.save(Model(first, modality), tmp_path / "model")
    started = build(start=f"run:{tmp_path}")
    assert all(torch.equal(left, right) for left, right in zip(first.parameters(), started.parameters(), strict=True))
    with pytest.raises(Unsupported, match="another shape"):
        build(start=f"run:{tmp_path}", options={"latent": 3})
    with pytest.raises(Unsupported, match=r"cannot start from a public model"):
        build(start="hub:somebody/something")


def test_a_part_is_loaded_frozen(tmp_path):
    from miaobi import modalities
    from miaobi.models import Model

    modality = modalities.create({"name": "image", "size": 8, "mode": "L"})
    modality.fit([np.zeros((8, 8, 1), dtype=np.uint8)])
    models.save(Model(build(), modality), tmp_path / "model")
    with_part = build(parts={"judge": f"run:{tmp_path}"})
    part = with_part.parts_by_name["judge"]
    assert not any(parameter.requires_grad for parameter in part.parameters())
    assert not any(name.startswith("judge") or "parts" in name for name in with_part.state_dict())
