"""Sound and video through the codes of a discrete autoencoder: shapes, order, and sequences of any length."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.families._layout import Layout
from miaobi.modalities import Represented
from miaobi.modalities._waveform import Sound
from miaobi.models import Model, PartCodec
from miaobi.types import Batch, Form
from tests.support.tensors import family_of

RATE = 8000
RNG = np.random.default_rng(0)
SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4)
SOUNDS = [Sound((RNG.standard_normal(round(s * RATE)) * 3000).astype(np.int16), RATE) for s in SECONDS]
CLIPS = [RNG.integers(0, 256, (6, 8, 12, 3), dtype=np.uint8) for _ in range(4)]


@cache
def coded(name, **options):
    """Codes of a family whose encoder tells items apart, on a modality that is fitted."""
    items = CLIPS if name == "video" else SOUNDS
    inner = modalities.create({"name": name, **options})
    inner.fit(items)
    family = family_of(
        "discrete",
        {"levels": [5, 5], "factor": 4, "likelihood": "gaussian"},
        target=inner.spec,
        network="convolutional",
    )
    # At first every vector is near zero, which is one code.
    family.encoder.head.weight.data.mul_(300)
    made = Represented(PartCodec(Model(family.eval(), inner)), "codec", "codes")
    made.fit(items)
    return made


def mel():
    return coded("speech", representation="mel", seconds=0.4)


def waveform():
    return coded("speech", seconds=0.4)


def video():
    return coded("video", frames=6)


FORMS = pytest.mark.parametrize("make", [mel, waveform], ids=["mel", "waveform"])


@FORMS
def test_codes_end_with_the_sound_and_nothing_is_lost(make):
    modality = make()
    inner, codec = modality.inner, modality.codec
    arrays = modality.encode_many(SOUNDS)
    whole = codec.represent(inner.collate([inner.encode(item) for item in SOUNDS]), "codes")
    lengths = [len(array) for array in arrays]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] <= whole.shape[1] == modality.spec.max_length
    batch = modality.collate(arrays)
    assert batch.lengths.tolist() == lengths
    restored = modality.split_batch(batch.values, batch.lengths)
    expected = inner.split_batch(codec.restore(whole, "codes"), None)
    for found, wanted, item in zip(restored, expected, SOUNDS, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1 if found.dtype == np.int16 else 1e-5)
        made = modality.decode(found)
        assert made.rate == item.rate
        assert len(made.samples) == inner.sound_form.samples


@FORMS
def test_silence_is_one_code(make):
    modality = make()
    assert len(modality.encode(Sound(np.zeros(RATE // 5, np.int16), RATE))) == 1


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 200), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_codes_of_any_number_decode(lengths, seed):
    modality = mel()
    positions = modality.spec.max_length
    values = torch.randint(0, 25, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    rows = modality.split_batch(values, torch.tensor(lengths))
    silence = modality.codec.represent(modality.inner.collate([modality.inner.blank()]), "codes")[0]
    for row, codes, length in zip(rows, values, lengths, strict=True):
        codes = codes[: min(length, positions)]
        full = torch.cat([codes, silence[len(codes) :]])
        wanted = modality.codec.restore(full[None], "codes")[0].clamp(-1, 1)
        np.testing.assert_allclose(row, wanted, atol=1e-5)
        assert len(modality.decode(row).samples) == modality.inner.sound_form.samples


def test_sound_has_an_end_token_and_video_none():
    assert not mel().spec.fixed
    assert video().spec.fixed
    assert Layout(mel().spec, {}).end is not None
    assert Layout(video().spec, {}).end is None


def test_what_a_family_writes_decodes():
    modality = mel()
    family = family_of("autoregressive", target=modality.spec, network="lstm").eval()
    family.forward(batch_of_codes(modality), "train", torch.arange(len(SOUNDS))).total.backward()
    samples = family.sample({}, seeds=torch.arange(5))
    assert len({*samples.lengths.tolist()}) > 1
    assert len(modality.split_batch(samples.values, samples.lengths)) == 5
    longer = family.sample({}, controls=family.Controls(min_length=150, max_length=160), seeds=torch.arange(2))
    assert longer.lengths.min() > modality.spec.max_length
    assert len(modality.split_batch(longer.values, longer.lengths)) == 2


def batch_of_codes(modality):
    return Batch(modality.collate(modality.encode_many(SOUNDS)), ids=torch.arange(len(SOUNDS)))


def test_clips_come_back_in_shape_with_codes_in_order_of_time():
    modality = video()
    family = modality.codec.model.family
    arrays = modality.encode_many(CLIPS)
    assert all(len(array) == 2 * 2 * 3 == modality.spec.max_length for array in arrays)
    batch = modality.collate(arrays)
    restored = [modality.decode(array) for array in modality.split_batch(batch.values, batch.lengths)]
    assert all(made.shape == clip.shape for made, clip in zip(restored, CLIPS, strict=True))
    latents = modality.codec.represent(modality.inner.collate([modality.inner.encode(c) for c in CLIPS]), "latents")
    for code, (t, y, x) in ((0, (0, 0, 0)), (2, (0, 0, 2)), (3, (0, 1, 0)), (6, (1, 0, 0)), (11, (1, 1, 2))):
        assert torch.equal(family.quantiser.assign(latents)[:, t, y, x], batch.values[:, code])


def test_only_items_that_end_have_a_blank():
    image = modalities.create("image")
    assert not image.ends
    with pytest.raises(Unsupported, match="image"):
        image.blank()
    assert (mel().inner.blank() == -1).all()
    assert mel().form is Form.TOKENS
