"""What views draw: right colours, escaped text, round ticks."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from miaobi.evaluation.understanding._curves import Point, curve, ticks
from miaobi.evaluation.understanding._pictures import Word, coloured, heat_map, paint, small_maps, table
from tests.support.pages import Balanced


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_paint_is_denser_the_more_and_red_above_zero():
    found = pixels(paint(np.array([[0.0, 0.5, 1.0], [-1.0, -0.25, 2.0]]), 1.0))
    assert found[..., 3].tolist() == [[0, 128, 255], [255, 64, 255]]
    assert found[0, 2, 0] > found[0, 2, 2]
    assert found[1, 0, 2] > found[1, 0, 0]


def test_a_heat_map_has_a_cell_a_number_and_a_label_a_side():
    rows, columns = [Word("<b>"), Word("\n")], [Word(" "), Word("longer than twelve"), Word("月")]
    html = heat_map(np.array([[0, 1, 2], [3, 4, 5.0]]), rows, columns, "t & u", "rows look")
    Balanced(html)
    image = pixels(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1]))
    assert image.shape == (2, 3, 4)
    assert re.findall(r"<text[^>]*>([^<]*)</text>", html) == ["&lt;b&gt;", "⏎", "␣", "longer␣than…", "月"]
    assert "opaque is 5" in html
    # Every label stands inside the picture.
    width = float(re.search(r'viewBox="0 0 (\d+)', html)[1])
    assert all(0 < float(x) < width for x in re.findall(r'<text x="([-\d.]+)"', html))


def test_coloured_words_are_escaped_and_signed():
    html = coloured([Word("<i>"), Word("b"), Word("⟨begin⟩", special=True)], [2.0, -1.0, 0.0], "of", marked="&c")
    Balanced(html)
    assert "&lt;i&gt;" in html
    assert "&amp;c" in html
    densities = [float(found) for found in re.findall(r"rgba\([\d,]+,([\d.]+)\)", html)]
    assert densities == [0.75, 0.375, 0.0]
    reds = re.findall(r"rgba\((\d+)", html)
    assert int(reds[0]) > int(reds[1])


def test_small_maps_and_tables_are_well_formed():
    Balanced(small_maps([("layer 1, head 1", np.eye(3))], "all"))
    html = table(("a", "b"), [("x<", 1.0), ("y", 2.0)])
    Balanced(html)
    assert html.count('class="number"') == 3


@given(st.floats(-100, 100), st.floats(1e-3, 100))
def test_ticks_are_round_and_inside(low, span):
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 <= value <= low + span + 1e-9 for value in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])


def test_a_curve_has_axes_with_titles_and_a_mark_a_point():
    points = [Point(1, 5.0, (4.0, 6.0), "1"), Point(2, 4.0, None, "2"), Point(4, 3.5, (3.0, 4.0), "4")]
    html = curve(points, "The title", "context (tokens)", "bits a token")
    Balanced(html)
    for expected in ("The title", "context (tokens)", "bits a token", "1: 5 (4 to 6)", "2: 4<"):
        assert expected in html
    xs = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', html)]
    # Doublings are as far apart as doublings.
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    ys = [float(y) for y in re.findall(r'cy="([\d.]+)"', html)]
    assert ys == sorted(ys)
    assert curve([], "t", "x", "y") == ""
    Balanced(curve([Point(1, 2.0)], "one", "x", "y"))
