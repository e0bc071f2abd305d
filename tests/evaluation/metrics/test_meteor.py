"""METEOR in closed form, on a WordNet of two nouns, and on the real one where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nltk.data
import pytest

from miaobi.errors import Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics import meteor
from tests.evaluation.pairs import paired


class NoSynonyms:
    """What NLTK asks of WordNet, knowing no word."""

    def synsets(self, word: str) -> list[Any]:
        return []


@pytest.fixture
def two_nouns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A WordNet whose only synset is car, auto, in the format of wndb(5WN); nothing else is found."""
    root = tmp_path / "corpora" / "wordnet"
    root.mkdir(parents=True)
    for name in meteor_files():
        (root / name).write_text("")
    (root / "lexnames").write_text("00\tnoun.artifact\t1\n")
    # The reader takes WordNet's version from the licence that precedes the data.
    (root / "data.adj").write_text("  1 WordNet 3.0 Copyright 2006 by Princeton University.\n")
    (root / "data.noun").write_text("00000000 00 n 02 car 0 auto 0 000 | a vehicle\n")
    (root / "index.noun").write_text("auto n 1 0 1 0 00000000\ncar n 1 0 1 0 00000000\n")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    return root


def meteor_files() -> list[str]:
    parts = ("noun", "verb", "adj", "adv")
    return [f"{kind}.{part}" for kind in ("index", "data") for part in parts] + [
        *(f"{part}.exc" for part in parts),
        "cntlist.rev",
        "index.sense",
    ]


def test_closed_form_without_synonyms() -> None:
    # Five of six and of six words match in two runs: F = 5/6, the penalty 0.5 (2/5)^3.
    value = meteor.score("the cat sat on the mat", "the cat stood on the mat", NoSynonyms())
    assert value == pytest.approx(5 / 6 * (1 - 0.5 * (2 / 5) ** 3))
    # One stem of two words against one: precision 1/2, recall 1, one run of one word.
    value = meteor.score("cats", "a cat", NoSynonyms())
    assert value == pytest.approx(0.5 / (0.9 * 0.5 + 0.1) * 0.5)
    assert meteor.score("cat", "", NoSynonyms()) == 0


def test_synonyms_of_wordnet_match(two_nouns: Path) -> None:
    found = score(paired(["an auto"] * 2, ["a car", "an auto"]), ["meteor"])["meteor"]
    # One word of two in one run, and two of two in one run.
    assert found.value == pytest.approx((0.5 * 0.5 + (1 - 0.5 * (1 / 2) ** 3)) / 2)
    assert found.floor == pytest.approx(0.25)
    assert found.protocol["detail"]["wordnet"] == "3.0"


@pytest.mark.parametrize("lacking", ["lexnames", "index.noun"])
def test_wordnet_that_is_absent_or_damaged_is_refused(two_nouns: Path, lacking: str) -> None:
    (two_nouns / lacking).unlink()
    with pytest.raises(Unsupported, match=r"python -m nltk\.downloader wordnet"):
        score(paired(["a car"], ["a car"]), ["meteor"])


def test_absence_is_noticed_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr("nltk.download", lambda *_, **__: pytest.fail("something was fetched"))
    context = paired(["a car"], ["a car"])
    with pytest.raises(Unsupported, match=r"python -m nltk\.downloader wordnet"):
        check(["meteor"], context.model.family, context.modality)


def test_texts_without_spaces_are_refused(two_nouns: Path) -> None:
    with pytest.raises(Unsupported, match="for English"):
        score(paired(["白日依山尽"], ["白日依山尽"]), ["meteor"])


def test_the_example_in_nltks_documentation() -> None:
    context = paired(["a car"], ["a car"])
    try:
        check(["meteor"], context.model.family, context.modality)
    except Unsupported as absent:
        pytest.skip(f"NOT TESTED, the real WordNet is not here: {absent}")
    reference = "It is a guide to action that ensures that the military will forever heed Party commands"
    answer = (
        "It is a guide to action which ensures that the military always obeys the commands of the party"
    )  # fmt: skip
    with meteor.open_wordnet() as wordnet:
        assert meteor.score(reference, answer, wordnet) == pytest.approx(0.6944, abs=5e-5)
