"""Curves: what is read from a run, and that any of it can be drawn."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from miaobi.demo.curves import HEIGHT, WIDTH, draw, read

POINTS = st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e12, 1e12)), min_size=1, max_size=500)


@given(POINTS)
def test_every_point_is_inside_the_figure(points: list[tuple[float, float]]) -> None:
    (drawn,) = re.findall(r'polyline points="([^"]*)"', draw("loss", sorted(points)))
    places = [tuple(map(float, pair.split(","))) for pair in drawn.split()]
    assert 1 <= len(places) <= 250
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)


def test_held_out_figures_come_first_and_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "time": 0.1, "gan.loss": 2.0, "gan.gradient_norm": 1.0}',
        '{"step": 1, "evaluation": {"kernel_distance": 3.0}}',
        '{"step": 2, "time": 0.2, "gan.loss": NaN, "gan.gradient_norm": 1.0}',
        '{"step": 3, "time": 0.3, "gan.loss": 1.0, "notice": "hm"}',
        '{"step": 3, "evaluation": {"kernel_distance": 2.0}}',
        '{"step": 4, "time"',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read(tmp_path / "metrics.jsonl") == {
        "held-out kernel_distance": [(1.0, 3.0), (3.0, 2.0)],
        "training gan.loss": [(1.0, 2.0), (3.0, 1.0)],
    }


def test_names_are_escaped() -> None:
    assert "<b>" not in draw("<b>", [(0.0, 1.0), (1.0, 2.0)])
