"""The rule: gates first, then quality, ties within noise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi import modalities
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation import Score
from miaobi.evaluation.ranking import (
    COPIED_MARGIN,
    LEAST_RECALL,
    LEAST_VARIETY,
    LONGEST_RUN,
    NEAR_MARGIN,
    STITCHED,
    failures,
    figures,
    quality_of,
    rank,
)
from miaobi.evaluation.records import Protocol

QUALITY = "kernel_distance.kernel_distance"


def one(
    value: float, interval: tuple[float, float] | None = None, floor: float | None = None, **protocol: Any
) -> Score:
    return Score(value, interval, floor, Protocol(metric="kernel_distance", direction="lower", **protocol))


SHUFFLED = one(10, (9, 11))


def scores(quality: Score, **changes: Score | None) -> dict[str, Score]:
    found = {
        "kernel_distance": quality,
        "copied_share": one(0.02, (0.01, 0.04), 0.01),
        "near_share": one(0.06, (0.05, 0.08), 0.05),
        "trimmed_recall": one(0.6, (0.5, 0.7), 0.8),
        **changes,
    }
    return {name: score for name, score in found.items() if score is not None}


def tokens(quality: Score, **changes: Score | None) -> dict[str, Score]:
    more = {"trimmed_recall": None, "distinct_4": one(0.9, None, 0.95), "self_bleu": one(30, None, 20)}
    runs = {"longest_copy": one(5, (4, 6), 4), "stitched_share": one(0.2, (0.1, 0.3), 0.2)}
    return scores(quality, **{**more, **runs, **changes})


GOOD = one(2, (1, 3))


def test_quality_ranks_those_that_pass() -> None:
    found = rank({"b": scores(one(5, (4.5, 5.5))), "a": scores(GOOD), "c": scores(one(7, (6, 8)))}, SHUFFLED, QUALITY)
    assert [(place.name, place.rank) for place in found.places] == [("a", 1), ("b", 2), ("c", 3)]
    assert not any(place.ties for place in found.places)
    assert found.summary.startswith(f"by {QUALITY}: 1. a 2, 2. b 5, 3. c 7.")


def test_differences_within_noise_are_ties() -> None:
    found = rank({"a": scores(GOOD), "b": scores(one(3.5, (2.9, 4)))}, SHUFFLED, QUALITY)
    assert [(place.name, place.rank, place.ties) for place in found.places] == [("a", 1, ("b",)), ("b", 1, ("a",))]
    assert "(within noise)" in found.summary


def test_a_tie_is_not_passed_on() -> None:
    chain = {"a": scores(GOOD), "b": scores(one(3.2, (2.5, 4))), "c": scores(one(4.5, (3.5, 5)))}
    found = rank(chain, SHUFFLED, QUALITY)
    assert [(place.name, place.rank, place.ties) for place in found.places] == [
        ("a", 1, ("b",)),
        ("b", 1, ("a", "c")),
        ("c", 2, ("b",)),
    ]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (scores(GOOD, copied_share=one(0.5, (0.01 + COPIED_MARGIN + 0.01, 0.6), 0.01)), "copies"),
        (scores(GOOD, copied_share=one(0.5, None, 0.01)), "copies"),
        (scores(GOOD, copied_share=None), "memorization was not measured"),
        (scores(GOOD, near_share=None), "memorization was not measured"),
        (scores(GOOD, near_share=one(0.9, (0.05 + NEAR_MARGIN + 0.01, 1), 0.05)), "copies with changes"),
        (scores(GOOD, copied_share=one(0.01, (0, 0.1), None)), "too few held-out items"),
        (scores(GOOD, copied_share=one(float("nan"), None, 0.01)), "copies"),
        (scores(GOOD, pasted_share=one(0.5, (0.4, 0.6), 0.01)), "cuts and pastes"),
        (scores(GOOD, trimmed_recall=one(0.8 * LEAST_RECALL - 0.01, (0, 1), 0.8)), "too alike: trimmed_recall"),
        (scores(GOOD, trimmed_recall=None), "diversity was not measured"),
        (tokens(GOOD, longest_copy=one(17, (4 * LONGEST_RUN + 0.1, 18), 4)), "copies long runs"),
        (tokens(GOOD, stitched_share=one(0.8, (0.2 + STITCHED * 0.8 + 0.01, 1), 0.2)), "stitches runs together"),
        (tokens(GOOD, distinct_4=one(0.95 * LEAST_VARIETY - 0.01, None, 0.95)), "too alike: distinct_4"),
        (tokens(GOOD, self_bleu=one(100 - 80 * LEAST_VARIETY + 1, None, 20)), "too alike: 100 less self_bleu"),
        (tokens(GOOD, self_bleu=None), "diversity was not measured"),
        (scores(one(8, (7, 9.5))), "no better than shuffled data"),
        (scores(one(1, None)), "too few items"),
        (scores(one(1, (0, 2), unit="miles")), "does not compare: it differs in unit"),
        ({}, "kernel_distance was not measured"),
    ],
)
def test_a_gate_that_is_not_passed_is_named(found: dict[str, Score], reason: str) -> None:
    ranking = rank({"bad": found, "good": scores(one(8, (7.5, 8.5)))}, SHUFFLED, QUALITY)
    assert [place.name for place in ranking.places] == ["good"]
    assert any(reason in said for said in ranking.unranked["bad"])
    assert "bad" in ranking.summary.partition("Not ranked")[2]


def test_what_is_just_inside_passes() -> None:
    assert not failures(tokens(GOOD), SHUFFLED, "kernel_distance")
    edge = one(0.5, (0.01 + COPIED_MARGIN, 0.6), 0.01)
    assert not failures(scores(GOOD, copied_share=edge, pasted_share=edge), SHUFFLED, "kernel_distance")


def test_what_chance_explains_is_excused_and_no_more() -> None:
    def copied(share: float, chance: float) -> list[str]:
        score = one(share, (share, share), 0.01, detail={"by_chance": chance})
        return failures(tokens(GOOD, copied_share=score), SHUFFLED, "kernel_distance")

    assert not copied(0.3, chance=0.3)
    assert copied(0.3, chance=0.3 - COPIED_MARGIN - 0.01)


def test_where_nobody_passes_nobody_is_ranked() -> None:
    found = rank({"noise": scores(one(20, (19, 21)))}, SHUFFLED, QUALITY)
    assert not found.places
    assert found.summary.startswith("no model is ranked: none passes every gate. Not ranked: noise (no better")
    assert found.to_json()["order"] == []


@given(st.lists(st.tuples(st.floats(0, 8), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_nobody_who_fails_comes_before_anybody(drawn: list[tuple[float, float, float]]) -> None:
    given_ = {
        str(i): scores(
            one(v, (v - 0.5, v + 0.5)), copied_share=one(c, (c, c), 0.01), trimmed_recall=one(r, (r, r), 0.8)
        )
        for i, (v, c, r) in enumerate(drawn)
    }
    found = rank(given_, SHUFFLED, QUALITY)
    names = {place.name for place in found.places}
    assert names | found.unranked.keys() == given_.keys()
    assert not names & found.unranked.keys()
    for i, (_, copied, recall) in enumerate(drawn):
        assert (str(i) in names) is (copied <= 0.01 + COPIED_MARGIN and recall >= LEAST_RECALL * 0.8)
    ranks = [place.rank for place in found.places]
    assert ranks == sorted(ranks)
    assert ranks[:1] in ([], [1])


def test_the_rule_says_every_number() -> None:
    rule = rank({"a": tokens(GOOD)}, SHUFFLED, QUALITY).rule
    for said in (QUALITY, f"{COPIED_MARGIN:g}", f"{LONGEST_RUN:g}", f"{LEAST_VARIETY:.0%}", f"{NEAR_MARGIN:g}"):
        assert said in rule


def test_what_cannot_rank_is_refused() -> None:
    text = modalities.create("text")
    assert quality_of(text) == "statistics.least_overlap"
    assert quality_of(text, "harmonic_bleu") == "sample_bleu.harmonic_bleu"
    for wrong in ("likelihood.bits_per_byte", "diversity.distinct_1"):
        with pytest.raises(InvalidRecipe, match="cannot be ranked"):
            quality_of(text, wrong)
    with pytest.raises(Unsupported, match="label"):
        quality_of(modalities.create("label"))


def test_every_modality_that_ranks_has_its_figures() -> None:
    for name in modalities.names():
        modality = modalities.create(name)
        if modality.quality:
            assert figures(modality, quality_of(modality))[0] == modality.quality
