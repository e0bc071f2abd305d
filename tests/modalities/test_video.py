import base64
import io
import struct
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays
from PIL import Image as Pillow
from PIL import ImageSequence
from sklearn.datasets import load_sample_image

from miaobi.errors import CorruptFile, DataError, InvalidRecipe, SaveFailed, UnreadableItem
from miaobi.modalities import create
from miaobi.modalities.video import frame_sheet

OPTIONS = {"libx264": {"crf": "5"}, "mpeg4": {"qmin": "2", "qmax": "2", "b": "20M"}}
quick = settings(max_examples=25, deadline=None)
shapes = st.tuples(st.integers(2, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
clips = numpy_arrays(np.uint8, shapes)
FORMATS = {
    "mp4": ("libx264", "yuv420p"),
    "mov": ("mpeg4", "yuv420p"),
    "mkv": ("ffv1", "bgr0"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def video(items=(), **options):
    made = create({"name": "video", **options})
    if len(items):
        made.fit(items)
    return made


def counting(frames, height=32, width=48):
    """Frame i is of level 40 + 5 i in the middle, with a border that does not move."""
    clip = np.full((frames, height, width, 3), (200, 30, 90), dtype=np.uint8)
    clip[:, 8:-8, 8:-8] = (40 + 5 * np.arange(frames, dtype=np.uint8))[:, None, None, None]
    return clip


def order(clip):
    """Which frames of `counting` a clip shows."""
    middle = clip[:, 12:-12, 12:-12].astype(float).mean(axis=(1, 2, 3))
    return np.rint((middle - 40) / 5).astype(int).tolist()


def saved(path, clip, rate=8, times=None, options=None, **muxer):
    """A file of ``clip``; ``times`` in milliseconds make its rate variable."""
    codec, form = FORMATS[path.suffix[1:]]
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=rate, options=options or OPTIONS.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], form
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, pixels in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=form)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@given(clips)
@quick
def test_packing_and_batching_lose_nothing_at_the_clips_own_size(clip):
    made = video([clip], frames=len(clip), mode="RGB" if clip.shape[3] == 3 else "L")
    assert np.array_equal(made.unpack(made.pack(clip)), clip)
    array = made.encode(clip)
    assert np.array_equal(made.decode(array), clip)
    field = made.collate([array, array])
    assert field.values.shape == (2, made.spec.channels, *made.spec.space)
    assert field.values.abs().max() <= 1
    assert all(np.array_equal(array, back) for back in made.split_batch(field.values, None))
    assert made.units([clip]).tolist() == [clip.size]
    assert made.length(clip) == len(clip)


@given(clips, st.integers(2, 6), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["crop", "pad", "stretch"]))
@quick
def test_every_clip_fits_every_size(clip, frames, height, width, fit):
    made = video([clip], frames=frames, size=[height, width], fit=fit)
    assert made.encode(clip).shape == (clip.shape[3], frames, height, width)


def test_every_level_survives_scaling_and_samples_are_clamped():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    made = video()
    assert np.array_equal(made.split_batch(made.collate([levels]).values, None)[0], levels)
    (back,) = made.split_batch(torch.tensor([-7.0, 7.0, 0.0]).view(1, 1, 3, 1, 1).requires_grad_(), None)
    assert back.ravel().tolist() == [0, 255, 128]


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_container_is_read_with_all_its_frames_in_order(tmp_path, suffix):
    clip = counting(16)
    item = video(frames=16, rate=8).read(saved(tmp_path / f"a.{suffix}", clip))
    assert item.shape == clip.shape
    assert order(item) == pytest.approx(list(range(16)), abs=4 if suffix == "gif" else 1)
    # 4:2:0 and quantisation move levels, and far more at edges of colour than inside.
    inside = np.abs(item[:, 12:20, 14:34].astype(int) - clip[:, 12:20, 14:34])
    assert inside.mean() < {"gif": 18, "mkv": 0.5}.get(suffix, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"frames": 4, "rate": 8, "take": "start"}, [0, 1, 2, 3]),
        ({"frames": 4, "rate": 8}, [14, 15, 16, 17]),
        ({"frames": 4, "rate": 4, "take": "start"}, [0, 2, 4, 6]),
        ({"frames": 4, "rate": 4}, [12, 14, 16, 18]),
        ({"frames": 4, "rate": 16, "take": "start"}, [0, 0, 1, 1]),
        ({"frames": 32, "rate": 8}, list(range(32))),
        ({"frames": 40, "rate": 8}, list(range(32))),
    ],
)
def test_a_clip_is_the_wanted_stretch_at_the_wanted_rate(tmp_path, options, expected):
    path = saved(tmp_path / "a.mkv", counting(32))
    assert order(video(**options).read(path)) == expected


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("rate", [24, Fraction(30000, 1001), 60])
def test_seeking_to_the_middle_gives_the_frames_that_decoding_everything_gives(tmp_path, suffix, rate):
    clip = counting(40)
    path = saved(
        tmp_path / f"a.{suffix}", clip, rate=rate, options={"g": "7", "crf": "5"} if suffix == "mp4" else {"g": "7"}
    )
    whole = video(frames=40, rate=float(rate)).read(path)
    part = video(frames=8, rate=float(rate)).read(path)
    assert np.array_equal(part, whole[16:24])
    assert len(set(order(part))) == 8


