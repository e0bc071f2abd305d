import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miaobi import load, training
from miaobi.errors import InvalidRecipe, RequestError, Unsupported
from miaobi.generation import generate
from miaobi.types import Form
from tests.support.worlds import recipe as world

BASE = {
    "modality": "image",
    "data": {"source": "catalog:digits", "clean": {"limit": 300}},
    "model": {"family": "diffusion", "size": "tiny"},
    "train": {"steps": 8, "batch_size": 8, "evaluate_every": 8, "threads": 1, "precision": "float32"},
    "evaluate": {"extractor": "pixels", "samples": 20},
}


@functools.cache
def model(view=None):
    data = BASE["data"] | ({"condition": {"seen": {"view": view}}} if view else {})
    run = Path(tempfile.mkdtemp()) / "run"
    return load(training.train({**BASE, "data": data}, run=run, progress=False).run)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def mask(tmp_path):
    holes = np.zeros((8, 8), np.uint8)
    holes[2:5, 3:7] = 255
    Image.fromarray(holes).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.mark.parametrize("view", ["mask", None])
def test_what_the_mask_leaves_stays_and_the_rest_is_made_anew(view, picture, mask):
    made = generate(model(view), edit=picture, mask=mask, n=3)
    original, holes = np.asarray(Image.open(picture)), np.asarray(Image.open(mask)) > 0
    for one in made:
        assert np.array_equal(one.item[..., 0][~holes], original[~holes])
        assert not np.array_equal(one.item[..., 0][holes], original[holes])
    assert not np.array_equal(made[0].item, made[1].item)
    again = generate(model(view), edit=picture, mask=mask, n=3)
    assert all(np.array_equal(left.item, right.item) for left, right in zip(made, again, strict=True))


def test_a_degraded_file_is_restored_without_a_mask(picture, tmp_path):
    made = generate(model("downscale"), edit=picture, n=2, out=tmp_path / "out")
    assert [one.path.suffix for one in made] == [".png", ".png"]
    with pytest.raises(Unsupported, match="takes no mask"):
        generate(model("downscale"), edit=picture, mask=picture)


@pytest.mark.parametrize("view", ["mask", None])
def test_a_hole_needs_a_mask_and_a_mask_a_file(view, picture, mask):
    with pytest.raises(Unsupported, match="--mask"):
        generate(model(view), edit=picture)
    with pytest.raises(InvalidRecipe, match="--edit"):
        generate(model(view), mask=mask)


def test_a_model_that_edits_nothing_says_so(picture, tmp_path):
    settings = world("vae", Form.TENSOR, tmp_path, steps=2, evaluate_every=2)
    plain = load(training.train(settings, run=tmp_path / "run", progress=False).run)
    with pytest.raises(Unsupported, match="edits nothing"):
        generate(plain, edit=picture)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(RequestError, match="notes"):
        generate(model("downscale"), edit=tmp_path / "notes.png")


def test_a_family_that_edits_the_whole_needs_no_mask_and_keeps_to_one(picture, mask, tmp_path):
    painter = load(
        training.train(world("style_transfer", Form.TENSOR, tmp_path), run=tmp_path / "run", progress=False).run
    )
    original, holes = np.asarray(Image.open(picture)), np.asarray(Image.open(mask)) > 0
    whole, part = (generate(painter, edit=picture, mask=chosen)[0].item[..., 0] for chosen in (None, mask))
    assert (whole != original).mean() > 0.5
    assert np.array_equal(part[~holes], original[~holes])
    assert np.array_equal(part[holes], whole[holes])
    with pytest.raises(Unsupported, match="generating needs"):
        generate(painter)


@functools.cache
def writer():
    folder = Path(tempfile.mkdtemp())
    settings = world("masked_lm", Form.TOKENS, folder, steps=20, evaluate_every=20)
    return load(training.train(settings, run=folder / "run", progress=False).run)


def test_a_texts_gaps_are_filled_and_the_rest_stays_letter_by_letter(tmp_path):
    (tmp_path / "line.txt").write_text("The ☃ of the st___ment is _ list.\n", encoding="utf-8")
    made = generate(writer(), edit=tmp_path / "line.txt", n=3, out=tmp_path / "out", conditions={"kind": "short"})
    for one in made:
        assert one.item.startswith("The ☃ of the st")
        assert one.item[18:26] == "ment is "
        assert one.item[27:] == " list."
        assert "�" not in one.item
        assert one.path.read_text(encoding="utf-8") == one.item
    assert len({one.item for one in made}) > 1
    again = generate(writer(), edit=tmp_path / "line.txt", n=3, conditions={"kind": "short"})
    assert [one.item for one in again] == [one.item for one in made]
    sure = {"temperature": 0}
    assert len({one.item for one in generate(writer(), edit=tmp_path / "line.txt", n=2, controls=sure)}) == 1


def test_a_mask_beside_a_text_marks_what_is_made_anew(tmp_path):
    (tmp_path / "line.txt").write_text("a_list is a list")
    (tmp_path / "mask.txt").write_text("  ____          ")
    made = generate(writer(), edit=tmp_path / "line.txt", mask=tmp_path / "mask.txt")[0]
    assert made.item[:2] == "a_"
    assert made.item[6:] == " is a list"
    (tmp_path / "short.txt").write_text("__")
    with pytest.raises(RequestError, match="not as long"):
        generate(writer(), edit=tmp_path / "line.txt", mask=tmp_path / "short.txt")


def test_a_masked_model_needs_a_text_with_gaps(tmp_path):
    (tmp_path / "line.txt").write_text("nothing is missing")
    with pytest.raises(RequestError, match="no gap"):
        generate(writer(), edit=tmp_path / "line.txt")
    with pytest.raises(Unsupported, match="generating needs"):
        generate(writer())
