"""What a model knows is found in new data: copies and near copies, of what was held out and of what was trained on."""

import numpy as np
import pytest

from miaobi.data.known import Known, find_known
from tests.support.refreshed import base as trained
from tests.support.refreshed import data, mixed, old, read, write


@pytest.fixture
def planted(tmp_path):
    """New data with copies of old items among it; where the copies are from."""
    known = old()
    held = [*known.test.items(range(2)), *known.validation.items(range(2))]
    long = [text for text in known.test.items(range(len(known.test))) if len(text) > 55][:3]
    seen = known.train.items(range(5))
    near = [f"{text[:-1]}#" for text in long]
    own = read(data() / "new.jsonl")
    return write(tmp_path / "planted.jsonl", [*own, *held, *near, *seen]), {"held": held, "near": near, "seen": seen}


def every(data):
    return {text for part in (data.train, data.validation, data.test) for text in part.items(range(len(part)))}


def test_copies_of_old_items_are_in_no_part_of_the_new_ones(planted):
    source, copies = planted
    prepared = mixed(trained(), source, "refresh.replay=0")
    found = every(prepared)
    for kind, texts in copies.items():
        assert not found & set(texts), kind
    assert len(found) > 300
    assert sum(prepared.report.data["refresh"]["dropped"].values()) >= 12


def test_near_copies_stay_where_near_duplicates_are_no_duplicates(planted):
    source, copies = planted
    found = every(mixed(trained(), source, "refresh.replay=0", "data.clean.duplicates=exact"))
    assert not found & set(copies["held"])
    assert set(copies["near"]) <= found


def test_what_was_held_out_never_trains_and_what_was_trained_on_is_never_held_out():
    known = Known(frozenset({1, 2}), frozenset({3, 4}), frozenset({4}))

    class Part:
        def __init__(self, part):
            import torch

            self.part, self.ids = part, torch.tensor([1, 2, 3, 4, 5])

    assert known.rows(Part("train")).tolist() == [2, 4]
    assert known.rows(Part("test")).tolist() == known.rows(Part("validation")).tolist() == [4]


def test_data_knows_all_of_itself():
    whole = old()
    known = find_known(whole, [whole], near=True)
    assert all(len(known.rows(part)) == 0 for part in (whole.train, whole.validation, whole.test))
    assert known.equal == set(whole.train.ids.tolist())
    assert np.isin(whole.test.ids.numpy(), list(known.held)).all()