def test_a_variable_rate_is_sampled_by_what_is_on_show(tmp_path):
    times = [0, 100, 200, 1000, 1900, 2000, 2100]
    path = saved(tmp_path / "a.mkv", counting(7), times=times)
    shown = order(video(frames=20, rate=10, take="start").read(path))
    assert shown == [0, 1, *[2] * 8, *[3] * 9, 4]


def test_pictures_give_one_frame_that_encoding_holds(tmp_path):
    pixels = counting(2)[1]
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    made = video([counting(4)], frames=4)
    for raw in (tmp_path / "a.png", str(tmp_path / "a.png"), Pillow.fromarray(pixels)):
        item = made.read(raw)
        assert np.array_equal(item, pixels[None])
        assert np.array_equal(made.decode(made.encode(item)), np.repeat(item, 4, axis=0))


def test_short_clips_are_held_and_long_ones_cut():
    clip = counting(6)
    made = video([clip], frames=8)
    assert order(made.decode(made.encode(clip))) == [0, 1, 2, 3, 4, 5, 5, 5]
    assert order(video([clip], frames=4).read(clip)) == [1, 2, 3, 4]
    assert order(video([clip], frames=4, take="start").read(clip)) == [0, 1, 2, 3]


def test_odd_sizes_are_written_and_read_back(tmp_path):
    clip = np.ascontiguousarray(counting(8, 23, 17))
    made = video([clip], frames=8, rate=8)
    main, shown = made.write(clip, tmp_path / "v1.5")
    assert (main.name, shown.name) == ("v1.5.mp4", "v1.5.gif")
    back = made.read(main)
    assert back.shape == (8, 24, 18, 3)
    assert np.abs(back[:, :23, :17].astype(int) - clip).mean() < 6
    assert made.encode(back).shape == (3, 8, 23, 17)


def test_a_written_clip_is_near_and_grey_stays_grey(tmp_path):
    photo = np.asarray(Pillow.fromarray(load_sample_image("flower.jpg")).resize((96, 64)))
    clip = np.stack([np.roll(photo, step, axis=1) for step in range(8)])
    made = video([clip], frames=8)
    for path, limit in zip(made.write(clip, tmp_path / "a"), (4, 6), strict=True):
        assert np.abs(made.read(path).astype(int) - clip).mean() < limit
    grey = clip[..., :1].copy()
    paths = made.write(grey, tmp_path / "b")
    for path, limit in zip(paths, (2, 0.01), strict=True):
        back = made.read(path)
        assert back.shape == grey.shape
        assert np.abs(back.astype(int) - grey).mean() < limit


