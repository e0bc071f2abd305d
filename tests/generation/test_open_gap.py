"""A file with a gap: how it is read, and that generating keeps both sides of it."""

import functools
import tempfile
from pathlib import Path

import pytest
import torch

from miaobi import load, modalities, training
from miaobi.errors import DataError, InvalidRecipe, RequestError, Unsupported
from miaobi.generation import generate
from miaobi.generation._open_gap import read_gap
from miaobi.types import Form
from tests.support.worlds import recipe as world

CODE = "def f(x):\n    y = x\n    return y"


@functools.cache
def model():
    folder = Path(tempfile.mkdtemp())
    settings = world("infilling", Form.TOKENS, folder, steps=2, evaluate_every=2)
    return load(training.train(settings, run=folder / "run", progress=False).run)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "given.py"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


@functools.cache
def subwords():
    modality = modalities.create({"name": "text", "tokenizer": "bpe", "vocabulary": 300})
    modality.fit([CODE] * 20)
    return modality


@pytest.mark.parametrize("gap", ["□", "□□□"])
def test_blanks_before_a_gap_are_part_of_it(gap, file):
    modality = subwords()
    whole = modality.encode(CODE).tolist()
    tokens, mask = read_gap(modality, file(f"def f(x):\n    {gap}\n    return y\n"))
    assert mask.dtype is torch.bool
    place = int(mask.long().argmax())
    assert int(mask.sum()) == 1
    assert tokens.shape == mask.shape
    before, after = tokens[0, :place].tolist(), tokens[0, place + 1 :].tolist()
    assert (modality.decode(before), modality.decode(after)) == ("def f(x):", "\n    return y")
    # Both sides are spelled as they are in a text without a gap.
    assert whole[: len(before)] == before
    assert whole[-len(after) :] == after


@pytest.mark.parametrize(("text", "place", "length"), [("□ return y", 0, 10), ("def f(x): □", 9, 10)])
def test_a_gap_may_be_at_an_end(text, place, length, file):
    modality = modalities.create({"name": "text"})
    modality.fit([CODE])
    tokens, mask = read_gap(modality, file(text))
    assert tokens.shape[1] == length
    assert mask[0].nonzero().tolist() == [[place]]


@pytest.mark.parametrize(
    ("text", "said"), [("x = 1", "no gap"), ("a □ b □ c", "several"), ("□", "nothing but"), ("def □ 黄", "黄")]
)
def test_files_that_cannot_be_filled_say_why(text, said, file):
    modality = modalities.create({"name": "text"})
    modality.fit([CODE])
    with pytest.raises(DataError, match=said):
        read_gap(modality, file(text))


def test_a_file_is_filled_in_and_written(file, tmp_path):
    made = generate(model(), edit=file("The value □ is returned.\n"), n=3, seed=4, out=tmp_path / "out")
    for one in made:
        assert one.text.startswith("The value")
        assert one.text.endswith(" is returned.")
        assert one.path.read_text() == one.text
    assert len({one.text for one in made}) > 1
    again = generate(model(), edit=file("The value □ is returned.\n"), n=3, seed=4)
    assert [one.text for one in again] == [one.text for one in made]


def test_what_cannot_be_said_beside_a_gap(file):
    path = file("The □ is returned.")
    with pytest.raises(Unsupported, match="no mask"):
        generate(model(), edit=path, mask=path)
    with pytest.raises(InvalidRecipe, match="leave the prompt out"):
        generate(model(), edit=path, prompt="The")
    with pytest.raises(RequestError, match="leave stop out"):
        generate(model(), edit=path, controls={"stop": "."})
    with pytest.raises(RequestError, match="no room"):
        generate(model(), edit=file("The □ is" + " returned" * 20))


def test_a_model_that_was_not_trained_to_says_so(file, tmp_path):
    settings = world("ngram", Form.TOKENS, tmp_path)
    plain = load(training.train(settings, run=tmp_path / "run", progress=False).run)
    with pytest.raises(Unsupported, match="infilling"):
        generate(plain, edit=file("The □ is returned."))
