import base64
import io
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Score, Tempo, TimeSignature, Track

from miaobi.errors import CorruptFile, DataError, InvalidRecipe, UnreadableItem, Unsupported
from miaobi.modalities import _score, _synth, create
from miaobi.modalities._voices import share_in_range
from miaobi.types import Form

notes = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 80), st.integers(0, 127), st.integers(1, 127)),
    min_size=1,
    max_size=30,
)
tracks = st.lists(st.tuples(st.sampled_from([0, 0, 52, 52, 73, 127]), st.booleans(), notes), min_size=1, max_size=5)
metres = st.lists(
    st.tuples(st.integers(0, 150), st.sampled_from([(4, 4), (3, 4), (6, 8), (12, 8), (3, 2), (5, 8), (11, 16)])),
    max_size=4,
)
modalities = st.fixed_dictionaries(
    {
        "tokenizer": st.sampled_from(["remi", "tsd"]),
        "resolution": st.sampled_from([4, 6, 12]),
        "longest": st.sampled_from([1, 16]),
        "velocities": st.sampled_from([1, 4]),
    }
)


def score(*voices, program=52, tpq=4, tempo=85, metre=(4, 4)):
    made = Score(tpq)
    made.tempos.append(Tempo(0, tempo))
    made.time_signatures.append(TimeSignature(0, *metre))
    for voice in voices:
        track = Track("", program, False)
        for onset, duration, pitch in voice:
            track.notes.append(Note(onset, duration, pitch, 100))
        made.tracks.append(track)
    return made


def melody(*pitches, start=0):
    return [(start + 4 * place, 4, pitch) for place, pitch in enumerate(pitches)]


def piece(shift=0):
    rng = np.random.default_rng(7)
    return score(*(melody(*(rng.integers(-5, 6, 40) + centre + shift).tolist()) for centre in (72, 65, 57, 48)))


def music(*items, **options):
    made = create({"name": "music", **options})
    made.fit([made.read(item) for item in items or (piece(),)])
    return made


def table(item):
    return [(track.is_drum, track.program, _score.note_table(track).tolist()) for track in item.tracks]


@settings(max_examples=60, deadline=None)
@given(tracks, metres, st.integers(20, 300), modalities)
def test_tokens_hold_every_note_of_every_voice(tracks, metres, tempo, options):
    raw = Score(8)
    raw.tempos.append(Tempo(0, tempo))
    for tick, metre in metres:
        raw.time_signatures.append(TimeSignature(tick, *metre))
    for program, drum, rows in tracks:
        track = Track("", program, drum)
        for row in rows:
            track.notes.append(Note(*row))
        raw.tracks.append(track)
    made = create({"name": "music", "max_length": 65536, **options})
    item = made.read(raw)
    made.fit([item])
    tokens = made.encode(item)
    assert tokens.min() >= 0
    assert tokens.max() < made.spec.vocabulary
    assert made.pack(made.decode(tokens)) == made.pack(item)
    assert made.pack(made.unpack(made.pack(item))) == made.pack(item)
    assert made.pack(made.read(item)) == made.pack(item)
    assert made.units([item]).tolist() == [item.note_num()]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 1200), max_size=200), st.sampled_from(["remi", "tsd"]))
def test_any_tokens_decode(tokens, tokenizer):
    made = music(piece(), score(melody(60), program=0, metre=(6, 8)), tokenizer=tokenizer)
    item = made.decode(np.array(tokens, dtype=np.int64))
    if item.note_num():
        assert made.pack(made.decode(made.encode(item))) == made.pack(item)
    assert made.unpack(made.pack(item)).note_num() == item.note_num()


