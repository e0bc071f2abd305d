"""Speech: every format in, both representations there and back, and what is broken refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from miaobi.data import prepare
from miaobi.errors import CorruptFile, DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities import _sound_files, create
from miaobi.modalities._loudness import level
from miaobi.modalities._waveform import Sound
from miaobi.recipe import Recipe
from miaobi.types import Form

quick = settings(max_examples=30, deadline=None)
RATE = 8000
FORMATS = [
    ("WAV", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
]
REPRESENTATIONS = ["waveform", "mel"]


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def sound(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, peak: float = 0.5) -> Sound:
    return Sound.of(tone(seconds, rate, hertz, peak), rate)


def noisy(seed: int, seconds: float = 1.0) -> Sound:
    """Bursts of band-limited noise: every seed is another sound."""
    rng = np.random.default_rng(seed)
    bursts = np.repeat(rng.uniform(0, 0.3, 10), round(seconds * RATE / 10))
    filtered = np.convolve(rng.standard_normal(len(bursts)), rng.standard_normal(8) / 4, "same")
    return Sound.of(bursts * filtered, RATE)


def buzz(seed: int) -> Sound:
    """A second of a tone rich in harmonics whose pitch and loudness wander, as a voice's do."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    pitch = rng.uniform(100, 250) + 60 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time + rng.uniform(0, 6))
    loud = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6)), 0, 1)
    weights = rng.uniform(0, 1, 20) ** 3
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    harmonics = [weight * np.sin(k * phase) for k, weight in enumerate(weights, 1)]
    return Sound.of(0.05 * loud * np.sum(harmonics, axis=0), RATE)


def file_bytes(floats: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, floats, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def speech(items: Sequence[Sound], **options: Any) -> Any:
    made = create({"name": "speech", **options})
    made.fit(items)
    return made


def frequency(item: Sound) -> float:
    middle = item.floats[len(item.samples) // 4 : -len(item.samples) // 4]
    return float(np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() * item.rate / len(middle))


samples = numpy_arrays(np.int16, st.integers(1, 200))


@given(samples, st.sampled_from([8000, 16_000]))
@quick
def test_packing_and_a_wav_file_lose_nothing(values: np.ndarray, rate: int) -> None:
    made = create("speech")
    item = Sound(values, rate)
    for back in (made.unpack(made.pack(item)), made.read(file_bytes(values, rate)), made.read(item)):
        assert back.rate == rate
        assert np.array_equal(back.samples, values)
    assert made.pack(made.unpack(made.pack(item))) == made.pack(item)


@given(numpy_arrays(np.int16, (3, 1, 400)))
@quick
def test_every_sample_survives_the_scaling(arrays: np.ndarray) -> None:
    made = speech([sound(0.05)])
    field = made.collate(list(arrays))
    assert field.values.shape == (3, *[made.spec.channels, *made.spec.space])
    assert field.values.abs().max() <= 1
    assert np.array_equal(np.stack(made.split_batch(field.values, None)), arrays)


def test_all_levels_lie_evenly_from_minus_one_to_one() -> None:
    made = speech([sound(0.05)])
    everything = np.arange(-(2**15), 2**15, dtype=np.int16).reshape(1, 1, -1)
    values = made.collate(list(everything)).values
    assert made.spec.levels == 2**16
    assert (float(values.min()), float(values.max())) == (-1, 1)
    assert torch.allclose(values.double().diff(), torch.tensor(2 / 65535, dtype=torch.float64), atol=2e-7)
    assert np.array_equal(made.split_batch(values, None)[0], everything[0])
    far = torch.tensor([-7.0, 7.0]).view(1, 1, 2).requires_grad_()
    assert made.split_batch(far, None)[0].ravel().tolist() == [-(2**15), 2**15 - 1]


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8000, 16_000])
def test_every_format_is_read(form: str, subtype: str, rate: int, tmp_path: Path) -> None:
    made = create("speech")
    data = file_bytes(tone(1.0, rate), rate, form, subtype)
    suffix = {"AIFF": "aiff"}.get(form, form.lower())
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    assert path.suffix in made.extensions
    for raw in (data, path, str(path), {"bytes": data, "path": None}, {"bytes": None, "path": str(path)}):
        item = made.read(raw)
        assert item.rate == rate
        assert item.samples.dtype == np.int16
        assert abs(item.seconds - 1) < 0.1
        assert abs(frequency(item) - 440) < 4


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_depth_is_read(subtype: str) -> None:
    item = create("speech").read(file_bytes(tone(), subtype=subtype))
    assert np.abs(item.floats - tone()).max() < (0.05 if subtype.endswith(("LAW", "U8")) else 1e-4)


