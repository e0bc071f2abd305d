from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from miaobi.data import Dataset, Loader, prepare
from miaobi.errors import DataError
from miaobi.modalities import create
from miaobi.recipe import Recipe
from miaobi.types import Batch, Field


class Numbers(Dataset):
    """Row n has the id n + 1; remembers how it was asked."""

    def __init__(self, count: int) -> None:
        self.part = "train"
        self.ids = torch.arange(1, count + 1)
        self.modality = create("image")
        self.shifts: list[int] = []
        self.broken: set[int] = set()

    def sizes(self) -> np.ndarray:
        return np.random.default_rng(0).integers(1, 100, len(self))

    def batch(self, rows, *, augment=None, shift=0, epoch=0) -> Batch:
        if self.broken & set(rows):
            raise DataError("row cannot be read")
        self.shifts.append(shift)
        return Batch(Field(torch.tensor(rows, dtype=torch.float32)[:, None]), ids=self.ids[list(rows)])

    def items(self, rows):
        return list(rows)

    def condition_items(self, name, rows):
        return []


def ids(loader: Loader, indices) -> list[list[int]]:
    return [loader.batch(index).ids.tolist() for index in indices]


def test_every_epoch_has_every_item_once_in_its_own_order() -> None:
    with Loader(Numbers(10), 4, seed=1) as loader:
        flat = [item for batch in ids(loader, range(10)) for item in batch]
    epochs = [flat[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(1, 11)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_order_is_a_function_of_the_seed() -> None:
    with (
        Loader(Numbers(50), 7, seed=1) as one,
        Loader(Numbers(50), 7, seed=1) as same,
        Loader(Numbers(50), 7, seed=2) as other,
    ):
        first = ids(one, range(5))
        assert ids(same, range(5)) == first
        assert ids(other, range(5)) != first


def test_any_batch_can_be_asked_for_at_any_time() -> None:
    with Loader(Numbers(23), 5, seed=3) as loader:
        expected = ids(loader, range(12))
        for index in [7, 3, 3, 11, 0, 1, 2, 9]:
            assert loader.batch(index).ids.tolist() == expected[index]


def test_a_data_set_smaller_than_a_batch_fills_it() -> None:
    with Loader(Numbers(3), 8, seed=0) as loader:
        batch = loader.batch(0)
    assert len(batch) == 8
    assert sorted(batch.ids.tolist()[:3]) == [1, 2, 3]


def test_unshuffled_is_the_data_sets_order() -> None:
    with Loader(Numbers(5), 3, seed=0, shuffle=False) as loader:
        assert ids(loader, range(3)) == [[1, 2, 3], [4, 5, 1], [2, 3, 4]]


def test_windows_shift_from_the_second_epoch_on() -> None:
    numbers = Numbers(4)
    with Loader(numbers, 4, seed=0) as loader:
        ids(loader, range(3))
    assert numbers.shifts[0] == 0
    assert len(set(numbers.shifts[:3])) == 3


def test_an_error_reaches_the_caller_and_the_rest_goes_on() -> None:
    numbers = Numbers(6)
    numbers.broken = {2}
    with Loader(numbers, 2, seed=0, shuffle=False) as loader:
        assert loader.batch(0).ids.tolist() == [1, 2]
        with pytest.raises(DataError, match="row cannot be read"):
            loader.batch(1)
        assert loader.batch(2).ids.tolist() == [5, 6]


def test_close_ends_the_thread_and_the_loader() -> None:
    loader = Loader(Numbers(6), 2, seed=0)
    loader.batch(0)
    loader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "miaobi-loader"]
    with pytest.raises(RuntimeError, match="closed"):
        loader.batch(1)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        Loader(Numbers(0), 2, seed=0)


def test_augmentation_depends_on_seed_epoch_and_item_alone(tmp_path: Path) -> None:
    section = {"source": "catalog:digits", "clean": {"limit": 40}}
    train = prepare(Recipe.load({"modality": "image", "data": section, "model": {"family": "vae"}})).train
    options = {"flip": True, "crop": 2}

    def epoch(batch_size: int, number: int) -> dict[int, np.ndarray]:
        found = {}
        with Loader(train, batch_size, 5, augment=options) as loader:
            for index in range(number * len(train) // batch_size, (number + 1) * len(train) // batch_size):
                batch = loader.batch(index)
                found |= dict(zip(batch.ids.tolist(), batch.target.values.numpy(), strict=True))
        return found

    size = len(train)
    whole, single, later = epoch(size, 0), epoch(1, 0), epoch(size, 1)
    assert all(np.array_equal(whole[item], single[item]) for item in whole)
    assert any(not np.array_equal(whole[item], later[item]) for item in whole)


@pytest.mark.parametrize(("count", "size"), [(1000, 8), (23, 5), (3, 8), (64, 16), (411, 4)])
def test_grouped_every_epoch_has_every_item_once_in_its_own_order(count: int, size: int) -> None:
    with Loader(Numbers(count), size, seed=1, grouped=True) as loader:
        rows = [row for index in range(4 * count // size + 2) for _, row in loader.rows(index)]
    epochs = [rows[start : start + count] for start in range(0, 4 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_grouped_batches_hold_items_of_like_length_in_every_epoch() -> None:
    data = Numbers(4001)
    sizes = data.sizes()

    def padding(grouped: bool, start: int) -> float:
        with Loader(data, 16, seed=2, grouped=grouped) as loader:
            batches = [sizes[[row for _, row in loader.rows(index)]] for index in range(start, start + 100)]
        return float(np.mean([batch.max() - batch.mean() for batch in batches]))

    for start in (0, 252, 600):
        assert padding(True, start) < 0.15 * padding(False, start)


def test_grouped_batches_come_in_no_order_of_length() -> None:
    data = Numbers(800)
    sizes = data.sizes()
    with Loader(data, 16, seed=2, grouped=True) as loader:
        means = [sizes[[row for _, row in loader.rows(index)]].mean() for index in range(50)]
    assert abs(np.corrcoef(means, range(50))[0, 1]) < 0.4


@pytest.mark.parametrize("grouped", [False, True])
def test_the_heaviest_batches_are_those_with_most_tokens_and_the_longest_item(grouped) -> None:
    data = Numbers(103)
    with Loader(data, 8, seed=4, grouped=grouped) as loader:
        found = loader.heaviest(30)
        sizes = [data.sizes()[[row for _, row in loader.rows(index)]] for index in range(30)]
    assert 1 <= len(found) <= 2
    assert max(int(sizes[index].sum()) for index in found) == max(int(one.sum()) for one in sizes)
    assert max(int(sizes[index].max()) for index in found) == max(int(one.max()) for one in sizes)


def test_alike_items_have_no_heaviest_batch(monkeypatch) -> None:
    monkeypatch.setattr(Numbers, "sizes", Dataset.sizes)
    with Loader(Numbers(20), 4, seed=0) as loader:
        assert loader.heaviest(10) == []