def test_without_an_h264_encoder_another_one_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr("miaobi.modalities._video_writing.av.codecs_available", {"mpeg4"})
    made = video([counting(8)], frames=8)
    assert order(made.read(made.write(counting(8), tmp_path / "a")[0])) == pytest.approx(list(range(8)), abs=1)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_writing_is_deterministic_and_a_bad_folder_is_an_error(tmp_path):
    made = video([counting(8)], frames=8)
    first = [path.read_bytes() for path in made.write(counting(8), tmp_path / "a")]
    assert first == [path.read_bytes() for path in made.write(counting(8), tmp_path / "b")]
    with pytest.raises(SaveFailed, match="cannot be written"):
        made.write(counting(8), tmp_path / "absent" / "a")


def test_a_gif_has_the_clips_frames_and_time():
    made = video([counting(8)], frames=8, rate=12.5)
    html = made.html(counting(8))
    assert html.startswith('<img src="data:image/gif;base64,')
    picture = Pillow.open(io.BytesIO(base64.b64decode(html.split("base64,")[1].split('"')[0])))
    frames = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
    assert len(frames) == 8
    assert sum(frames) == 640


def test_a_file_that_asks_to_be_turned_is_turned(tmp_path):
    clip = np.zeros((4, 32, 48, 3), np.uint8)
    clip[:, :16, :16] = 255
    path = saved(tmp_path / "a.mp4", clip)
    data = bytearray(path.read_bytes())
    # The track header's matrix: 40 bytes after its version, in 16.16 and 2.30 fixed point.
    place = data.index(b"tkhd") + 4 + 40
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30]
    data[place : place + 36] = struct.pack(">9i", *quarter)
    item = video(frames=4).read(bytes(data))
    assert item.shape[:3] == (4, 48, 32)
    assert item[0, 4, 28, 0] > 200 > 60 > item[0, 4, 4, 0]


def test_a_stream_that_nothing_decodes_is_refused(tmp_path):
    data = saved(tmp_path / "a.mp4", counting(4)).read_bytes().replace(b"avc1", b"zzzz")
    with pytest.raises(UnreadableItem, match=r"nothing here decodes|cannot read"):
        video().read(data)


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_file_cut_short_is_unreadable(tmp_path, suffix):
    muxer = {"movflags": "+faststart"} if suffix in ("mp4", "mov") else {}
    whole = saved(tmp_path / f"a.{suffix}", counting(40), rate=10, **muxer).read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.8):
        with pytest.raises(UnreadableItem):
            video(frames=4).read(whole[: int(len(whole) * share)])


@cache
def whole_file(form):
    with tempfile.TemporaryDirectory() as folder:
        return saved(Path(folder) / f"a.{form}", counting(12)).read_bytes()


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["mp4", "mkv", "gif", "avi"]), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_read_or_refused_and_never_crash(junk, form, position):
    whole = bytearray(whole_file(form))
    start = int(position * len(whole))
    whole[start : start + len(junk)] = junk
    try:
        item = video(frames=4).read(bytes(whole))
    except UnreadableItem:
        return
    assert item.dtype == np.uint8
    assert item.ndim == 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello world\n" * 50,
        b"#EXTM3U\n#EXTINF:1,\n{real}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{real}'\n",
        b"<SMIL><body/></SMIL>",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.m3u8"])
def test_a_text_called_a_video_is_refused_and_nothing_that_it_names_is_opened(tmp_path, content, name):
    real = saved(tmp_path / "real.mp4", counting(16))
    (tmp_path / name).write_bytes(content.replace(b"{real}", str(real).encode()))
    with pytest.raises(UnreadableItem, match="cannot read"):
        video(frames=4).read(tmp_path / name)


@pytest.mark.parametrize("frames", [1, 2])
def test_too_short_files_are_refused(tmp_path, frames):
    path = saved(tmp_path / "a.mp4", counting(frames), rate=24)
    with pytest.raises(UnreadableItem, match="shorter than 2 frames"):
        video(rate=8).read(path)
    if frames == 2:
        assert len(video(rate=24).read(path)) == 2