tunes = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12), st.integers(30, 90)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(tunes, min_size=1, max_size=4), st.integers(20, 300), st.sampled_from([(4, 4), (3, 4), (6, 8)]))
def test_a_grid_holds_every_note_of_voices_that_sing_one_at_a_time(voices, tempo, metre):
    lines = []
    for tune in voices:
        at, line = 0, []
        for gap, duration, pitch in tune:
            line.append((at + gap, duration, pitch))
            at += gap + duration
        lines.append(line)
    raw = score(*lines, tempo=tempo, metre=metre)
    made = create({"name": "music", "tokenizer": "grid", "max_length": 65536})
    item = made.read(raw)
    made.fit([item])
    tokens = made.encode(item)
    assert len(tokens) == made.spec.streams * (2 + item.end())
    assert 0 <= tokens.min() <= tokens.max() < made.spec.vocabulary
    assert made.pack(made.decode(tokens)) == made.pack(item)
    assert made.units([item]).tolist() == [item.note_num()]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 220), max_size=120))
def test_any_columns_decode(tokens):
    made = music(piece(), tokenizer="grid")
    item = made.decode(np.array(tokens, dtype=np.int64))
    assert made.units([item]).tolist() == [item.note_num()]


def test_a_grid_by_hand():
    made = music(score([(0, 2, 72), (4, 1, 74)], [(1, 4, 60)], metre=(3, 4)), tokenizer="grid")
    tokens = made.encode(made.read(score([(0, 2, 72), (4, 1, 74)], [(1, 4, 60)], metre=(3, 4)))).reshape(-1, 2)
    assert (tokens[0, 0], tokens[1, 0]) == (tokens[0, 1], tokens[1, 1])
    # 0 holds, 1 rests, 2 + pitch begins a note.
    assert tokens[2:].T.tolist() == [[74, 0, 1, 0, 76], [1, 62, 0, 0, 0]]


def test_a_grid_keeps_the_highest_of_an_onset_until_the_next():
    made = music(tokenizer="grid")
    item = made.read(score([(0, 8, 60), (0, 8, 64), (4, 8, 62)]))
    assert table(made.decode(made.encode(item))) == [(False, 52, [[0, 4, 64, 100], [4, 8, 62, 100]])]


def test_a_long_piece_on_a_grid_is_cut_between_columns():
    made = music(max_length=50, tokenizer="grid")
    assert made.spec.max_length == len(made.encode(made.read(piece()))) == 48


def test_transposition_on_a_grid_is_that_of_the_notes():
    made = music(score(melody(60, 72), melody(48, 60)), tokenizer="grid")
    tokens = made.encode(made.read(score(melody(64, 70), melody(50, 52))))
    for seed in range(20):
        moved = made.augment(tokens, {"transpose": 5}, np.random.default_rng(seed))
        upper, lower = (np.array(rows)[:, 2] for _, _, rows in table(made.decode(moved)))
        assert (upper - upper[0]).tolist() == [0, 6]
        assert (lower - upper[0]).tolist() == [-14, -12]
        assert -2 <= upper[0] - 64 <= 2


def test_a_melody_alone_is_the_soprano_of_a_grid():
    made = music(tokenizer="grid")
    for program in (0, 52):
        tokens = made.encode(made.read(score(melody(72, 74), program=program))).reshape(-1, 4)
        assert tokens[2, 0] == 74
        assert (tokens[2, 1:] == 1).all()
        assert (tokens[3:, 1:] == 0).all()


def test_a_grid_without_room_for_music_is_refused():
    with pytest.raises(InvalidRecipe, match="max_length"):
        music(piece(), tokenizer="grid", max_length=16, programs=[52] * 8)


def test_only_the_voices_to_keep_are_read():
    made = create({"name": "music", "keep": [0]})
    assert table(made.read(score(melody(60), melody(72, 71)))) == table(made.read(score(melody(72, 71))))
    with pytest.raises(UnreadableItem, match="no such voice"):
        create({"name": "music", "keep": [1]}).read(score(melody(60)))


def test_long_streams_of_random_tokens_decode():
    made = music()
    for seed in range(20):
        tokens = np.random.default_rng(seed).integers(0, made.spec.vocabulary, 512)
        assert made.decode(tokens).note_num() > 0


