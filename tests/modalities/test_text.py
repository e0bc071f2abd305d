import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers

from miaobi.errors import CorruptFile, DataError, FetchFailed, InvalidRecipe, UnreadableItem
from miaobi.modalities import create
from miaobi.modalities._subwords import stretches

POEM = "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"
ENGLISH = "the quick brown fox jumps over the lazy dog\nand the dog sleeps on\n" * 20
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029") | st.just("\n"), min_size=1
)
quick = settings(max_examples=40, deadline=None)


def modality(items=(POEM, ENGLISH), stream=False, **options):
    made = create({"name": "text", **options})
    made.fit(items, stream=stream)
    return made


KINDS = {"character": {}, "bpe": {"tokenizer": "bpe", "vocabulary": 300}}
FITTED = {name: modality([POEM, ENGLISH], max_length=100_000, **options) for name, options in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
@given(texts)
@quick
def test_packing_and_reading_lose_nothing(kind, text):
    made = FITTED[kind]
    item = made.read(text)
    assert made.unpack(made.pack(item)) == item
    assert made.read(made.pack(item)) == item


@given(texts)
@quick
def test_bpe_round_trips_every_text(text):
    made = FITTED["bpe"]
    item = made.read(text)
    assert made.decode(made.encode(item)) == item


@given(st.text(st.sampled_from(sorted(set(POEM + ENGLISH))), min_size=1))
@quick
def test_characters_round_trip_every_text_of_their_vocabulary(text):
    made = FITTED["character"]
    array = made.encode(text)
    assert array.dtype == np.int64
    assert len(array) == len(text)
    assert made.decode(array) == text


@given(texts)
@quick
def test_an_unknown_character_becomes_one_unknown_token_and_nothing_else_changes(text):
    made = modality([POEM], max_length=1000)
    known = set(POEM)
    text = made.read(text)
    array = made.encode(text)
    assert made.decode(array) == "".join(letter if letter in known else "\ufffd" for letter in text)
    assert all((token == 0) == (letter not in known) for token, letter in zip(array, text, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.text(st.sampled_from(POEM + ENGLISH), max_size=30), min_size=1, max_size=5))
@quick
def test_a_batch_equals_its_items_one_by_one(kind, items):
    made = FITTED[kind]
    arrays = [made.encode(item) for item in items]
    field = made.collate(arrays)
    assert field.values[~field.mask()].eq(0).all()
    for array, back in zip(arrays, made.split_batch(field.values, field.lengths), strict=True):
        assert np.array_equal(array, back)
    for array in arrays:
        alone = made.collate([array])
        assert np.array_equal(made.split_batch(alone.values, alone.lengths)[0], array)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.integers(-3, 320), max_size=40))
@quick
def test_streamed_equals_whole_for_any_tokens(kind, tokens):
    made = FITTED[kind]
    streamer = made.streamer()
    assert "".join(map(streamer.push, tokens)) + streamer.finish() == made.decode(np.array(tokens, dtype=np.int64))


def test_streaming_holds_back_half_a_character():
    made = FITTED["bpe"]
    tokens = made.encode("龘").tolist()
    assert len(tokens) == 3
    streamer = made.streamer()
    assert [streamer.push(token) for token in tokens] == ["", "", "龘"]


def test_invalid_ids_and_broken_utf8_are_replaced():
    bpe = FITTED["bpe"]
    half = bpe.encode("龘")[:2]
    assert bpe.decode(np.concatenate([half, [10**6, -1]])) == "\ufffd\ufffd\ufffd"
    assert FITTED["character"].decode(np.array([10**6, -5, 0])) == "\ufffd\ufffd\ufffd"


def test_the_vocabulary_cap_keeps_the_most_frequent_characters():
    made = modality(["aaaa bbb cc d"], vocabulary=4)
    assert made.spec.vocabulary == 4
    assert made.decode(made.encode("abcd ")) == "ab\ufffd\ufffd "
    with pytest.raises(InvalidRecipe, match="256 bytes"):
        create({"name": "text", "tokenizer": "bpe", "vocabulary": 100})
    assert modality([ENGLISH] * 3, tokenizer="bpe", vocabulary=280).spec.vocabulary == 280