def test_a_sound_file_and_a_folder_are_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableItem, match="no video stream"):
        video().read(tmp_path / "a.mp4")
    for path in (tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(UnreadableItem, match="no such file"):
            video().read(path)


def test_a_decompression_bomb_is_refused(monkeypatch):
    def gif(side):
        frames = [Pillow.new("P", (side, side), level) for level in (0, 1)]
        buffer = io.BytesIO()
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=200, palette=bytes(range(6)))
        return buffer.getvalue()

    assert video().read(gif(100)).shape[1:3] == (100, 100)
    with pytest.raises(UnreadableItem):
        video().read(gif(4000))


def test_frames_that_are_too_large_are_refused_from_the_header(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.mp4", counting(8))
    monkeypatch.setattr("miaobi.modalities._video_files.MOST_PIXELS", 32 * 48 - 1)
    with pytest.raises(UnreadableItem, match=r"too large to decode.*48 x 32"):
        video().read(path)


def test_time_and_decoding_are_limited(tmp_path, monkeypatch):
    long = saved(tmp_path / "a.mkv", counting(3), times=[0, 1000, 3_700_000])
    with pytest.raises(UnreadableItem, match=r"too large to decode.*3600"):
        video().read(long)
    path = saved(tmp_path / "b.mp4", counting(32))
    monkeypatch.setattr("miaobi.modalities._video_files.MOST_FRAMES", 20)
    with pytest.raises(UnreadableItem, match="more frames"):
        video().read(path)
    monkeypatch.undo()
    monkeypatch.setattr("miaobi.modalities._video_files.frames.__defaults__", (5 * 32 * 48,))
    monkeypatch.setattr("miaobi.modalities._video_files.frames_from.__defaults__", (5 * 32 * 48,))
    with pytest.raises(UnreadableItem, match="pixels to decode"):
        video().read(path)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        3,
        np.zeros((4, 4)),
        np.zeros((4, 8, 8, 3)),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 4, 4), np.uint8),
        {"path": "absent.mp4"},
        {},
    ],
)
def test_what_is_no_video_is_refused(raw):
    with pytest.raises(UnreadableItem):
        video().read(raw)


def test_what_a_table_holds_is_read(tmp_path):
    path = saved(tmp_path / "a.mkv", counting(8))
    wanted = video(frames=8).read(path)
    for raw in (str(path), path.read_bytes(), {"bytes": path.read_bytes()}, {"bytes": None, "path": str(path)}):
        assert np.array_equal(video(frames=8).read(raw), wanted)
    assert video().read(counting(4)[..., 0]).shape == (4, 32, 48, 1)


def test_large_frames_are_scaled_down_on_reading(tmp_path):
    path = saved(tmp_path / "a.mp4", counting(4, 300, 400))
    assert video().read(path).shape[1:3] == (128, 171)
    assert video(size=200).read(path).shape[1:3] == (200, 267)
    assert video().read(counting(4, 300, 400)).shape[1:3] == (128, 171)


@pytest.mark.parametrize(
    ("sizes", "expected"), [([(28, 20)], (28, 20)), ([(28, 28), (28, 30)], (32, 32)), ([(128, 256)], (32, 64))]
)
def test_the_size_and_the_mode_come_from_the_data(sizes, expected):
    made = video([np.zeros((2, *size, 1), np.uint8) for size in sizes])
    assert made.spec.space == (16, *expected)
    assert made.spec.channels == 1
    assert video([np.zeros((2, 4, 4, channels), np.uint8) for channels in (1, 3)]).spec.channels == 3
    assert video([counting(2)], mode="L").encode(counting(2)).shape == (1, 16, 32, 48)


def test_a_saved_modality_is_the_same(tmp_path):
    made = video([counting(4)], frames=4, size=[8, 12], fit="pad")
    made.save(tmp_path)
    again = video(frames=4, size=[8, 12], fit="pad")
    again.load(tmp_path)
    assert again.spec == made.spec
    assert np.array_equal(again.encode(counting(4)), made.encode(counting(4)))


