"""A run's page and card say what was measured, of the weights that it has and of no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from miaobi import evaluate, load, models
from miaobi.cli import _app
from miaobi.errors import CorruptFile, RunFolderError
from miaobi.evaluation import Pair, Protocol, Score
from miaobi.training import card, facts, is_run, record, scored, train
from miaobi.training.run_folder import RunFolder
from tests.support.worlds import write_lines

ODD = '{"scores": {"a": {"value": 1, "interval": [], "floor": 0, "protocol": {}}}, "nearest": [], "weights": WEIGHTS}'
SCORE = Score(
    0.3,
    (0.25, 0.35),
    0.01,
    Protocol(metric="memorization", direction="lower", samples=20, split="test", seed=7, source="s", data="f"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    recipe = {
        "modality": {"name": "text", "max_length": 16},
        "data": {"source": str(write_lines(folder / "lines.txt", 120))},
        "model": {"family": "autoregressive", "size": "tiny"},
        "train": {"steps": 4, "batch_size": 8, "threads": 1, "precision": "float32", "tracking": []},
        "evaluate": {"metrics": ["memorization", "likelihood"], "samples": 10},
    }
    train(recipe, run=folder / "run", progress=False)
    return folder / "run"


def read(run: Path) -> tuple[str, str]:
    return (run / "report.html").read_text("utf-8"), (run / "model" / "MODEL_CARD.md").read_text("utf-8")


def test_before_any_score_it_says_so_and_all_else_is_there(run: Path) -> None:
    page, told = read(run)
    for heading in ("Samples", "Limits", "Data", "Model", "Cost"):
        assert f"<h2>{heading}</h2>" in page
    assert "<h2>Scores</h2>" not in page
    assert "has not been scored on the test part" in page
    for heading in ("Model", "Data", "Scores", "Samples", "Limits", "Cost", "Licence"):
        assert f"## {heading}\n" in told
    assert "Not scored on the test part yet" in told
    assert facts.UNKNOWN_LICENCE in told
    assert "do not publish it" in told


def test_scores_are_kept_and_shown_with_protocol_and_nearest_items(run: Path) -> None:
    model = load(run)
    scores = evaluate(model)
    assert record(run, scores, model.modality) == run / "report.html"
    page, told = read(run)
    assert "<h2>Scores</h2>" in page
    assert "<h2>Nearest to training items</h2>" in page
    assert "has not been scored" not in page
    for figure, score in scores.items():
        assert f"| {figure} | {score.value:.4g} |" in told
        assert figure in page
    for expected in ("seed 0", "split test", "scikit-learn", "interval method", "real against real"):
        assert expected in told
    kept = scored.read(RunFolder(run))
    assert {name: score.to_json() for name, score in kept.scores.items()} == {
        name: score.to_json() for name, score in scores.items()
    }
    pairs = scores["copied_share"].pairs[: scored.SHOWN]
    assert [distance for *_, distance in kept.nearest] == [pair.distance for pair in pairs]
    assert [left.read_text("utf-8") for left, *_ in kept.nearest] == [pair.generated for pair in pairs]
    assert [right.read_text("utf-8") for _, right, _ in kept.nearest] == [pair.training for pair in pairs]


def test_another_figure_adds_and_the_same_replaces(run: Path) -> None:
    modality = load(run).modality
    record(run, {"copied_share": SCORE}, modality)
    record(run, {"one": SCORE}, modality)
    before = scored.read(RunFolder(run)).nearest
    changed = Score(0.9, None, None, SCORE.protocol)
    elsewhere = Score(0.5, None, None, SCORE.protocol | Protocol(trained_on="g", source="other.txt"))
    record(run, {"one": changed}, modality)
    record(run, {"one": elsewhere}, modality)
    known = scored.read(RunFolder(run))
    assert known.scores["copied_share"] == SCORE
    assert known.scores["one"] == changed
    assert known.scores["one on other.txt"] == elsewhere
    assert known.nearest == before


def test_scores_of_other_weights_are_forgotten(run: Path) -> None:
    folder = RunFolder(run)
    scored.keep(folder, {"mine": SCORE}, load(run).modality)
    assert "mine" in scored.read(folder).scores
    described = folder.model / "model.json"
    original = described.read_text("utf-8")
    described.write_text(json.dumps(json.loads(original) | {"sha256": "0" * 64}), "utf-8")
    try:
        assert scored.read(folder) == scored.Known()
    finally:
        described.write_text(original, "utf-8")


@pytest.mark.parametrize("damage", ["{", "[]", '{"scores": 3, "nearest": [], "weights": WEIGHTS}', ODD])
def test_a_damaged_file_is_named(run: Path, damage: str) -> None:
    folder = RunFolder(run)
    scored.keep(folder, {"mine": SCORE}, load(run).modality)
    place = folder.scores / "scores.json"
    weights = json.dumps(json.loads(place.read_text("utf-8"))["weights"])
    place.write_text(damage.replace("WEIGHTS", weights), "utf-8")
    with pytest.raises(CorruptFile, match=r"scores.* is damaged"):
        scored.read(folder)
    place.unlink()


def test_only_a_finished_run_is_one(run: Path, tmp_path: Path) -> None:
    assert is_run(run)
    assert not is_run(run / "model")
    assert not is_run(tmp_path)
    with pytest.raises(RunFolderError, match="not the folder of a finished run"):
        record(run / "model", {"one": SCORE}, load(run).modality)


def test_copying_is_a_limit_beyond_noise_only(run: Path) -> None:
    info = models.info_of(run)
    surely, perhaps = (Score(0.9, (low, 1.0), 0.01, SCORE.protocol) for low in (0.8, 0.005))
    for figure in ("copied_share", "near_share", "pasted_share", "stitched_share"):
        assert any("more than chance explains" in line for line in facts.limits(info, {figure: surely})), figure
        assert not any("more than chance" in line for line in facts.limits(info, {figure: perhaps})), figure


def test_figures_measured_otherwise_are_told_apart(run: Path) -> None:
    other = Score(0.4, None, None, SCORE.protocol | Protocol(unit="of something else", seed=8))
    told = card.text(models.info_of(run), {"one": SCORE, "two": SCORE, "three": other}, [], place="stages/last/")
    for expected in (
        "- one, two: source s;",
        "- three: source s;",
        "of something else",
        "stages/last/scores/scores.json",
    ):
        assert expected in told


def test_what_is_near_other_data_is_not_shown_as_training_items(run: Path) -> None:
    modality = load(run).modality
    own = Score(0.3, None, None, SCORE.protocol, (Pair("made", "own training item", 0.5),))
    elsewhere = Score(0.3, None, None, SCORE.protocol | Protocol(trained_on="g"), (Pair("made", "of other data", 0.9),))
    scored.keep(RunFolder(run), {"copied_share": own}, modality)
    known = scored.keep(RunFolder(run), {"copied_share": elsewhere}, modality)
    assert [right.read_text("utf-8") for _, right, _ in known.nearest] == ["own training item"]


def test_what_cannot_be_written_is_said_and_the_scores_are_given(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "scores", ignore_errors=True)
    (run / "scores").write_text("in the way")
    try:
        assert _app.run(["evaluate", str(run), "--metric", "memorization", "--samples", "4", "--json"]) == 0
        out, err = capfd.readouterr()
        assert "copied_share" in json.loads(out)["scores"]
        assert "page" not in json.loads(out)
        assert "could not write" in err
    finally:
        (run / "scores").unlink()


def test_what_was_dropped_is_counted() -> None:
    report = {"too_long": {"count": 4}, "duplicates": {"exact": {"count": 2}, "near": {"count": 1}}}
    assert facts.dropped(report) == {
        "unreadable": 0,
        "too_short": 0,
        "too_long": 4,
        "left_out": 0,
        "exact": 2,
        "near": 1,
    }


def test_energy_is_power_times_time() -> None:
    assert facts.watt_hours(7200, 50) == 100


def test_a_sample_cannot_become_markdown(run: Path, tmp_path: Path) -> None:
    evil = tmp_path / "00000001-0.txt"
    evil.write_text("# Title\n\n<script>alert(1)</script>\n```\n| a |", "utf-8")
    told = card.text(models.info_of(run), {}, [evil])
    quoted = told.split("## Samples\n")[1].split("## Limits")[0]
    assert all(line.startswith(("    ", "As they")) or not line for line in quoted.splitlines())
