import io
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays
from PIL import Image as Pillow
from sklearn.datasets import load_digits, load_sample_image

from miaobi.errors import CorruptFile, DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities import create
from miaobi.modalities.image import grid, png

quick = settings(max_examples=40, deadline=None)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))
pixels = numpy_arrays(np.uint8, shapes)


def image(items, **options):
    made = create({"name": "image", **options})
    made.fit(items)
    return made


def encoded(array, form="PNG", **options):
    buffer = io.BytesIO()
    Pillow.fromarray(array.squeeze()).save(buffer, form, **options)
    return buffer.getvalue()


def photo(side=128):
    return np.asarray(Pillow.fromarray(load_sample_image("flower.jpg")).resize((side, side), Pillow.Resampling.LANCZOS))


@given(pixels)
@quick
def test_packing_and_reading_a_png_lose_nothing(array):
    made = create("image")
    item = made.read(array)
    assert np.array_equal(made.unpack(made.pack(item)), item)
    again = made.read(png(Pillow.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)))
    assert np.array_equal(again, item)
    assert made.pack(made.read(item)) == made.pack(item)


@given(numpy_arrays(np.uint8, st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))))
@quick
def test_encoding_and_batching_lose_nothing_at_the_images_own_size(batch):
    made = image(list(batch))
    arrays = [made.encode(item) for item in batch]
    assert all(np.array_equal(made.decode(array), item) for array, item in zip(arrays, batch, strict=True))
    field = made.collate(arrays)
    assert field.values.shape[1:] == (made.spec.channels, *made.spec.space)
    assert field.values.abs().max() <= 1
    for array, back in zip(arrays, made.split_batch(field.values, None), strict=True):
        assert np.array_equal(array, back)
        assert torch.equal(made.collate([array]).values[0], field.values[[np.array_equal(array, a) for a in arrays]][0])


def test_every_level_survives_scaling_and_samples_are_clamped():
    made = image([np.zeros((16, 16, 1), np.uint8)])
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(made.split_batch(made.collate([levels]).values, None)[0], levels)
    (back,) = made.split_batch(torch.tensor([-7.0, 7.0, 0.0]).view(1, 1, 1, 3).requires_grad_(), None)
    assert back.ravel().tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(28, 28)], (28, 28)), ([(28, 28), (28, 30)], (64, 64)), ([(1, 1)], (1, 1)), ([(256, 512)], (64, 128))],
)
def test_the_size_comes_from_the_data(sizes, expected):
    assert image([np.zeros((*size, 1), np.uint8) for size in sizes]).spec.space == expected


def test_the_mode_comes_from_the_data():
    made = create("image")
    grey = made.read(np.full((4, 4, 3), 9, np.uint8))
    colour = made.read(np.dstack([np.full((4, 4), level, np.uint8) for level in (1, 2, 3)]))
    opaque = made.read(np.dstack([colour, np.full((4, 4), 255, np.uint8)]))
    clear = made.read(np.dstack([colour, np.full((4, 4), 254, np.uint8)]))
    assert [item.shape[2] for item in (grey, colour, opaque, clear)] == [1, 3, 3, 4]
    for items, channels in (([grey], 1), ([grey, colour], 3), ([grey, opaque], 3), ([clear, grey], 4)):
        fitted = image(items)
        assert fitted.spec.channels == channels
        assert all(fitted.encode(item).shape == (channels, 4, 4) for item in (grey, colour, opaque, clear))
    assert image([clear], mode="L").spec.channels == 1
    assert image([grey], mode="RGBA").encode(grey)[3].min() == 255


