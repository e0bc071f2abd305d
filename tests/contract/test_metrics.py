"""Every metric says what it measures, how it misleads and where it is from; every score says how it came about."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from symusic import Note, Track
from symusic import Score as Piece

from miaobi import modalities
from miaobi.errors import DataError, InvalidRecipe, MissingExtra, Unsupported
from miaobi.evaluation import Context, Direction
from miaobi.evaluation.comparability import require_comparable
from miaobi.evaluation.metrics import find, names
from miaobi.evaluation.metrics._base import MUST_MATCH
from miaobi.evaluation.scoring import score
from miaobi.sampling.noise import integers
from tests.evaluation.pairs import paired
from tests.evaluation.stand_ins import Uniform, context, data, digits, image, sentences, text
from tests.support.protocols import check

TESTS = Path(__file__).resolve().parent.parent / "evaluation" / "metrics"
LIBRARIES = {"sklearn": "scikit-learn", "sacrebleu": "sacrebleu", "nltk": "nltk", "rouge_score": "rouge-score"}
LINES = sentences(60)


@pytest.mark.parametrize("name", names())
def test_it_says_what_it_measures_how_it_misleads_and_where_it_is_from(name: str) -> None:
    metric = find(name)
    said = inspect.getdoc(metric) or ""
    assert said != inspect.getdoc(metric.__mro__[1])
    assert len(said) > 150
    assert re.search(r"\bPitfalls?\b", said), "the class's docstring says by what it misleads: 'Pitfalls. ...'"
    assert re.search(r"\b(19|20)\d\d\b", metric.paper), "the paper has an author and a year"
    assert metric.figures
    assert all(isinstance(direction, Direction) for direction in metric.figures.values())
    assert metric.must_match >= MUST_MATCH


@pytest.mark.parametrize("name", names())
def test_it_has_a_test_of_its_own_that_computes_figures(name: str) -> None:
    path = TESTS / f"test_{name}.py"
    assert path.is_file()
    assert "score(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", names())
def test_libraries_that_compute_its_figures_have_their_versions_told(name: str) -> None:
    source = Path(inspect.getfile(find(name))).read_text(encoding="utf-8")
    modules = {
        module.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    used = {LIBRARIES[module] for module in modules & LIBRARIES.keys()}
    assert used <= set(find(name).libraries) or "signature=" in source


class Able(Uniform):
    """A sampler that has every ability that a stand-in can have without a network."""

    class Controls(Uniform.Controls):
        temperature: float = 1.0

    exact = True

    def predict_masked(self, batch: Any, rate: float, seeds: torch.Tensor) -> Any:
        counts = batch.target.mask().sum(1) // 5
        return 2.0 * counts, counts // 2, counts


@cache
def world(kind: str) -> Context:
    """A context of texts, of pairs of texts, of images or of music in four voices."""
    if kind == "pairs":
        return paired(LINES[:30], LINES[30:])
    items: list[Any] = {"texts": LINES, "images": digits(60)}.get(kind) or [chords(index) for index in range(60)]
    modality = {"texts": text, "images": image}.get(kind, music)(items)
    order = iter(range(10**6))
    pool = items[20:] if kind == "images" else items[20:50]
    family = Able(modality, pool, lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    return context(family, data(modality, items[:30], items[30:]), extractor=None if kind == "texts" else "pixels")


def music(items: list[Any]) -> Any:
    modality = modalities.create("music")
    modality.fit(items)
    return modality


def chords(index: int) -> Any:
    """Four voices that step up and down."""
    made: Any = Piece(480)
    steps = (integers(torch.tensor([index]), "steps", 5, (8,))[0] - 2).cumsum(0).tolist()
    for low in (72, 67, 60, 48):
        track: Any = Track(program=52)
        for beat, step in enumerate(steps):
            track.notes.append(Note(beat * 480, 480, low + step, 64))
        made.tracks.append(track)
    return modalities.create("music").read(made)


@pytest.mark.parametrize("kind", ["texts", "pairs", "images", "music"])
@pytest.mark.parametrize("name", names())
def test_its_scores_say_how_they_came_about_and_compare_with_themselves(name: str, kind: str) -> None:
    here, metric = world(kind), find(name)
    options = {"relevance": {"among": 5}, "two_sample": {"permutations": 19}, "mauve": {"clusterings": 2}}
    try:
        metric.check(here.model.family, here.modality)
        found = score(here, [name], {key: value for key, value in options.items() if key == name})
    except (Unsupported, DataError, InvalidRecipe, MissingExtra):
        # It does not apply here, and said so instead of scoring.
        return
    assert found
    for figure, one in found.items():
        check(metric(metric.Config.parse(options.get(name), name)), figure, one)
        require_comparable(one, one)
        assert not metric.needs_features or "extractor_hash" in one.protocol