def test_channels_are_averaged() -> None:
    both = np.stack([tone(), np.zeros(RATE, np.float32)], axis=1)
    item = create("speech").read(file_bytes(both))
    assert np.abs(item.floats - tone() / 2).max() < 1e-4
    again = create("speech").read({"array": both, "sampling_rate": RATE})
    assert np.abs(again.samples - item.samples).max() <= 1


@given(st.floats(100, 3500), st.sampled_from([11_025, 22_050, 44_100, 48_000]), st.sampled_from([8000, 16_000]))
@quick
def test_resampling_keeps_a_sines_frequency_and_level(hertz: float, rate: int, wanted: int) -> None:
    made = create({"name": "speech", "rate": wanted})
    item = made.read({"array": tone(1.0, rate, hertz), "sampling_rate": rate})
    assert item.rate == wanted
    assert abs(item.seconds - 1) < 0.01
    assert abs(frequency(item) - hertz) < 4
    assert level(item.floats, wanted) == pytest.approx(level(tone(1.0, rate, hertz), rate), abs=0.2)


def test_the_rate_is_the_commonest_and_at_most_16_khz() -> None:
    made = create("speech")
    high = made.read(file_bytes(tone(1.0, 44_100), 44_100))
    assert high.rate == 16_000
    assert speech([sound(), sound(), high]).sound_form.rate == 8000
    assert speech([sound(), high]).sound_form.rate == 16_000
    fitted = speech([sound(), sound(), high])
    assert abs(frequency(fitted.decode(fitted.encode(high))) - 440) < 4


def test_the_length_comes_from_the_data() -> None:
    rng = np.random.default_rng(0)
    items = [sound(length) for length in rng.uniform(0.5, 1.5, 50)]
    made = speech(items)
    shares = [item.seconds * RATE <= made.spec.space[0] + 1 for item in items]
    assert 0.85 < np.mean(shares) < 0.95
    assert speech([sound(5)]).spec.space == (2 * RATE,)
    assert speech([sound(5)], fit="pad").spec.space == (5 * RATE,)
    assert speech(items, seconds=0.75).spec.space == (6000,)
    assert speech([sound(1 / RATE)]).spec.space == (400,)


def test_crop_keeps_the_beginning_and_pad_leaves_the_longer_out() -> None:
    rise = Sound.of(tone(2.0) * np.linspace(0.1, 1, 2 * RATE, dtype=np.float32), RATE)
    options = {"seconds": 1.0, "loudness": None, "trim": None}
    crop, pad = speech([rise], **options), speech([rise], fit="pad", **options)
    assert np.array_equal(crop.encode(rise)[0], rise.samples[:RATE])
    with pytest.raises(DataError, match="longer than the fitted length"):
        pad.encode(rise)
    short = sound(0.25)
    for made in (crop, pad):
        assert np.array_equal(made.encode(short)[0], np.pad(short.samples, (0, RATE - 2000)))
    with pytest.raises(DataError, match="too long to pad"):
        speech([sound(61)], fit="pad")