@pytest.mark.parametrize("program", [0, 52])
def test_voices_of_one_program_in_unison_stay_two(tmp_path, program):
    made = music(score(melody(60, 62, 64), melody(60, 62, 67), program=program))
    item = made.read(score(melody(60, 62, 64), melody(60, 62, 67), program=program))
    assert item.note_num() == 6
    assert made.decode(made.encode(item)).note_num() == 6
    path, wav = made.write(item, tmp_path / "sample.001")
    assert (path.name, wav.name) == ("sample.001.mid", "sample.001.wav")
    assert made.pack(made.read(path)) == made.pack(item)
    assert made.pack(made.read(path.read_bytes())) == made.pack(item)
    assert made.pack(made.read(str(path))) == made.pack(item)


def test_reading_rounds_cuts_and_orders():
    raw = score([(0, 400, 60), (241, 239, 60), (0, 10, 60)], [(7, 100_000, 72)], tpq=480, metre=(3, 2), tempo=83)
    item = create("music").read(raw)
    assert table(item) == [(False, 52, [[0, 64, 72, 100]]), (False, 52, [[0, 2, 60, 100], [2, 2, 60, 100]])]
    assert [(m.numerator, m.denominator) for m in item.time_signatures] == [(6, 4)]
    assert _score.tempo_of(item) == 85
    assert _score.seconds(item) == pytest.approx(16 * 60 / 85)


def test_equal_music_has_equal_bytes_and_other_music_has_not():
    made = create("music")
    high, low = melody(72, 74, 76), melody(60, 62, 67)
    assert made.pack(made.read(score(high, low))) == made.pack(made.read(score(low, high)))
    fine = made.read(
        score([(120 * t, 120 * d, p) for t, d, p in high], [(120 * t, 120 * d, p) for t, d, p in low], tpq=480)
    )
    assert made.pack(fine) == made.pack(made.read(score(high, low)))
    for other in (
        score(high),
        score(high, melody(60, 62, 66)),
        score(high, low, program=3),
        score(high, low, metre=(3, 4)),
    ):
        assert made.pack(made.read(other)) != made.pack(made.read(score(high, low)))


def test_a_damaged_packed_score_is_refused():
    made = create("music")
    data = made.pack(made.read(piece()))
    for wrong in (b"", data[:-4], data[:-3], data + bytes(4), bytes(len(data)), b"x" * 64):
        with pytest.raises(CorruptFile):
            made.unpack(wrong)


def test_bad_midi_is_named_and_never_crashes():
    made = create("music")
    data = bytes(piece().dumps_midi())
    for wrong, reason in (
        (b"", "not a MIDI file"),
        (b"RIFF" + data, "not a MIDI file"),
        (data[:60], "truncated"),
        (data[:-3], "truncated"),
        (data[:14], "0 of 4 tracks"),
        (data[:14] + data[14:].replace(b"\xff\x2f\x00", b"\xff\x01\x00"), "no event can be read"),
        (bytes(score([]).dumps_midi()), "no notes"),
        (None, "not music"),
        ("absent.mid", "cannot be read"),
    ):
        with pytest.raises(UnreadableItem, match=reason):
            made.read(wrong)


ALTER = """
import sys
import numpy as np
from miaobi.errors import UnreadableItem
from miaobi.modalities import create
made, data, rng = create("music"), bytes.fromhex(sys.argv[1]), np.random.default_rng(0)
for _ in range(3000):
    altered = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 7)):
        altered[at] = rng.integers(256)
    try:
        made.read(bytes(altered))
    except UnreadableItem:
        pass
"""


