import json

import pytest

from miaobi.errors import CorruptFile, RunFolderError, SaveFailed
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder, differences, write_text

BASE = {"modality": "image", "data": {"source": "catalog:digits"}, "model": {"family": "vae"}, "train": {"minutes": 2}}


def recipe(*changes):
    return Recipe.load(BASE, changes)


def begun(path):
    folder = RunFolder(path)
    resolved = recipe("train.minutes=null", "train.steps=77", "train.precision=float32", "train.threads=2")
    folder.begin(recipe(), resolved, {})
    return folder, resolved


def test_an_unused_folder_is_free(tmp_path):
    for path in (tmp_path, tmp_path / "new"):
        assert RunFolder(path).claim(recipe(), resume=False) is None
        assert RunFolder(path).claim(recipe(), resume=True) is None


def test_a_used_folder_is_refused_without_resume(tmp_path):
    folder, _ = begun(tmp_path)
    with pytest.raises(RunFolderError, match=r"already used.*--resume") as caught:
        folder.claim(recipe(), resume=False)
    assert caught.value.exit_status == 2


def test_resuming_takes_the_measured_choices(tmp_path):
    folder, resolved = begun(tmp_path)
    assert folder.claim(recipe(), resume=True) == resolved
    assert folder.claim(Recipe.load(folder.root), resume=True) == resolved


def test_a_changed_recipe_is_refused_with_the_differences(tmp_path):
    folder, _ = begun(tmp_path)
    with pytest.raises(RunFolderError, match="differs") as caught:
        folder.claim(recipe("train.learning_rate=1", "model.options.latent=5"), resume=True)
    assert "train.learning_rate: 0.0003 -> 1.0" in caught.value.message
    assert "model.options.latent: None -> 5" in caught.value.message
    with pytest.raises(RunFolderError, match=r"train\.steps: 77 -> 99"):
        folder.claim(Recipe.load(folder.root, ["train.steps=99"]), resume=True)


def test_cadence_tracking_and_threads_may_change(tmp_path):
    folder, resolved = begun(tmp_path)
    changes = ["train.evaluate_every=5", "train.tracking=[]", "train.threads=1", "evaluate.metrics=[kernel_distance]"]
    found = folder.claim(recipe(*changes), resume=True)
    assert (found.train.evaluate_every, found.train.tracking, found.train.threads) == (5, [], 1)
    assert found.train.steps == resolved.train.steps
    assert found.evaluate.metrics == ["kernel_distance"]


def test_a_newer_folder_is_refused(tmp_path):
    folder, _ = begun(tmp_path)
    lineage = json.loads(folder.lineage.read_text())
    folder.lineage.write_text(json.dumps(lineage | {"format": 99}))
    with pytest.raises(RunFolderError, match=r"newer version.*99.*update miaobi"):
        folder.claim(recipe(), resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_lineage_is_an_error(tmp_path, text):
    folder, _ = begun(tmp_path)
    folder.lineage.write_text(text)
    with pytest.raises(CorruptFile, match=r"lineage\.json"):
        folder.claim(recipe(), resume=True)


def test_equal_recipes_do_not_differ():
    assert differences(recipe(), recipe("note=hello", "train.sample_every=3")) == []


def test_a_text_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    with pytest.raises(SaveFailed, match="could not write"):
        write_text(path / "below", "three")


def staged(**codec):
    return Recipe.load({**BASE, "stages": {"codec": codec, "prior": {}}})


@pytest.mark.parametrize(
    "section",
    [
        {"train": {"sample_every": 3, "evaluate_every": 2}},
        {"train": {}},
        {"note": "hello", "expected": {"a": {"b": 1}}},
        {"evaluate": {"metrics": ["kernel_distance"]}},
    ],
)
def test_what_may_change_in_a_run_may_change_in_a_stage(section):
    assert differences(staged(), staged(**section)) == []
    assert differences(staged(**section), staged()) == []


def test_what_may_not_change_in_a_run_may_not_change_in_a_stage():
    assert differences(staged(), staged(train={"steps": 3})) == ["stages.codec.train.steps: None -> 3"]
    assert differences(staged(), staged(data={"condition": {"label": None}}))
    assert differences(staged(), recipe())
    turned = Recipe.load({**BASE, "stages": {"prior": {}, "codec": {}}})
    assert differences(staged(), turned) == ["stages: ['codec', 'prior'] -> ['prior', 'codec']"]


def test_a_folder_with_stages_is_used(tmp_path):
    (tmp_path / "stages").mkdir()
    assert RunFolder(tmp_path).used