@given(st.floats(0.01, 0.9), st.floats(-40, -12))
@quick
def test_encoding_brings_every_sound_to_the_level(peak: float, target: float) -> None:
    made = speech([sound(1.0, peak=peak)], loudness=target)
    item = made.decode(made.encode(sound(1.0, peak=peak)))
    assert level(item.floats, item.rate) == pytest.approx(target, abs=0.3)


def test_encoding_trims_silence_at_both_ends() -> None:
    still = np.zeros(RATE, np.int16)
    inside = Sound(np.concatenate([still, sound().samples, still]), RATE)
    assert RATE <= speech([inside], fit="pad").spec.space[0] <= 1.1 * RATE
    assert speech([inside], fit="pad", trim=None).spec.space == (3 * RATE,)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_silence_and_a_single_sample_go_through(representation: str) -> None:
    items = [Sound(np.zeros(RATE, np.int16), RATE), Sound(np.array([7], np.int16), RATE), noisy(0)]
    made = speech(items, representation=representation)
    for item in items:
        array = made.encode(item)
        assert np.isfinite(array.astype(np.float64)).all()
        assert made.decode(array).samples.dtype == np.int16
    assert np.abs(made.decode(made.encode(items[0])).samples).max() == 0
    assert made.signature(items[0]) is None
    assert made.similarity(items[0], items[0]) == 1
    assert made.similarity(items[0], items[2]) == 0
    assert made.describe(items)["silence"]["max"] == 1


def test_mel_arrays_fill_the_range_and_give_the_sound_back() -> None:
    items = [noisy(seed) for seed in range(4)]
    made = speech(items, representation="mel", bands=40, seconds=1.0)
    arrays = np.stack([made.encode(item) for item in items])
    assert made.spec.form is Form.TENSOR
    assert (made.spec.channels, made.spec.space, made.spec.levels) == (40, (128,), 0)
    assert arrays.shape[1:] == (40, 128)
    assert arrays.dtype == np.float32
    assert arrays.max() == pytest.approx(1)
    assert arrays.min() == -1
    values = made.collate(list(arrays)).values
    assert np.array_equal(np.stack(made.split_batch(values, None)), arrays)
    assert np.abs(made.split_batch(3 * values, None)[0]).max() == 1
    for array in arrays:
        again = made.sound_form.encode(made.decode(array).floats)
        assert np.corrcoef(array.ravel(), again.ravel())[0, 1] > 0.96
    assert made.units(items).tolist() == [40 * 128] * 4


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_saved_modality_is_the_same(representation: str, tmp_path: Path) -> None:
    items = [noisy(0), noisy(1)]
    made = speech(items, representation=representation)
    made.save(tmp_path)
    again = create({"name": "speech", "representation": representation})
    again.load(tmp_path)
    assert again.spec == made.spec
    for item in items:
        assert np.allclose(again.encode(item), made.encode(item), atol=1e-4)


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"rate": 0, "samples": 5}', '{"rate": 8000, "samples": "5"}', '{"rate": 8000, "samples": 800}',
     '{"rate": 8000, "samples": 800, "span": [1, 2]}', '{"rate": 8000, "samples": 800, "span": 3}'],
)  # fmt: skip
def test_altered_state_is_a_corrupt_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "speech.json").write_text(content)
    with pytest.raises(CorruptFile):
        create({"name": "speech", "representation": "mel"}).load(tmp_path)


def test_altered_items_are_corrupt() -> None:
    made = create("speech")
    for data in (b"", made.pack(sound())[:4], made.pack(sound())[:-1]):
        with pytest.raises(CorruptFile, match="cut short"):
            made.unpack(data)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_a_sound_cut_short_is_unreadable(form: str, subtype: str) -> None:
    whole = file_bytes(noisy(0, 3.0).floats, form=form, subtype=subtype)
    for share in (0.0, 0.02, 0.5, 0.9):
        with pytest.raises(UnreadableItem):
            create("speech").read(whole[: int(len(whole) * share)])