def test_altered_midi_never_crashes_the_process():
    data = bytes(score(melody(60, 62), melody(55, 57)).dumps_midi())
    done = subprocess.run([sys.executable, "-c", ALTER, data.hex()], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (lambda: score([(0, 4, 60), (4 * 30_000, 4, 60)]), "too many quarters"),
        (lambda: score(*([[(0, 4, 60)]] * 129)), "too many voices"),
    ],
)
def test_what_is_too_large_is_refused(raw, reason):
    with pytest.raises(UnreadableItem, match=reason):
        create("music").read(raw())


def test_a_long_piece_is_cut_between_notes_and_counted_so():
    made = music(max_length=50)
    item = made.read(piece())
    tokens = made.encode(item)
    assert 45 < len(tokens) <= 50
    kept = made.decode(tokens)
    assert made.units([item]).tolist() == [kept.note_num()] == made.units([kept]).tolist()
    assert made.length(item) == 160
    longer = [row for _, _, rows in table(item) for row in rows]
    assert all(row in longer for _, _, rows in table(kept) for row in rows)


def test_transposition_keeps_intervals_and_each_voice_in_its_training_range():
    made = music(score(melody(60, 72), melody(48, 60)))
    made.check_augment({"transpose": 5})
    item = made.read(score(melody(64, 70), melody(50, 52)))
    tokens = made.encode(item)
    shifts = set()
    for seed in range(60):
        moved = made.augment(tokens, {"transpose": 5}, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved, made.augment(tokens, {"transpose": 5}, np.random.default_rng(seed)))
        upper, lower = (np.array(rows)[:, 2] for _, _, rows in table(made.decode(moved)))
        shifts.add(int(upper[0]) - 64)
        assert (upper - upper[0]).tolist() == [0, 6]
        assert (lower - upper[0]).tolist() == [-14, -12]
    assert shifts == {-2, -1, 0, 1, 2}
    np.testing.assert_array_equal(made.augment(tokens, {}, np.random.default_rng(0)), tokens)
    for wrong in ({"transpose": 25}, {"transpose": -1}, {"transposition": 3}):
        with pytest.raises(InvalidRecipe, match="transpose"):
            made.check_augment(wrong)


def test_drums_are_not_transposed():
    raw = score(melody(60, 64))
    drums = Track("", 0, True)
    drums.notes.append(Note(0, 1, 36, 100))
    raw.tracks.append(drums)
    made = music(raw, score(melody(50, 70)))
    moved = {
        tuple(rows[0][2] for _, _, rows in table(made.decode(made.augment(tokens, {"transpose": 3}, rng))))
        for tokens in [made.encode(made.read(raw))]
        for rng in map(np.random.default_rng, range(30))
    }
    assert {kick for _, kick in moved} == {36}
    assert len({tune for tune, _ in moved}) == 7


def test_unknown_voices_become_the_nearest_known():
    made = music(programs=[0, 40, 52, 52, 128])
    assert made.spec.form is Form.TOKENS
    for program, nearest in ((41, 40), (3, 0), (127, 52)):
        back = made.decode(made.encode(made.read(score(melody(60), program=program))))
        assert [track.program for track in back.tracks] == [nearest]
    three = made.read(score(melody(72), melody(66), melody(60)))
    assert [len(rows) for _, _, rows in table(made.decode(made.encode(three)))] == [1, 2]


def test_a_saved_modality_reads_the_same_tokens(tmp_path):
    made = music()
    made.save(tmp_path)
    again = create("music")
    with pytest.raises(DataError, match="fit"):
        _ = again.spec
    again.load(tmp_path)
    item = made.read(piece())
    assert again.spec == made.spec
    np.testing.assert_array_equal(again.encode(item), made.encode(item))
    for wrong in ("{}", '{"voices": []}', '{"voices": [{"program": 500, "rank": 0}]}', "["):
        (tmp_path / "music.json").write_text(wrong)
        with pytest.raises(CorruptFile):
            create("music").load(tmp_path)
    with pytest.raises(DataError, match="no music"):
        create("music").fit([])