def test_transparency_is_laid_on_white_and_invisible_colour_forgotten():
    half = np.array([[[0, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    assert image([half], mode="RGB").encode(half)[:, 0].T.tolist() == [[255, 255, 255], [255, 0, 0]]
    noisy = half.copy()
    noisy[0, 0, :3] = 77
    assert np.array_equal(create("image").read(noisy), half)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_resizing_follows_the_policy(fit):
    wide = np.zeros((20, 40, 1), np.uint8)
    wide[:, 10:30] = 200
    made = image([wide], size=10, fit=fit)
    (out,) = made.encode(wide)
    assert out.shape == (10, 10)
    if fit == "crop":
        assert out.min() > 180
    if fit == "stretch":
        assert out[:, 0].max() < 10
        assert out[5, 5] > 190
    if fit == "pad":
        assert out[:2].max() == 0
        assert out[5, 5] > 190


@given(pixels, st.integers(1, 12), st.integers(1, 12), st.sampled_from(["crop", "pad", "stretch"]))
@quick
def test_every_picture_fits_every_size(array, height, width, fit):
    made = image([array], size=[height, width], fit=fit)
    assert made.encode(array).shape == (array.shape[2], height, width)
    assert made.units([array]).tolist() == [array.shape[2] * height * width]


def test_exif_orientation_is_applied():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Pillow.Exif()
    exif[0x0112] = 6
    item = create("image").read(encoded(array, exif=exif))
    assert np.array_equal(item[..., 0], np.rot90(array, -1))


def test_16_bit_palette_and_other_modes_are_read():
    made = create("image")
    deep = np.array([[0, 257 * 7, 65535]], np.uint16)
    assert made.read(encoded(deep)).ravel().tolist() == [0, 7, 255]
    colour = photo(16)
    for mode in ("P", "CMYK", "RGBA", "YCbCr", "1", "L", "LA", "HSV"):
        item = made.read(Pillow.fromarray(colour).convert(mode))
        assert item.dtype == np.uint8
        assert item.shape == (16, 16, 1 if mode in ("1", "L", "LA") else 3)
    palette = Pillow.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert made.read(buffer.getvalue()).tolist() == [[[0, 0, 0, 0], [0, 255, 0, 255]]]
    for mode in ("F", "I"):
        with pytest.raises(UnreadableItem, match="no known range"):
            made.read(Pillow.new(mode, (2, 2), 10**6))


def test_what_a_table_holds_is_read(tmp_path):
    made = create("image")
    array = photo(8)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(array))
    for raw in (path, str(path), encoded(array), {"bytes": encoded(array)}, {"bytes": None, "path": str(path)}, array):
        assert np.array_equal(made.read(raw), array)
    assert made.read(array[..., 0]).shape == (8, 8, 1)


def test_large_pictures_are_scaled_down_on_reading():
    made = create("image")
    assert made.read(np.zeros((600, 1200, 3), np.uint8)).shape == (512, 1024, 1)
    assert made.read(encoded(np.zeros((1100, 1100, 3), np.uint8), "JPEG")).shape[:2] == (512, 512)
    assert create({"name": "image", "size": 700}).read(np.zeros((600, 1200, 3), np.uint8)).shape == (600, 1200, 1)


def _huge_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8001, 10_000, 20_000])
def test_a_decompression_bomb_is_refused_from_its_header(side):
    with pytest.raises(UnreadableItem, match=r"too large to decode.*64 million"):
        create("image").read(_huge_png(side, side))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_picture_cut_short_is_unreadable(form):
    whole = encoded(photo(64), form)
    for share in (0.0, 0.02, 0.5, 0.9):
        with pytest.raises(UnreadableItem):
            create("image").read(whole[: int(len(whole) * share)])


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP"]), st.integers(0, 300))
@quick
def test_damaged_files_are_read_or_refused_and_never_crash(junk, form, position):
    whole = bytearray(encoded(photo(16), form))
    whole[position : position + len(junk)] = junk
    try:
        item = create("image").read(bytes(whole))
    except UnreadableItem:
        return
    assert item.dtype == np.uint8


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        None,
        3,
        np.zeros((4, 4)),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        {"path": "absent.png"},
        {},
    ],
)
def test_what_is_no_picture_is_refused(raw):
    with pytest.raises(UnreadableItem):
        create("image").read(raw)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(UnreadableItem, match="cannot read"):
            create("image").read(path)


def test_a_saved_modality_is_the_same(tmp_path):
    made = image([photo(16)], size=[8, 12], mode="RGBA", fit="pad")
    made.save(tmp_path)
    again = create({"name": "image", "size": [8, 12], "mode": "RGBA", "fit": "pad"})
    again.load(tmp_path)
    assert again.spec == made.spec
    assert np.array_equal(again.encode(photo(16)), made.encode(photo(16)))


@pytest.mark.parametrize("content", ["", "{}", '{"size": [0, 3], "channels": 1}', '{"size": [3, 3], "channels": 2}'])
def test_altered_state_is_a_corrupt_file(tmp_path, content):
    (tmp_path / "image.json").write_text(content)
    with pytest.raises(CorruptFile, match="image"):
        create("image").load(tmp_path)
    with pytest.raises(CorruptFile, match="cut short"):
        create("image").unpack(create("image").pack(photo(8))[:-1])


