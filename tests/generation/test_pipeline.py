import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest

from miaobi import load, training
from miaobi.errors import DataError, InvalidRecipe, RequestError, RunFolderError, UnknownName, Unsupported
from miaobi.generation import generate
from miaobi.types import Form
from tests.support.worlds import recipe


@functools.cache
def model(name, form):
    folder = Path(tempfile.mkdtemp())
    settings = recipe(name, form, folder, steps=8, evaluate_every=8)
    return load(training.train(settings, run=folder / "run", progress=False).run)


def writer():
    return model("autoregressive", Form.TOKENS)


def painter():
    return model("vae", Form.TENSOR)


def test_items_are_written_and_named_in_order(tmp_path):
    made = generate(painter(), n=3, out=tmp_path / "new" / "folder")
    assert [one.path.name for one in made] == ["00000.png", "00001.png", "00002.png"]
    assert all(one.path.stat().st_size > 50 for one in made)
    assert [one.index for one in made] == [0, 1, 2]


def test_an_item_depends_on_its_seed_and_index_only():
    many, few = generate(painter(), n=70, seed=4), generate(painter(), n=3, seed=4)
    for index in range(3):
        difference = many[index].item.astype(int) - few[index].item.astype(int)
        assert np.abs(difference).max() <= 1
    assert not np.array_equal(many[0].item, many[69].item)


def test_a_prompt_starts_a_text():
    made = generate(writer(), prompt="The value", n=2, controls={"max_length": 30})
    assert all(one.text.startswith("The value") for one in made)


def test_conditions_change_what_is_made():
    short, long = (generate(painter(), conditions={"label": digit}, n=2) for digit in ("0", "1"))
    assert any(not np.array_equal(left.item, right.item) for left, right in zip(short, long, strict=True))


def test_an_unknown_condition_class_or_control_is_refused():
    with pytest.raises(UnknownName, match="did you mean label"):
        generate(painter(), conditions={"labell": "3"})
    with pytest.raises(DataError, match="allowed"):
        generate(painter(), conditions={"label": "eleven"})
    with pytest.raises(InvalidRecipe, match="did you mean temperature"):
        generate(writer(), controls={"temprature": 1})
    with pytest.raises(InvalidRecipe, match="temperature"):
        generate(writer(), controls={"temperature": -1})


def test_a_prompt_is_refused_where_it_means_nothing():
    with pytest.raises(Unsupported, match="takes no prompt"):
        generate(painter(), prompt="a cat")


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 10**9}, {"seed": -1}, {"seed": 2**63}])
def test_numbers_are_bounded(wrong):
    with pytest.raises(InvalidRecipe, match="out of range"):
        generate(painter(), **wrong)


def test_a_prompt_longer_than_the_model_takes_is_refused():
    with pytest.raises(RequestError):
        generate(writer(), prompt="x" * 10_000)


def test_an_output_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError):
        generate(painter(), out=tmp_path / "file")