@pytest.mark.parametrize("content", ["", "{}", '{"size": [0, 3], "channels": 1}', '{"size": [3, 3], "channels": 4}'])
def test_altered_state_is_a_corrupt_file(tmp_path, content):
    (tmp_path / "video.json").write_text(content)
    with pytest.raises(CorruptFile, match="video"):
        video().load(tmp_path)
    with pytest.raises(CorruptFile, match="cut short"):
        video().unpack(video().pack(counting(4))[:-1])


@given(numpy_arrays(np.uint8, (1, 4, 5, 6)), st.integers(0, 2**32), st.booleans(), st.booleans())
@quick
def test_augmentation_is_deterministic_and_off_by_default(array, seed, flip, reverse):
    options = {"flip": flip, "reverse": reverse}
    once, again = (video().augment(array, options, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(once, again)
    mirrored = (array, array[..., ::-1])[: 1 + flip]
    assert any(np.array_equal(once, one[:, ::way]) for one in mirrored for way in (1, -1)[: 1 + reverse])
    assert np.array_equal(video().augment(array, {}, np.random.default_rng(seed)), array)


def test_augmentation_does_each_half_of_the_time():
    array = np.arange(24, dtype=np.uint8).reshape(1, 4, 2, 3)
    rng = np.random.default_rng(0)
    made = [video().augment(array, {"flip": True, "reverse": True}, rng)[0, 0, 0, 0] for _ in range(400)]
    counts = {corner: made.count(corner) for corner in (0, 2, 18, 20)}
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 60


@pytest.mark.parametrize("options", [{"flips": True}, {"reverse": "perhaps"}, {"crop": 2}])
def test_wrong_augmentation_is_refused(options):
    with pytest.raises(InvalidRecipe, match=r"data\.augment"):
        video().check_augment(options)


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"frames": 1}, {"frames": 10**6}, {"rate": 0}, {"rate": 1e9}, {"mode": "RGBA"}, {"take": "end"}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidRecipe):
        video(**options)


def test_nothing_to_learn_from_and_not_fitted_are_errors():
    with pytest.raises(DataError, match="no videos"):
        video().fit([])
    with pytest.raises(DataError, match="video modality has learnt nothing"):
        _ = video().spec


def test_another_copy_is_a_near_duplicate_and_another_moment_or_order_is_not(tmp_path):
    rng = np.random.default_rng(1)
    scenes = [Pillow.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((64, 48)) for _ in range(2)]
    first, second = (np.stack([np.roll(np.asarray(scene), 3 * step, axis=1) for step in range(8)]) for scene in scenes)
    made = video([first], frames=8)
    copy = made.read(made.write(first, tmp_path / "a")[0])
    small = np.stack([np.asarray(Pillow.fromarray(frame).resize((44, 33))) for frame in first])
    for other in (copy, small):
        assert made.similarity(first, other) >= 0.9
        assert np.isin(made.signature(first), made.signature(other)).any()
    assert made.similarity(first, first) == 1
    for other in (second, first[::-1], np.roll(first, 3, axis=0), first[:4]):
        assert made.similarity(first, other) < 0.9
    assert made.signature(np.zeros((4, 8, 8, 1), np.uint8)) is None
    dark = np.concatenate([np.zeros_like(first[:4]), first[:4]])
    assert made.signature(dark).shape == made.signature(first).shape


def test_the_report_says_how_much_moves():
    still = np.zeros((4, 8, 8, 1), np.uint8)
    moving = still.copy()
    moving[1::2] = 20
    found = video().describe([still, moving])
    assert found["still"] == 0.5
    assert found["motion"]["max"] == 20
    assert found["sizes"] == {"8x8": 2}
    assert found["modes"] == {"L": 1.0}


def test_a_sheet_has_a_row_a_clip():
    sheet = frame_sheet([counting(4), counting(4)])
    assert sheet.shape == (66, 192, 3)
    assert np.array_equal(sheet[:32, 48:96], counting(4)[1])
    with pytest.raises(DataError, match="one size"):
        frame_sheet([counting(4), counting(3)])