def test_written_pictures_are_read_back(tmp_path):
    made = create("image")
    for array in (photo(8), photo(8)[..., :1], np.dstack([photo(8), photo(8)[..., 0] // 2])):
        (path,) = made.write(made.read(array), tmp_path / "v1.5")
        assert path.name == "v1.5.png"
        assert np.array_equal(made.read(path), made.read(array))
    assert made.html(photo(8)).startswith('<img src="data:image/png;base64,')


@given(numpy_arrays(np.uint8, (1, 6, 7)), st.integers(0, 2**32), st.booleans(), st.integers(0, 20))
@quick
def test_augmentation_is_deterministic_and_keeps_the_shape(array, seed, flip, crop):
    made = create("image")
    options = {"flip": flip, "crop": crop}
    once, again = (made.augment(array, options, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.shape == array.shape
    assert set(once.ravel()) <= set(array.ravel())
    assert (flip or crop) or np.array_equal(once, array)


def test_augmentation_flips_half_and_shifts_both_ways():
    made = create("image")
    array = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    rng = np.random.default_rng(0)
    flipped = [np.array_equal(made.augment(array, {"flip": True}, rng), array[:, :, ::-1]) for _ in range(400)]
    assert 140 < sum(flipped) < 260
    corners = {int(made.augment(array, {"crop": 1}, rng)[0, 4, 4]) for _ in range(200)}
    assert corners == {36 + 8 * down + right for down in (-1, 0, 1) for right in (-1, 0, 1)}


@pytest.mark.parametrize("options", [{"flips": True}, {"crop": -1}, {"crop": 10**6}, {"flip": "perhaps"}])
def test_wrong_augmentation_is_refused(options):
    with pytest.raises(InvalidRecipe, match=r"data\.augment"):
        create("image").check_augment(options)


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"size": True}, {"size": 8.5}, {"size": 10**6}, {"size": [8]}, {"mode": "CMYK"}, {"fit": "squash"}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidRecipe):
        create({"name": "image", **options})


def test_nothing_to_learn_from_and_not_fitted_are_errors():
    with pytest.raises(DataError, match="no images"):
        image([])
    with pytest.raises(DataError, match="fit"):
        _ = create("image").spec


def _pairs(made, items):
    buckets = {}
    for index, item in enumerate(items):
        for band in made.signature(item).tolist():
            buckets.setdefault(band, []).append(index)
    return {(i, j) for bucket in buckets.values() for i in bucket for j in bucket if i < j}


def test_different_digits_are_never_near_duplicates():
    made = create("image")
    items = [made.read(np.round(digit * (255 / 16)).astype(np.uint8)) for digit in load_digits().images]
    pairs = _pairs(made, items)
    assert len(pairs) < 1000
    assert max(made.similarity(items[i], items[j]) for i, j in pairs) < 0.9
    changed = [np.clip(item.astype(int) + 3, 0, 255).astype(np.uint8) for item in items]
    for item, other in zip(items, changed, strict=True):
        assert made.similarity(item, other) >= 0.9
        assert (made.signature(item) == made.signature(other)).any()


def test_another_copy_of_a_photo_is_a_near_duplicate_and_an_edited_one_is_not():
    made = create("image")
    original = photo(256)
    for raw in (encoded(original, "JPEG", quality=75), photo(128), photo(300)):
        copy = made.read(raw)
        assert made.similarity(original, copy) >= 0.9
        assert (made.signature(original) == made.signature(copy)).any()
    marked = original.copy()
    marked[20:70, 20:70] = 255
    assert made.similarity(original, marked) < 0.9
    assert made.similarity(original, original[:, ::-1]) < 0.9
    assert made.similarity(original, original[:200]) < 0.9
    assert made.similarity(original, original[..., ::-1]) < 0.9
    assert made.similarity(original, original) == 1


def test_flat_and_tiny_pictures_are_compared_exactly():
    made = create("image")
    black, white = np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), 255, np.uint8)
    assert made.signature(black) is None
    assert made.similarity(black, white) == 0
    assert made.similarity(black, black) == 1
    assert made.similarity(np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 1), np.uint8)) < 0.9


def test_signatures_of_fashion_sized_images_take_microseconds():
    made = create("image")
    items = list(np.random.default_rng(0).integers(0, 256, (2000, 28, 28, 1), dtype=np.uint8))
    started = time.perf_counter()
    for item in items:
        made.signature(made.read(item))
    assert (time.perf_counter() - started) / len(items) < 300e-6


def test_a_grid_shows_every_item():
    items = [np.full((3, 4, 1), level, np.uint8) for level in (10, 20, 30)]
    sheet = grid(items, columns=2, gap=1)
    assert (sheet.mode, sheet.size) == ("L", (9, 7))
    assert np.asarray(sheet)[[0, 0, 4, 4], [0, 5, 0, 5]].tolist() == [10, 20, 30, 255]
    clear = np.zeros((2, 2, 4), np.uint8)
    mixed = grid([items[0], clear], columns=9)
    assert mixed.mode == "RGB"
    assert mixed.getpixel((6, 0)) == (255, 255, 255)
    with pytest.raises(DataError, match="grid"):
        grid([], 3)


def test_description_tells_sizes_modes_and_brightness():
    found = create("image").describe([np.zeros((2, 3, 1), np.uint8), np.full((5, 4, 3), 200, np.uint8)])
    assert found["sizes"] == {"3x2": 1, "4x5": 1}
    assert found["modes"] == {"L": 0.5, "RGB": 0.5}
    assert found["length"]["max"] == 4
    assert found["brightness"]["max"] == 200
    assert create("image").describe([]) == {}
