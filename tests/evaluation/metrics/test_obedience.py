"""Rules by hand, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import binomtest

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics import obedience
from miaobi.evaluation.metrics.obedience import Format, Obedience, asked, kept, rules
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Settings
from tests.evaluation.pairs import paired
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, text

POEM, PROSE = "白日依山尽\n黄河入海流\n", "A moon, and no river."


def scored(options: dict[str, Any], samples: list[str] | None = None) -> Any:
    modality = text([POEM, PROSE], max_length=100)
    family = Sampler(modality, samples or [POEM], pick=lambda seeds: seeds * 0)
    return score(context(family, data(modality, [POEM], [POEM, PROSE] * 5)), ["obedience"], {"obedience": options})


@pytest.mark.parametrize(
    ("options", "line", "obeys"),
    [
        ({"keywords": ["moon"]}, "a moonlit night", True),
        ({"keywords": ["moon", "river"]}, "a moonlit night", False),
        ({"keywords": ["moon"]}, "Moon", False),
        ({"lines": [2, 2]}, "a\n\n b\n", True),
        ({"lines": [2, 3]}, "a", False),
        ({"lines": [0, 0]}, "", True),
        ({"characters": [1, 3]}, "白日依", True),
        ({"characters": [1, 3]}, "白日依山", False),
        ({"pattern": r"\d+"}, "123", True),
        ({"pattern": r"\d+"}, "123a", False),
        ({"pattern": r"(.+\n)*.+"}, "a\nb", True),
    ],
)
def test_each_rule(options: dict[str, Any], line: str, obeys: bool) -> None:
    config = Obedience.Config.parse(options)
    chosen = rules(config, Format(config.pattern) if config.pattern else None)
    name = next(iter(options))
    assert kept(chosen, line) == {"obeys": obeys, f"obeys_{name}": obeys}


def test_all_rules_and_each() -> None:
    found = scored({"keywords": ["黄河"], "lines": [2, 2], "characters": [1, 5]})
    assert list(found) == ["obeys", "obeys_keywords", "obeys_lines", "obeys_characters"]
    assert [item.value for item in found.values()] == [0, 1, 1, 0]
    assert [item.floor for item in found.values()] == [0, 0.5, 0.5, 0]
    assert found["obeys_lines"].interval == pytest.approx(tuple(binomtest(10, 10).proportion_ci(method="wilson")))
    assert found["obeys"].protocol["detail"]["rules"]["characters"] == [1, 5]


def test_keywords_of_each_item_are_from_its_condition() -> None:
    told = ["moon, river", "sea", "月、山", ""]
    answers = ["the moon on a river", "a mountain", "山上有月", "anything"]
    real = ["a moon", "the sea", "月", "and no more"]
    found = score(paired(answers, real, told), ["obedience"], {"obedience": {"keywords_from": "source"}})
    assert (found["obeys_keywords_from"].value, found["obeys_keywords_from"].floor) == (0.75, 0.5)
    assert found["obeys"].value == 0.75
    with pytest.raises(InvalidRecipe, match="not a text condition"):
        score(paired(answers, real, told), ["obedience"], {"obedience": {"keywords_from": "title"}})


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        ({"keywords": "moon", "lines": 2}, {"keywords": ["moon"], "lines": (2, 2)}),
        ({"regex": "[ab]+"}, {"pattern": "[ab]+"}),
        ({"regex": "("}, {}),
        ({"temperature": 2.0}, {}),
    ],
)
def test_what_controls_ask_for_is_what_is_checked(controls: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked(TokenControls.parse(controls)) == expected
    assert asked(Settings()) == {}


def test_a_slow_pattern_is_stopped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obedience, "_SECONDS", 0.01)
    slow, endless = Format("(a|aa)+b"), "a" * 60
    assert not slow(endless)
    assert slow.timeouts == 1
    assert not any(slow(endless) for _ in range(8))
    with pytest.raises(InvalidRecipe, match="more than a second on 10 texts"):
        slow(endless)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no rule to check"),
        ({"keyword": ["moon"]}, "did you mean keywords"),
        ({"keywords": [""]}, "keywords.0"),
        ({"lines": [4, 2]}, "the fewest come first"),
        ({"lines": [-1, 2]}, "greater than or equal to 0"),
        ({"pattern": "("}, "not a regular expression"),
    ],
)
def test_rules_that_mean_nothing_are_refused_before_any_work(options: dict[str, Any], message: str) -> None:
    modality = text([POEM])
    with pytest.raises(InvalidRecipe, match=message):
        check(["obedience"], Sampler(modality, [POEM]), modality, options={"obedience": options})


def test_options_of_no_metric_are_refused() -> None:
    modality = text([POEM])
    with pytest.raises(UnknownName, match="obedience"):
        check([], Sampler(modality, [POEM]), modality, options={"obediense": {}})


def test_pictures_are_refused() -> None:
    modality = image(digits(4))
    with pytest.raises(Unsupported, match="obedience does not apply"):
        check(["obedience"], Sampler(modality, digits(4)), modality, options={"obedience": {"lines": [1, 1]}})
