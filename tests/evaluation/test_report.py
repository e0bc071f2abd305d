"""Reports: self-contained, escaped, and right about what they show."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from miaobi.evaluation import Pair, Protocol, Score
from miaobi.evaluation.charts import chart, read_log
from miaobi.evaluation.report import (
    Section,
    commands,
    curves,
    files,
    measured_curves,
    neighbours,
    page,
    prose,
    samples,
    scores,
    table,
)
from tests.evaluation.stand_ins import digits, image, text
from tests.support.pages import Balanced

SCORE = Score(
    0.318, (0.3, 0.34), 0.002, Protocol(metric="kernel_distance", direction="lower", samples=5000, split="test")
)


def test_a_page_is_one_well_formed_file_that_fetches_nothing() -> None:
    items = digits(3)
    sections = [
        prose("What this is", "Digits & more."),
        table("Sizes", ("name", "count"), [("a<b", 3), ("c", 0.123456)]),
        samples("Made", items, image(items), captions=["0", "1", "2"]),
        curves("Loss", {"loss": [(0, 2.0), (10, 1.0)]}),
        scores("Scores", {"kernel_distance": SCORE}),
        neighbours("Nearest", [Pair(items[0], items[1], 0.5)], image(items)),
        commands("Next", ["miaobi show", ("miaobi generate run -n 3", "three more")]),
    ]
    found = Balanced(page("妙笔 <report>", sections, subtitle="a & b"))
    assert found.fetched
    assert all(source.startswith("data:") for source in found.fetched)
    shown = " ".join(found.text)
    for expected in (
        "妙笔 <report>",
        "a<b",
        "0.1235",
        "0.318",
        "0.3 to 0.34",
        "0.002",
        "5000 items of test",
        "three more",
    ):
        assert expected in shown


def test_what_a_model_wrote_cannot_become_markup() -> None:
    evil = "<script>alert(1)</script>"
    modality = text([evil])
    document = page(evil, [samples(evil, [evil], modality, [evil]), prose(evil, evil), commands(evil, [evil])])
    assert "<script>" not in document
    Balanced(document)


def test_empty_sections_are_left_out() -> None:
    modality = text(["a"])
    empty = [
        samples("S", [], modality),
        curves("C", {}),
        scores("P", {}),
        table("T", (), []),
        neighbours("N", [], modality),
    ]
    assert "<h2>" not in page("nothing", empty)
    assert "<h2>x</h2>" in page("something", [Section("x", "y")])


def test_a_log_is_read_up_to_where_it_was_cut_and_later_values_count(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 0, "time": 1.5, "generator loss": 2.0, "parts": {"kl": 1}},
        {"step": 0, "generator loss": 1.0},
        {"step": 1, "notice": "rolled back", "generator loss": math.nan},
        {"step": 1, "evaluation": {"bits_per_byte": 3.5}},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 2, "gener')
    training, evaluation = read_log(path)
    assert training == {"generator loss": [(0, 1.0)], "parts.kl": [(0, 1.0)]}
    assert evaluation == {"bits_per_byte": [(1, 3.5)]}
    assert read_log(tmp_path / "absent.jsonl") == ({}, {})


def test_a_chart_spans_its_range_and_keeps_the_last_point() -> None:
    points = [(step, float(np.cos(step / 500))) for step in range(5000)]
    drawn = chart("cosine", points)
    curve = drawn.split('points="')[1].split('"')[0].split()
    assert 300 < len(curve) <= 402
    assert f"cosine: {points[-1][1]:.4g}" in drawn
    heights = [float(point.split(",")[1]) for point in curve]
    assert min(heights) == pytest.approx(12, abs=0.5)
    assert max(heights) == pytest.approx(146, abs=0.5)


@pytest.mark.parametrize("points", [[(3, 1.0)], [(0, 2.0), (5, 2.0)], [(0, 0.0), (1, 0.0)]])
def test_flat_and_single_curves_are_drawn(points: list[tuple[float, float]]) -> None:
    assert "nan" not in chart("flat", points)
    Balanced(chart("flat", points))


def test_a_chart_of_nothing_finite_is_nothing() -> None:
    assert chart("none", [(0, math.nan)]) == ""


def test_files_are_embedded_by_kind_and_large_ones_only_named(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"<b>two</b>"), ("b.png", b"png"), ("c.wav", b"wav"), ("d.mid", b"midi")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "large.png").write_bytes(bytes((4 << 20) + 1))
    section = files("Samples", sorted(tmp_path.iterdir()))
    found = Balanced(page("Files", [section]))
    assert found.fetched == ["data:image/png;base64,cG5n", "data:audio/x-wav;base64,d2F2"]
    assert {"<b>two</b>", "a.txt", "d.mid", "large.png"} <= set(found.text)


def test_what_was_measured_over_a_range_is_drawn_once_a_group() -> None:
    rows = [{"strength": i, "robust": 1 - i / 4, "robust_interval": [0, 1], "noise": 1.0} for i in range(5)]
    swept = Score(0.5, None, None, Protocol(metric="robustness", detail={"curve": rows}))
    drawn = measured_curves("Over a range", {"robust_accuracy": swept, "noise_accuracy": swept, "plain": SCORE}).body
    assert drawn.count("<svg") == 2
    assert "robustness: robust: 0<" in drawn
    assert "strength 4<" in drawn
    Balanced(drawn)
    for curve in ("nonsense", [], [3]):
        odd = Score(0.5, None, None, Protocol(metric="odd", detail={"curve": curve}))
        assert measured_curves("Over a range", {"odd": odd}).body == ""
