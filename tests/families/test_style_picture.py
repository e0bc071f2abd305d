"""Style pictures from files and patterns."""

import numpy as np
import torch
from PIL import Image

from miaobi.families._style_picture import Pattern, style_picture


def test_a_pattern_is_bands_from_the_top():
    drawn = style_picture(Pattern(colours=["#010203", "#ff0000", "#00ff00"], width=2), 8)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (3, 8, 8)
    assert drawn[:, :, 0].T.tolist()[:6] == [[1, 2, 3]] * 2 + [[255, 0, 0]] * 2 + [[0, 255, 0]] * 2
    assert (drawn == drawn[:, :, :1]).all()


def test_a_wave_swings_and_comes_back():
    drawn = style_picture(Pattern(colours=["#000000", "#ffffff"], width=4, wave=3, period=16), 32)
    assert not (drawn == drawn[:, :, :1]).all()
    assert torch.equal(drawn[:, :, :16], drawn[:, :, 16:])


def test_a_file_is_cut_scaled_and_laid_on_white(tmp_path):
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[:, 10:50] = [255, 0, 0, 255]
    pixels[:20, 10:50, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "style.png")
    found = style_picture(str(tmp_path / "style.png"), 10)
    assert found.shape == (3, 10, 10)
    middle = found[:, :, 5].T.float()
    assert (middle[8] - torch.tensor([255.0, 0, 0])).abs().max() < 5
    assert (middle[1] - 255).abs().max() < 5


def test_a_grey_file_becomes_colour(tmp_path):
    Image.fromarray(np.full((9, 9), 77, np.uint8)).save(tmp_path / "grey.png")
    assert (style_picture(str(tmp_path / "grey.png"), 9) == 77).all()