def test_training_bpe_twice_gives_the_same_tokens(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        modality([ENGLISH, POEM] * 3, tokenizer="bpe", vocabulary=400).save(tmp_path / name)
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


@pytest.mark.parametrize("options", [*KINDS.values(), {"max_length": 7}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_saved_modality_is_the_same(tmp_path, options, stream):
    made = modality(stream=stream, **options)
    made.save(tmp_path)
    again = create({"name": "text", **options})
    again.load(tmp_path)
    assert again.spec == made.spec
    assert np.array_equal(again.encode(ENGLISH), made.encode(ENGLISH))
    assert again.describe([POEM]) == made.describe([POEM])


@pytest.mark.parametrize("name", ["text.json", "characters.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"characters": "aa"}', "[" * 100_000])
def test_altered_state_is_a_corrupt_file(tmp_path, name, content):
    modality().save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(CorruptFile, match=name.replace(".", r"\.")):
        create("text").load(tmp_path)


def test_an_altered_bpe_is_a_corrupt_file(tmp_path):
    FITTED["bpe"].save(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(CorruptFile, match="tokenizer"):
        create({"name": "text", "tokenizer": "bpe"}).load(tmp_path)


def test_lengths_come_from_the_data_and_longer_texts_are_cut():
    made = modality(["ab" * 5] * 99 + ["ab" * 500] * 2)
    assert made.spec.max_length == 1000
    assert modality(["a" * 5000]).spec.max_length == 1024
    short = modality(["ab" * 5] * 300 + ["ab" * 50])
    assert short.spec.max_length == 10
    assert len(short.encode("ab" * 50)) == 10
    assert short.describe(["ab"])["cut"] == pytest.approx(1 / 301)


@pytest.mark.parametrize("kind", KINDS)
def test_units_count_the_bytes_of_what_is_predicted(kind):
    made = modality([POEM], max_length=4, **KINDS[kind])
    expected = len(made.decode(made.encode(POEM)).encode()) if kind == "character" else None
    assert expected is None or made.units([POEM, "a"]).tolist() == [expected, 1]
    window = modality([ENGLISH], stream=True, **KINDS[kind])
    first = len(window.decode(window.encode(ENGLISH)[:1]))
    assert window.units([ENGLISH]).tolist() == [len(ENGLISH) - first]
    assert FITTED[kind].units([POEM, ENGLISH]).tolist() == [len(POEM.encode()), len(ENGLISH)]


def test_a_stream_is_encoded_whole_and_begins_at_a_line_break():
    made = modality([ENGLISH], stream=True, context=16)
    assert made.spec.stream
    assert made.spec.max_length == 17
    assert made.spec.begin == made.encode("\n")[0]
    assert len(made.encode(ENGLISH)) == len(ENGLISH)
    assert modality(["abc"], stream=True).spec.begin is None
    assert FITTED["character"].spec.begin is None


@pytest.mark.parametrize("kind", KINDS)
def test_one_very_long_line_is_read_and_encoded_in_linear_time(kind):
    line = "ab月0" * 150_000
    made = modality([line[:10_000]], stream=True, **KINDS[kind])
    seconds = []
    for part in (line[: len(line) // 8], line):
        started = time.perf_counter()
        assert made.decode(made.encode(made.read(part))) == part
        seconds.append(time.perf_counter() - started)
    assert seconds[1] < 8 * 3 * seconds[0] + 0.5
    assert sum(map(len, made.pieces(line))) == len(made.encode(line))


@given(texts, st.integers(1, 9))
@quick
def test_stretches_join_to_the_text(text, size):
    parts = list(stretches(text, size))
    assert "".join(part for _, part in parts) == text
    assert all(0 < len(part) <= size and text.startswith(part, start) for start, part in parts)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "empty"),
        (b"", "empty"),
        (b"abc\xff", "byte 3"),
        (b"\xef\xbb\xbfab\xe6\x9c", "byte 5"),
        ("é".encode("utf-16"), "UTF-16"),
        ("ab\0c", "NUL character at offset 2"),
        ("a\ud800", "offset 1"),
        ("\x07\x1b", "empty"),
        (3, "not a text"),
        (None, "not a text"),
    ],
)
def test_what_is_no_text_is_refused_with_the_reason(tmp_path, raw, message):
    with pytest.raises(UnreadableItem, match=message):
        create("text").read(raw)
    if isinstance(raw, bytes):
        (tmp_path / "a.txt").write_bytes(raw)
        with pytest.raises(UnreadableItem, match=message):
            create("text").read(tmp_path / "a.txt")


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    for path in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(UnreadableItem, match="cannot read"):
            create("text").read(path)


def test_reading_normalises(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\x0c d ")
    assert create("text").read(tmp_path / "a.txt") == "a\nb\nc d "
    assert create("text").read("e\u0301\u00a0ﬁ") == "é\u00a0ﬁ"
    loose = create({"name": "text", "normalise": {"unicode": "NFKC", "whitespace": "collapse"}})
    assert loose.read("  ﬁ \t x \n\n　y ") == "fi x\n\ny"
    assert create({"name": "text", "normalise": {"unicode": "none"}}).read("e\u0301") == "e\u0301"


@given(texts)
@quick
def test_reading_what_was_read_changes_nothing(text):
    for options in ({}, {"normalise": {"unicode": "NFKC", "whitespace": "collapse"}}):
        made = create({"name": "text", **options})
        try:
            item = made.read(text)
        except UnreadableItem:
            assert not text.strip()
        else:
            assert made.read(item) == item


def test_near_duplicates_share_a_band_and_others_do_not():
    made = create("text")
    rng = np.random.default_rng(0)
    letters = np.array(list("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"))
    poems = ["".join(rng.choice(letters, 200)) for _ in range(300)]
    found = 0
    for poem in poems:
        other = poem[:100] + "龘" + poem[101:]
        similar = made.similarity(poem, other)
        assert similar == pytest.approx(191 / 201, abs=0.02)
        found += bool((made.signature(poem) == made.signature(other)).any())
    assert found >= 297
    bands = np.stack([made.signature(poem) for poem in poems])
    assert all(len(np.unique(band)) == len(poems) for band in bands.T)
    assert made.similarity(poems[0], poems[1]) < 0.1
    assert made.similarity("ab", "ab") == 1
    assert made.similarity("ab", "abc") == 0


def test_signatures_of_ten_thousand_poems_take_seconds():
    made = create("text")
    started = time.perf_counter()
    for index in range(1000):
        made.signature(POEM * 2 + str(index))
    assert time.perf_counter() - started < 1


def test_description_tells_languages_and_lengths():
    found = create("text").describe(["床前明月光", "hello you", "привет", "これは日本", "안녕", "1234"])
    assert found["languages"] == dict.fromkeys(["Chinese", "Latin", "Cyrillic", "Japanese", "Korean", "none"], 1 / 6)
    assert found["length"]["max"] == 9
    assert found["distinct_characters"] == len(set("床前明月光hello youприветこれは日本안녕1234"))
    assert create("text").describe([]) == {}


def test_written_text_is_read_back(tmp_path):
    made = FITTED["character"]
    (path,) = made.write(POEM, tmp_path / "v1.0")
    assert path.name == "v1.0.txt"
    assert made.read(path) == POEM
    assert "&lt;b&gt;" in made.html("<b>")


def test_a_tokenizer_on_disk_keeps_its_special_tokens_to_itself(tmp_path):
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    engine.train_from_iterator([ENGLISH], trainer)
    engine.enable_truncation(3)
    engine.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>"}}))
    made = modality([ENGLISH], tokenizer=f"{tmp_path}/", max_length=100)
    assert (made.spec.begin, made.spec.end) == (0, 1)
    tokens = made.encode("the <s> dog")
    assert 0 not in tokens
    assert made.decode(tokens) == "the <s> dog"
    assert made.decode(np.array([0, *tokens, 1])) == "the <s> dog"
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    again = create({"name": "text", "tokenizer": f"{tmp_path}/gone/", "max_length": 100})
    again.load(tmp_path / "model")
    assert again.spec == made.spec
    assert np.array_equal(again.encode("the <s> dog"), tokens)


def test_a_tokenizer_of_words_streams_its_spaces(tmp_path):
    vocabulary = {"[UNK]": 0, "the": 1, "dog": 2, "##s": 3, "月": 4}
    engine = Engine(models.WordPiece(vocabulary, unk_token="[UNK]"))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.decoder = decoders.WordPiece()
    path = tmp_path / "tokenizer.json"
    engine.save(str(path))
    made = modality(["the dogs"], tokenizer=str(path), max_length=100)
    tokens = made.encode("the dogs the 月 dogs")
    assert made.decode(tokens) == "the dogs the 月 dogs"
    assert made.decode(np.array([1, 99, 2])) == "the\ufffddog"
    streamer = made.streamer()
    shown = [streamer.push(token) for token in tokens.tolist()]
    assert shown[:3] == ["the", " dog", "s"]
    assert "".join(shown) + streamer.finish() == "the dogs the 月 dogs"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("charakter", "did you mean character"), ("hub:gpt2", "hub:ID@REVISION"), ("sentencepiece", "allowed")],
)
def test_an_unknown_tokenizer_is_refused_before_any_work(name, hint):
    with pytest.raises(InvalidRecipe, match=hint):
        create({"name": "text", "tokenizer": name})


def test_a_published_tokenizer_has_its_own_vocabulary():
    with pytest.raises(InvalidRecipe, match="own vocabulary"):
        create({"name": "text", "tokenizer": "hub:a/b@main", "vocabulary": 300})


def test_a_missing_or_broken_tokenizer_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot open"):
        modality(tokenizer=str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"not a tokenizer\.json"):
        modality(tokenizer=str(tmp_path / "bad.json"))


def test_a_hub_tokenizer_comes_from_its_files_at_the_revision(tmp_path, monkeypatch):
    FITTED["bpe"].save(tmp_path)
    asked = []

    def fetch(repository, name, revision):
        from huggingface_hub.errors import EntryNotFoundError

        asked.append((repository, name, revision))
        if name != "tokenizer.json":
            raise EntryNotFoundError("none")
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    made = modality([POEM], tokenizer="hub:org/name@abc123", max_length=1000)
    assert asked[0] == ("org/name", "tokenizer.json", "abc123")
    assert np.array_equal(made.encode(POEM), FITTED["bpe"].encode(POEM))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(FetchFailed, match="no network"):
        modality([POEM], tokenizer="hub:org/name@abc123")


def test_nothing_to_learn_from_and_not_fitted_are_errors():
    with pytest.raises(DataError, match="no texts"):
        modality([])
    with pytest.raises(DataError, match="fit"):
        _ = create("text").spec


def test_fitting_takes_a_generator_and_text_has_no_augmentation():
    assert modality(text for text in (POEM, ENGLISH)).spec == modality().spec
    with pytest.raises(InvalidRecipe, match="flip"):
        create("text").check_augment({"flip": True})