def test_batches_are_padded_and_split_again():
    made = music()
    arrays = [made.encode(made.read(item)) for item in (piece(), score(melody(60)))]
    field = made.collate(arrays)
    back = made.split_batch(field.values, field.lengths)
    assert [row.tolist() for row in back] == [array.tolist() for array in arrays]


def test_a_transposed_piece_is_a_near_duplicate_and_another_harmony_is_not():
    made = create("music")
    item, other = made.read(piece()), made.read(piece(5))
    reharmonised = made.read(score(melody(*_pitches(item, 0)), *(melody(*_pitches(item, v)[::-1]) for v in (1, 2, 3))))
    assert made.similarity(item, other) == 1
    assert set(made.signature(item)) & set(made.signature(other))
    assert 0.1 < made.similarity(item, reharmonised) < 0.5


def _pitches(item, voice):
    return _score.note_table(item.tracks[voice])[:, 2].tolist()


def test_description():
    made = create("music")
    described = made.describe([made.read(score(melody(60, 62), tempo=60)), made.read(score(melody(50), metre=(3, 4)))])
    assert described["notes"]["max"] == 2
    assert described["seconds"]["max"] == 2
    assert described["voices"]["max"] == 1
    assert described["pitch"] == {"lowest": 50, "highest": 62}
    assert described["time_signatures"] == {"4/4": 1, "3/4": 1}
    assert made.describe([]) == {}


def test_sound_is_as_long_as_the_piece_and_below_clipping(tmp_path):
    made = music()
    item = made.read(score(melody(*[60] * 8, start=12), tempo=120))
    _, wav = made.write(item, tmp_path / "a")
    sound, rate = soundfile.read(wav, always_2d=True)
    assert soundfile.info(wav).subtype == "PCM_16"
    assert (rate, sound.shape[1]) == (44_100, 2)
    assert 4 <= len(sound) / rate < 8
    assert np.abs(sound).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert 20 * math.log10(float(np.sqrt((sound**2).mean()))) > -30
    assert np.abs(sound[: rate // 4]).max() > 0.01
    assert np.abs(sound[-rate // 4 :]).max() < 0.01
    assert len(_synth.render(item, longest=1.0)) / rate <= 3
    path, silent = made.write(made.decode(np.zeros(0, dtype=np.int64)), tmp_path / "none")
    assert not Score(path).note_num()
    assert np.abs(soundfile.read(silent)[0]).max() == 0


def test_a_missing_sound_font_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_synth.importlib.util, "find_spec", lambda name: None)
    _synth._synthesizer.cache_clear()
    with pytest.raises(Unsupported, match="pip install pretty_midi"):
        _synth.render(create("music").read(piece()))


def test_html_plays_and_shows_itself():
    made = create("music")
    page = made.html(made.read(piece()))
    kind, data = re.search(r'src="data:(audio/\w+);base64,([^"]+)"', page).groups()
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert kind in {"audio/ogg", "audio/wav"}
    assert (rate, sound.ndim) == (22_050, 1)
    assert len(page) < 400_000
    assert page.count("<rect") == 160
    assert "http" not in page
    assert "no notes" in made.html(music().decode(np.zeros(0, dtype=np.int64)))


def test_vocal_ranges_by_hand():
    voices = (melody(60, 79, 80, 59), melody(55, 74), melody(47), melody(40, 60))
    assert share_in_range(score(*voices)) == {"soprano": 0.5, "alto": 1, "tenor": 0, "bass": 1, "all": 6 / 9}
    assert share_in_range(score(*voices, melody(60)))["all"] == 6 / 10
    assert share_in_range(score()) == {}


def test_wrong_options_are_refused():
    for wrong in (
        {"resolution": 5},
        {"tokenizer": "midilike"},
        {"max_length": 0},
        {"programs": [129]},
        {"velocity": 3},
        {"tokenizer": "grid", "velocities": 4},
        {"keep": [-1]},
    ):
        with pytest.raises(InvalidRecipe):
            create({"name": "music", **wrong})
