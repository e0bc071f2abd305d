import json

import pytest
import torch
from torch import nn

from miaobi import modalities, models
from miaobi.errors import CorruptFile, InvalidRecipe, RunFolderError, SaveFailed, Unsupported
from miaobi.models import Model
from miaobi.models.folder import _compiling
from miaobi.models.weights import load_into, tensors_of
from miaobi.recipe import Recipe


@pytest.fixture
def model():
    modality = modalities.create("text")
    modality.fit(["a poem", "another poem"])
    own = modalities.create("label")
    own.fit(["tang", "song"])
    recipe = Recipe.load(
        {"modality": "text", "data": {"source": "-"}, "model": {"family": "autoregressive", "size": "tiny"}}
    )
    from dataclasses import replace

    specs = {"title": replace(modality.spec, shared=True), "dynasty": own.spec}
    family = models.build(recipe, modality.spec, specs)
    return Model(family, modality, {"title": modality, "dynasty": own}, {"steps": 3})


def test_everything_comes_back(model, tmp_path):
    models.save(model, tmp_path / "model")
    again = models.load(tmp_path / "model")
    assert again.info == {"steps": 3}
    assert again.conditions["title"] is again.modality
    assert again.conditions["dynasty"].encode("tang") == model.conditions["dynasty"].encode("tang")
    assert again.family.conditions == model.family.conditions
    ours, theirs = model.family.state_dict(), again.family.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not again.family.training


def test_saving_again_keeps_the_card_and_leaves_nothing_behind(model, tmp_path):
    models.save(model, tmp_path / "model")
    (tmp_path / "model" / "MODEL_CARD.md").write_text("about")
    models.save(model, tmp_path / "model")
    assert (tmp_path / "model" / "MODEL_CARD.md").read_text() == "about"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_there_says_how_to_finish(tmp_path):
    with pytest.raises(RunFolderError, match="no model here"):
        models.load(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(RunFolderError, match="--resume"):
        models.load(tmp_path)
    with pytest.raises(Unsupported, match="no folder of ours"):
        models.resolve("hub:somebody/something")


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', '{"format": 1, "modality": {"name": "text"}}'])
def test_a_damaged_description_is_refused(model, tmp_path, damage):
    models.save(model, tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(damage)
    with pytest.raises(CorruptFile):
        models.load(tmp_path / "model")


def test_altered_weights_are_refused(model, tmp_path):
    models.save(model, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptFile, match="altered"):
        models.load(tmp_path / "model")


def test_a_name_cannot_leave_the_folder(model, tmp_path):
    models.save(model, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    saved = json.loads(path.read_text())
    saved["condition_modalities"]["../../outside"] = saved["condition_modalities"]["dynasty"]
    path.write_text(json.dumps(saved))
    with pytest.raises(CorruptFile, match="leaves the model folder"):
        models.load(tmp_path / "model")


def test_a_folder_that_cannot_be_written_is_reported(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveFailed):
        models.save(model, tmp_path / "file" / "model")


def test_tied_tensors_are_stored_once_and_come_back_tied():
    def tied():
        left, right = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)
        right.weight = left.weight
        return nn.ModuleList([left, right])

    module, other = tied(), tied()
    tensors = tensors_of(module)
    assert list(tensors) == ["0.weight"]
    load_into(other, tensors, "here")
    assert other[1].weight is other[0].weight
    assert torch.equal(other[1].weight, module[0].weight)
    with pytest.raises(CorruptFile, match="missing"):
        load_into(other, {}, "here")
    with pytest.raises(CorruptFile, match="unexpected"):
        load_into(other, {**tensors, "2.weight": tensors["0.weight"]}, "here")


@pytest.mark.parametrize(("said", "expected"), [("", None), ("auto", None), ("on", True), ("off", False)])
def test_whether_decoding_is_compiled_is_asked_for(monkeypatch, said, expected):
    monkeypatch.setenv("MIAOBI_COMPILE", said)
    assert _compiling(torch.float32) is expected
    assert _compiling(torch.bfloat16) is (expected if said else False)


def test_an_unknown_wish_to_compile_is_refused(monkeypatch):
    monkeypatch.setenv("MIAOBI_COMPILE", "yes")
    with pytest.raises(InvalidRecipe, match=r"MIAOBI_COMPILE.*auto, on, off"):
        _compiling(torch.float32)