@given(st.binary(max_size=300), st.sampled_from(FORMATS), st.integers(0, 500))
@quick
def test_damaged_files_are_read_or_refused_and_never_crash(junk: bytes, form: tuple[str, str], position: int) -> None:
    whole = bytearray(file_bytes(tone(0.3), form=form[0], subtype=form[1]))
    whole[position : position + len(junk)] = junk
    try:
        item = create("speech").read(bytes(whole))
    except UnreadableItem:
        return
    assert len(item.samples)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b"RIFF\x00\x00",
        None,
        3,
        np.zeros(100, np.float32),
        {},
        {"path": "absent.wav"},
        "1",
        {"array": np.zeros(0), "sampling_rate": RATE},
        {"array": np.zeros((2, 2, 2)), "sampling_rate": RATE},
        {"array": np.zeros(10)},
        {"array": np.zeros(10), "sampling_rate": 1},
        {"array": np.zeros(10), "sampling_rate": 8000.5},
        {"array": ["a"], "sampling_rate": RATE},
        {"array": np.array([0.0, np.nan]), "sampling_rate": RATE},
        {"array": np.array([0.0, np.inf]), "sampling_rate": RATE},
    ],
)
def test_what_is_no_sound_is_refused(raw: Any) -> None:
    with pytest.raises(UnreadableItem):
        create("speech").read(raw)


def test_files_without_samples_or_with_wrong_numbers_are_refused(tmp_path: Path) -> None:
    made = create("speech")
    with pytest.raises(UnreadableItem, match="empty"):
        made.read(file_bytes(np.zeros(0, np.float32)))
    with pytest.raises(UnreadableItem, match="not finite"):
        made.read(file_bytes(np.array([0, np.nan, 0], np.float32), subtype="FLOAT"))
    with pytest.raises(UnreadableItem, match="channels"):
        made.read(file_bytes(np.zeros((10, 20), np.float32)))
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(UnreadableItem, match="cannot read"):
            made.read(path)


def test_a_sound_that_is_too_long_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_bytes(np.zeros(601 * 1000, np.int16), 1000)
    monkeypatch.setattr(_sound_files, "_mono", lambda values: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableItem, match=r"too long.*600 s"):
        create("speech").read(data)


def test_a_floating_point_file_beyond_full_scale_keeps_its_shape() -> None:
    item = create("speech").read(file_bytes(4 * tone(), subtype="FLOAT"))
    assert np.abs(item.floats - 2 * tone()).max() < 1e-3


def test_written_sounds_are_read_back_and_shown(tmp_path: Path) -> None:
    made = create("speech")
    item = noisy(3)
    (path,) = made.write(item, tmp_path / "v1.5")
    assert path.name == "v1.5.wav"
    assert np.array_equal(made.read(path).samples, item.samples)
    html = made.html(item)
    assert html.startswith("<audio controls")
    data = base64.b64decode(html.partition("base64,")[2].partition('"')[0])
    assert np.array_equal(made.read(data).samples, item.samples)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_augmentation_is_deterministic_and_moves_and_amplifies(representation: str) -> None:
    item = noisy(5)
    made = speech([item], representation=representation, seconds=1.0)
    array = made.encode(item)
    options = {"gain": 6, "shift": 0.2}
    once, again = (made.augment(array, options, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.shape == array.shape
    assert once.dtype == array.dtype
    assert not np.array_equal(once, array)
    assert np.array_equal(made.augment(array, {}, np.random.default_rng(3)), array)
    louder = made.decode(made.sound_form.vary(array, -6.0, 0.0))
    plain = made.decode(array)
    assert level(louder.floats, RATE) - level(plain.floats, RATE) == pytest.approx(-6, abs=1)
    fill = -1 if representation == "mel" else 0
    moved = made.sound_form.vary(array, 0.0, 0.256)
    gap = moved.shape[1] * 256 // (1024 if representation == "mel" else 1000)
    assert (moved[:, :gap] == fill).all()
    assert np.allclose(moved[:, gap:], array[:, : array.shape[1] - gap], atol=1e-5)
    back = made.sound_form.vary(array, 0.0, -0.256)
    assert np.allclose(back[:, : array.shape[1] - gap], array[:, gap:], atol=1e-5)


@pytest.mark.parametrize("options", [{"gains": 1}, {"gain": -1}, {"gain": 100}, {"shift": "far"}])
def test_wrong_augmentation_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecipe, match=r"data\.augment"):
        create("speech").check_augment(options)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 100},
        {"seconds": 0},
        {"seconds": 1e6},
        {"fit": "stretch"},
        {"representation": "phonemes"},
        {"loudness": 3},
        {"window": 8, "hop": 8},
        {"band": 3},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecipe):
        create({"name": "speech", **options})


