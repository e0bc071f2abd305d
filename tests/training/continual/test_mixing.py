"""A refresh's data: the share that was asked for, nothing that was held out, and what the vocabulary does not know."""

import shutil
from collections import Counter

import pytest
import torch

from miaobi.data import Loader
from miaobi.errors import DataError, InvalidRecipe
from miaobi.training import train
from miaobi.training.continual.telling import unknown_in
from tests.support import refreshed
from tests.support.refreshed import base, data, mixed, old, read, write

NEW = data() / "new.jsonl"


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8])
def test_an_epoch_has_the_share_of_old_items(share):
    before, prepared = old(), mixed(base(), NEW, f"refresh.replay={share}")
    known = set(before.train.ids.tolist())
    with Loader(prepared.train, 1, seed=0) as loader:
        epoch = [loader.batch(index).ids.item() for index in range(len(prepared.train))]
    replayed = [one for one in epoch if one in known]
    assert len(replayed) / len(epoch) == pytest.approx(share, abs=0.002)
    assert sorted(replayed) == sorted(prepared.replayed.tolist() if share else [])
    assert len(epoch) - len(replayed) == prepared.report.data["refresh"]["new"]


def test_more_replay_than_there_are_old_items_repeats_them_evenly():
    prepared = mixed(base(), NEW, "refresh.replay=0.8")
    counts = Counter(prepared.replayed.tolist())
    assert set(counts) == set(old().train.ids.tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert min(counts.values()) > 1


def test_old_held_out_items_stay_held_out():
    before, prepared = old(), mixed(base(), NEW, "refresh.replay=0.8")
    held = torch.cat([before.validation.ids, before.test.ids])
    assert not torch.isin(prepared.train.ids, held).any()
    assert torch.isin(prepared.validation.ids, before.validation.ids).any()
    assert not torch.isin(prepared.test.ids, torch.cat([before.train.ids, held])).any()


def test_validation_is_mixed_as_training_is():
    before, prepared = old(), mixed(base(), NEW, "refresh.replay=0.5")
    share = torch.isin(prepared.validation.ids, before.validation.ids).double().mean()
    assert share == pytest.approx(0.5, abs=0.02)


def test_the_vocabulary_is_the_old_one_and_what_it_lacks_is_counted(tmp_path):
    texts = [f"{text} 龍龍鳳" for text in read(NEW)]
    told = []
    prepared = mixed(base(), write(tmp_path / "new.jsonl", texts), "refresh.replay=0", log=told.append)
    assert prepared.target == old().target
    found = unknown_in(prepared)
    items = prepared.train.items(range(len(prepared.train)))
    cut = prepared.target.max_length
    wanted = Counter(letter for item in items for letter in item[:cut] if letter in "龍鳳")
    assert found["characters"]["龍"] == 2 * len(items)
    assert found["unknown"] >= wanted.total()
    assert any("龍鳳" in line for line in told)


def test_old_data_that_was_changed_is_refused(tmp_path):
    shutil.copy(data() / "old.jsonl", tmp_path / "old.jsonl")
    recipe = refreshed.recipe(steps=2)
    recipe["data"] |= {"source": str(tmp_path / "old.jsonl")}
    run = train(recipe, run=tmp_path / "run", progress=False).run
    write(tmp_path / "old.jsonl", read(tmp_path / "old.jsonl")[:-1])
    with pytest.raises(DataError, match="not what the model was trained on"):
        mixed(run, NEW)


def test_data_that_is_known_already_is_refused():
    with pytest.raises(DataError, match="too little of the new data is new"):
        mixed(base(), data() / "old.jsonl")


def test_one_long_text_does_not_go_on_with_separate_items(tmp_path):
    (tmp_path / "new.txt").write_text("\n".join(read(NEW)))
    with pytest.raises(DataError, match=r"one long text.*separate items"):
        mixed(base(), tmp_path / "new.txt", "data.content=null")


def test_long_texts_go_on_with_long_texts(tmp_path):
    for name in ("old", "new"):
        (tmp_path / f"{name}.txt").write_text("\n".join(read(data() / f"{name}.jsonl")))
    recipe = refreshed.recipe(steps=2)
    recipe |= {"modality": {"name": "text", "context": 32}, "data": {"source": str(tmp_path / "old.txt")}}
    run = train(recipe, run=tmp_path / "run", progress=False).run
    prepared = mixed(run, tmp_path / "new.txt")
    assert len(prepared.replayed) == len(prepared.train) / 2
    result = refreshed.refreshed(run, *refreshed.QUICK, source=tmp_path / "new.txt")
    assert [gate["gate"] for gate in result.gates["gates"]] == ["gain", "forgetting"]


def test_nothing_held_out_is_refused_before_the_training(tmp_path):
    recipe = refreshed.recipe(steps=2)
    recipe["data"] |= {"split": {"validation": 0, "test": 0}}
    run = train(recipe, run=tmp_path / "run", progress=False).run
    with pytest.raises((InvalidRecipe, DataError), match=r"held out|hold something out"):
        mixed(run, NEW)


def test_the_same_recipe_mixes_the_same_data():
    one, other = (mixed(base(), NEW) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.train.ids, other.train.ids)
    assert mixed(base(), NEW, "refresh.replay=0.4").fingerprint != one.fingerprint
