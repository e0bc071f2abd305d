"""DNSMOS P.835 against the package's own function, and what the metric says of sounds where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from miaobi.errors import FetchFailed, MissingExtra, Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics import _dnsmos, naturalness
from miaobi.evaluation.metrics._dnsmos import RATE, WINDOW, Dnsmos, cut
from miaobi.modalities._waveform import Sound
from tests.evaluation.sounds import spoken
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

installed = pytest.mark.skipif(
    find_spec("speechmos") is None or find_spec("onnxruntime") is None,
    reason="NOT TESTED: DNSMOS needs miaobi[speech-metrics]",
)


def buzz(seconds: float, hiss: float, seed: int = 0) -> np.ndarray:
    """A voiced-like sound in bursts of a quarter second, with noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * 120 * order * time) / order for order in range(1, 20))
    floats = 0.1 * tones * (np.sin(2 * np.pi * 2 * time) > 0)
    return (floats + hiss * np.random.default_rng(seed).standard_normal(len(time))).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("count", "windows"),
    [(1, 7), (RATE, 7), (WINDOW, 1), (10 * RATE, 1), (11 * RATE, 2), (12 * RATE + 5, 3), (8 * RATE, 7)],
)
def test_a_window_begins_each_second_and_short_sounds_are_doubled(count: int, windows: int) -> None:
    floats = np.arange(count, dtype=np.float32)
    found = cut(floats)
    assert found.shape == (windows, WINDOW)
    assert np.array_equal(found[0], np.resize(floats, WINDOW))
    assert np.array_equal(found[-1], np.resize(floats, 60 * RATE)[(windows - 1) * RATE :][:WINDOW])


@installed
@pytest.mark.parametrize("seconds", [4.6, 9.5, 12.0])
def test_scores_are_the_packages_own(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module also wants librosa, for another figure, and requests, for nothing: stand-ins serve."""
    librosa, requests = ModuleType("librosa"), ModuleType("requests")
    librosa.feature = ModuleType("feature")  # type: ignore[attr-defined]
    librosa.feature.melspectrogram = lambda y, **_: np.ones((120, 900), np.float32)  # type: ignore[attr-defined]
    librosa.power_to_db = lambda picture, **_: picture  # type: ignore[attr-defined]
    requests.session = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "librosa", librosa)
    monkeypatch.setitem(sys.modules, "requests", requests)
    from speechmos import dnsmos

    floats = buzz(seconds, 0.01)
    expected = dnsmos.run(floats, RATE)
    found = Dnsmos("a test")(floats)
    assert found == pytest.approx([expected[f"{name}_mos"] for name in ("sig", "bak", "ovrl")], abs=1e-4)


@installed
def test_noise_costs_what_listeners_would_take_off() -> None:
    def sounds(hiss: float) -> list[Sound]:
        # Doubled three times, they are just long enough for one window.
        return [Sound.of(buzz(1.2, hiss, seed), RATE) for seed in range(2)]

    found = score(spoken(sounds(0.2), sounds(0.001), ["a", "b"]), ["naturalness"])
    assert list(found) == ["dnsmos_overall", "dnsmos_speech", "dnsmos_background"]
    for one in found.values():
        assert one.floor is not None
        assert one.interval is not None
        assert 0.5 < one.value < 5
        assert one.protocol["extractor_hash"] == _dnsmos.SHA256[:16]
        assert one.protocol["versions"].keys() >= {"onnxruntime", "speechmos"}
    assert found["dnsmos_background"].value < found["dnsmos_background"].floor - 0.3


def test_a_metric_is_the_mean_of_its_judge_and_listens_to_no_more_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    class StandIn:
        def __init__(self, needed_for: str) -> None: ...

        def __call__(self, floats: np.ndarray) -> np.ndarray:
            heard.append(float(floats.max()))
            return np.array([1.0, 2.0, 3.0]) + float(floats.max())

    monkeypatch.setattr(naturalness, "Dnsmos", StandIn)
    monkeypatch.setattr(naturalness, "require", lambda needed_for: None)
    monkeypatch.setattr(naturalness.Naturalness, "libraries", ())
    quiet, loud = ([Sound.of(np.full(RATE, level), RATE)] * 4 for level in (0.25, 0.5))
    found = score(spoken(loud, quiet, list("abcd")), ["naturalness"])
    assert {name: (one.value, one.floor) for name, one in found.items()} == {
        "dnsmos_overall": (3.5, 3.25),
        "dnsmos_speech": (1.5, 1.25),
        "dnsmos_background": (2.5, 2.25),
    }
    heard.clear()
    brief = score(spoken(loud, quiet, list("abcd"), brief=True), ["naturalness"], {"naturalness": {"most": 2}})
    assert heard == [0.5, 0.5]
    assert brief["dnsmos_overall"].floor is None
    assert brief["dnsmos_overall"].protocol["samples"] == 2


def test_what_is_no_sound_is_refused() -> None:
    items = digits(4)
    with pytest.raises(Unsupported, match="is of sound"):
        score(context(Sampler(image(items), items), data(image(items), items, items)), ["naturalness"])


def test_absent_packages_and_other_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sound = Sound(np.ones(RATE, np.int16), RATE)
    absent: Callable[[str], Any] = lambda name: None  # noqa: E731
    monkeypatch.setattr(_dnsmos, "find_spec", absent)
    with pytest.raises(MissingExtra, match="naturalness"):
        score(spoken([sound], [sound], ["a"]), ["naturalness"])
    monkeypatch.setattr(_dnsmos, "require", lambda needed_for: tmp_path)
    with pytest.raises(FetchFailed, match="not the published model"):
        Dnsmos("a test")