def test_nothing_to_learn_from_and_not_fitted_are_errors() -> None:
    with pytest.raises(DataError, match="no sounds"):
        speech([])
    with pytest.raises(DataError, match="fit"):
        _ = create("speech").spec


def test_a_description_is_of_the_files_as_they_are() -> None:
    made = create("speech")
    found = made.describe([sound(1.0), sound(2.0), sound(0.5, 16_000)])
    assert found["rates"] == {"8000": 2, "16000": 1}
    assert found["total_seconds"] == pytest.approx(3.5)
    assert found["level"]["median"] == pytest.approx(-9.03, abs=0.1)
    assert made.length(sound(0.25)) == 250
    assert made.describe([]) == {}


def test_copies_are_near_duplicates_and_other_sounds_are_not() -> None:
    made = create("speech")
    items = [buzz(seed) for seed in range(12)]
    similar: list[float] = []
    found: list[bool] = []
    for item in items:
        quiet = Sound.of(item.floats / 2, RATE)
        padded = Sound(np.pad(item.samples, (500, 900)), RATE)
        higher = Sound.of(item.at(16_000), 16_000)
        coded = made.read(file_bytes(item.floats, form="MP3", subtype="MPEG_LAYER_III"))
        similar += [made.similarity(item, copy) for copy in (item, quiet, padded, higher, coded)]
        found += [(made.signature(item) == made.signature(copy)).any() for copy in (item, quiet, padded, higher, coded)]
    # The hash is a matter of chance; on real prompts it finds 93 to 100 of 100 copies, by kind.
    assert np.mean(found) > 0.9
    assert np.mean(np.array(similar) >= 0.9) > 0.9
    for index, item in enumerate(items):
        for other in items[:index]:
            assert made.similarity(item, other) < 0.9
    assert made.similarity(items[0], Sound(items[0].samples[: RATE * 3 // 5], RATE)) < 0.9


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_folder_of_sounds_is_prepared_and_bad_files_are_named(representation: str, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seed in range(30):
        form, subtype, suffix = [("WAV", "PCM_16", "wav"), ("FLAC", "PCM_16", "flac"), ("OGG", "VORBIS", "ogg")][
            seed % 3
        ]
        (folder / f"{seed}.{suffix}").write_bytes(file_bytes(buzz(seed).floats, form=form, subtype=subtype))
        (folder / f"{seed}.txt").write_text(f"number {seed}")
    whole = (folder / "0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "nothing.wav").write_bytes(b"")
    modality = {"name": "speech", "representation": representation, "bands": 16}
    data = {"source": str(folder), "condition": {"text": "text"}}
    made = prepare(Recipe.load({"modality": modality, "data": data, "model": {"family": "gan"}}))
    assert {one["where"] for one in made.report.data["unreadable"]["examples"]} == {"cut.wav", "nothing.wav"}
    batch = made.train.batch(range(4))
    assert batch.target.values.shape[1] == (16 if representation == "mel" else 1)
    assert len(made.train) + len(made.validation) + len(made.test) == 30
    assert made.train.condition_items("text", [0])[0].startswith("number")
