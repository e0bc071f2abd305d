"""BLEU, chrF and TER beside sacrebleu's own command on the same lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics._sacrebleu import Corpus, scorers
from tests.evaluation.pairs import Answers, paired
from tests.evaluation.stand_ins import Sampler, digits, image, sentences, text

ENGLISH = sentences(24)
NEAR = [" ".join(line.split()[::-1]) if row % 3 else line for row, line in enumerate(ENGLISH)]
CHINESE = [f"白日依山尽，黄河入海流。第{row}首 line {row}" for row in range(12)]
CHINESE_NEAR = [line.replace("黄河", "长江") for line in CHINESE]
JAPANESE = [f"古池や蛙飛びこむ水の音、その{row}" for row in range(12)]


def command(folder: Path, answers: Sequence[str], real: Sequence[str], *options: str) -> dict[str, tuple[float, str]]:
    """What ``sacrebleu REFERENCE -i ANSWERS`` prints: figure to value and signature."""
    paths = folder / "real.txt", folder / "answers.txt"
    for path, lines in zip(paths, (real, answers), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    arguments = [str(paths[0]), "-i", str(paths[1]), "-m", "bleu", "chrf", "ter", "-w", "12", *options]
    done = subprocess.run(
        [sys.executable, "-m", "sacrebleu", *arguments], capture_output=True, check=True, encoding="utf-8"
    )
    return {entry["name"]: (float(entry["score"]), entry["signature"]) for entry in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("answers", "real", "options"),
    [
        (NEAR, ENGLISH, []),
        (CHINESE_NEAR, CHINESE, ["--tokenize", "zh", "--ter-normalized", "--ter-asian-support"]),
        (JAPANESE[::-1], JAPANESE, ["--tokenize", "char", "--ter-normalized", "--ter-asian-support"]),
    ],
)
def test_figures_are_those_of_the_command(tmp_path: Path, answers: list[str], real: list[str], options: list[str]):
    expected = command(tmp_path, answers, real, *options)
    found = score(paired(answers, real), ["translation"])
    for figure, name in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        value, signature = expected[name]
        assert found[figure].value == pytest.approx(value, abs=1e-9)
        assert 0 < found[figure].value < 100
        ours, theirs = (set(text.split("|")) for text in (found[figure].protocol["signature"], signature))
        assert ours == theirs


def test_the_sources_themselves_are_the_baseline() -> None:
    found = score(paired(ENGLISH, ENGLISH, told=NEAR), ["translation"])
    assert found["bleu"].value == pytest.approx(100)
    assert found["chrf"].value == pytest.approx(100)
    assert found["ter"].value == 0
    assert found["copy_bleu"].value == pytest.approx(BLEU().corpus_score(NEAR, [ENGLISH]).score)
    assert found["copy_chrf"].protocol["direction"] == "neither"
    assert found["copy_bleu"].value < 100


def test_the_floor_is_what_answers_to_something_else_score() -> None:
    found = score(paired(NEAR, ENGLISH), ["translation"])
    others = [*ENGLISH[1:], ENGLISH[0]]
    assert found["bleu"].floor == pytest.approx(BLEU().corpus_score(others, [ENGLISH]).score)
    assert found["ter"].floor is None


def test_the_interval_holds_the_value_and_resamples_add_up() -> None:
    found = score(paired(NEAR, ENGLISH), ["translation"])
    for figure in ("bleu", "chrf", "ter", "copy_bleu"):
        low, high = found[figure].interval or (0, 0)
        assert low <= found[figure].value <= high
    rows = [3, 3, 5, 0, 11]
    for metric in scorers("13a").values():
        some = Corpus(metric, NEAR, ENGLISH).score(rows)  # type: ignore[arg-type]
        again = metric.corpus_score([NEAR[row] for row in rows], [[ENGLISH[row] for row in rows]])
        assert some == pytest.approx(again.score)


def test_ter_is_of_as_many_samples_as_asked_for() -> None:
    found = score(paired(NEAR, ENGLISH), ["translation"], {"translation": {"ter_samples": 6}})
    rows = range(0, 24, 4)
    expected = scorers("13a")["ter"].corpus_score([NEAR[row] for row in rows], [[ENGLISH[row] for row in rows]])
    assert found["ter"].value == pytest.approx(expected.score)
    assert (found["ter"].protocol["samples"], found["bleu"].protocol["samples"]) == (6, 24)


def test_lines_and_absent_sources_are_one_line_each() -> None:
    found = score(paired(["a b\nc d e"] * 2, ["a b c d e"] * 2, told=["a b\nc d e", None]), ["translation"])
    assert found["bleu"].value == pytest.approx(100)
    assert found["copy_bleu"].value == pytest.approx(BLEU().corpus_score(["a b c d e", ""], [["a b c d e"] * 2]).score)


def test_which_source_is_copied_has_to_be_clear() -> None:
    two = {"more": NEAR}
    assert "copy_bleu" not in score(paired(NEAR, ENGLISH, more=two), ["translation"])
    named = score(paired(NEAR, ENGLISH, more=two), ["translation"], {"translation": {"source": "more"}})
    assert named["copy_bleu"].value == named["bleu"].value
    with pytest.raises(InvalidRecipe, match="not a text condition"):
        score(paired(NEAR, ENGLISH), ["translation"], {"translation": {"source": "kind"}})


@pytest.mark.parametrize("metric", ["translation", "rouge"])
def test_a_wrong_source_is_refused_before_any_work(metric: str) -> None:
    modality = text(ENGLISH)
    conditions = {"source": modality, "kind": image(digits(4))}
    family = Answers(modality, ENGLISH, conditions)
    for wrong in ("kind", "sauce"):
        with pytest.raises(InvalidRecipe, match=f"not a text condition.*{wrong}.*allowed: source"):
            check([metric], family, modality, options={metric: {"source": wrong}}, conditions=conditions)
    check([metric], family, modality, options={metric: {"source": "source"}}, conditions=conditions)


def test_a_brief_look_has_the_figures_alone() -> None:
    found = score(paired(NEAR, ENGLISH, brief=True), ["translation"])
    assert list(found) == ["bleu", "chrf", "ter"]
    assert all(item.interval is None and item.floor is None for item in found.values())


def test_what_has_no_pairs_is_refused() -> None:
    modality = text(ENGLISH)
    with pytest.raises(Unsupported, match="without conditions"):
        check(["translation"], Sampler(modality, ENGLISH), modality)
    pictures = image(digits(4))
    with pytest.raises(Unsupported, match="does not apply to image"):
        check(["translation"], Answers(pictures, digits(4), {"source": modality}), pictures)  # type: ignore[arg-type]
