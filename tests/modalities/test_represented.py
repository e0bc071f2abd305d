import numpy as np
import pytest
import torch

from miaobi import modalities
from miaobi.errors import CorruptFile, DataError, InvalidRecipe, Unsupported
from miaobi.evaluation import extractors
from miaobi.modalities import Represented
from miaobi.types import Form
from tests.support.codecs import Averages

RNG = np.random.default_rng(0)
# Blocks of 2x2 equal pixels: what the codec keeps is all there is.
ITEMS = [np.kron(RNG.integers(0, 256, (4, 4), dtype=np.uint8), np.ones((2, 2), np.uint8))[..., None] for _ in range(60)]


def pictures():
    modality = modalities.create("image")
    modality.fit(ITEMS)
    return modality


def represented(kind):
    modality = Represented(Averages(pictures()), "codec", kind)
    modality.fit(ITEMS)
    return modality


def test_latents_are_scaled_to_unit_variance_and_come_back():
    modality = represented("latents")
    batch = modality.collate([modality.encode(item) for item in ITEMS])
    assert batch.values.shape == (60, 1, 4, 4)
    assert abs(batch.values.mean()) < 1e-4
    assert abs(batch.values.std() - 1) < 0.01
    restored = [modality.decode(array) for array in modality.split_batch(batch.values, None)]
    assert all(np.array_equal(item, made) for item, made in zip(ITEMS, restored, strict=True))


def test_codes_are_tokens_of_a_fixed_length():
    modality = represented("codes")
    assert modality.spec.form is Form.TOKENS
    assert modality.spec.fixed
    batch = modality.collate([modality.encode(item) for item in ITEMS[:5]])
    assert batch.values.dtype == torch.int64
    assert batch.values.shape == (5, 16)
    restored = modality.split_batch(batch.values, batch.lengths)
    errors = [np.abs(modality.decode(a).astype(int) - item).max() for a, item in zip(restored, ITEMS, strict=False)]
    assert max(errors) <= 32


def test_embeddings_have_no_way_back_and_are_shown_as_numbers(tmp_path):
    modality = represented("embeddings")
    batch = modality.collate([modality.encode(item) for item in ITEMS])
    assert modality.shown is modality
    rows = modality.split_batch(batch.values, None)
    np.testing.assert_allclose(
        rows[3],
        modality.codec.represent(modality.inner.collate([modality.inner.encode(ITEMS[3])]), "embeddings")[0],
        rtol=1e-4,
    )
    assert modality.write(rows[0], tmp_path / "a")[0].suffix == ".json"


def test_many_are_encoded_as_one_by_one():
    modality = represented("latents")
    for left, right in zip(modality.encode_many(ITEMS), map(modality.encode, ITEMS), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6)


def test_statistics_are_saved_and_damage_is_said(tmp_path):
    modality = represented("latents")
    modality.save(tmp_path)
    other = Represented(Averages(pictures()), "codec", "latents")
    with pytest.raises(DataError, match="learnt nothing"):
        other.encode(ITEMS[0])
    other.load(tmp_path)
    assert np.array_equal(other.encode(ITEMS[0]), modality.encode(ITEMS[0]))
    (tmp_path / "representation.json").write_text('{"mean": [0], "scale": [0]}')
    with pytest.raises(CorruptFile, match="representation"):
        other.load(tmp_path)


def test_an_unknown_kind_names_those_that_there_are():
    with pytest.raises(InvalidRecipe, match="latents"):
        Represented(Averages(pictures()), "codec", "latent")


def test_a_representation_of_a_representation_shows_the_data_itself():
    class Again(Averages):
        def __init__(self, modality):
            super().__init__(modality)
            self.digest = "again"

    outer = Represented(Again(represented("latents")), "outer", "latents")
    outer.fit(ITEMS)
    assert outer.shown.name == "image"
    assert outer.shown is outer.inner.shown
    batch = outer.collate([outer.encode(item) for item in ITEMS[:3]])
    assert batch.values.shape == (3, 1, 2, 2)
    assert outer.decode(outer.split_batch(batch.values, None)[0]).shape == (8, 8, 1)


def test_embeddings_are_no_pictures():
    with pytest.raises(Unsupported, match="embedding"):
        extractors.choose("pixels", represented("embeddings"))


def test_a_state_of_another_part_or_of_other_channels_is_refused(tmp_path):
    modality = represented("latents")
    modality.save(tmp_path)
    path = tmp_path / "representation.json"
    whole = path.read_text()
    path.write_text(whole.replace('"averages"', '"others"'))
    with pytest.raises(CorruptFile, match="another part"):
        represented("latents").load(tmp_path)
    path.write_text(whole.replace('"mean": [', '"mean": [0.5, '))
    with pytest.raises(CorruptFile, match="representation"):
        represented("latents").load(tmp_path)
