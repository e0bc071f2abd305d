from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.data import Prepared, prepare
from miaobi.errors import DataError, InvalidRecipe
from miaobi.recipe import Recipe

TEXT = "".join(f"line {n}: the moon is {n * n % 97} and 春眠不覺曉\n" for n in range(300))


def prepared(folder: Path, text: str | bytes = TEXT, context: int = 16, **data: object) -> Prepared:
    path = folder / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    modality = {"name": "text", "context": context}
    recipe = {"modality": modality, "data": {"source": str(path)} | data, "model": {"family": "vae"}}
    return prepare(Recipe.load(recipe), cache=folder)


def tokens(part) -> list[int]:
    """The tokens of a part, put together from its windows; their overlaps must agree."""
    found: list[int] = []
    for row in range(len(part)):
        window = part.batch([row]).target.values[0].tolist()
        assert not found or found[-1] == window[0]
        found += window[1:] if found else window
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.sampled_from([(0.1, 0.1), (0.3, 0.0)]))
def test_held_out_windows_predict_every_token_but_the_first(tmp_path_factory, context: int, shares) -> None:
    made = prepared(tmp_path_factory.mktemp("w"), context=context, split={"validation": shares[0], "test": shares[1]})
    end = int(len(TEXT) * (1 - sum(shares)) + 1e-6)
    held = [
        made.modality.decode(torch.tensor(tokens(part)).numpy()) for part in (made.validation, made.test) if len(part)
    ]
    assert len("".join(held)) == len(TEXT) - end
    if set(TEXT[end:]) <= set(TEXT[:end]):
        assert "".join(held) == TEXT[end:]


def test_training_windows_are_full_and_start_where_the_last_ended(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    train = made.train
    whole = tokens(train)
    length = int(len(TEXT) * 0.8)
    assert len(train) == (length - 1) // 16
    assert made.modality.decode(torch.tensor(whole).numpy()) == TEXT[: len(train) * 16 + 1]
    assert made.target.stream
    assert made.target.max_length == 17


@pytest.mark.parametrize("shift", [1, 15, 16, 37, 10**9])
def test_shifted_windows_stay_inside_and_full(tmp_path: Path, shift: int) -> None:
    train = prepared(tmp_path).train
    moved = train.batch(range(len(train)), shift=shift).target
    assert moved.values.shape == (len(train), 17)
    expected = TEXT[shift % 16 : shift % 16 + 17]
    assert train.modality.decode(moved.values[0].numpy()) == expected
    assert bool((moved.lengths == 17).all())


def test_held_out_windows_do_not_shift(tmp_path: Path) -> None:
    held = prepared(tmp_path).validation
    assert torch.equal(held.batch([0], shift=5).target.values, held.batch([0]).target.values)


def test_ids_are_positive_distinct_and_from_content(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    ids = torch.cat([made.train.ids, made.validation.ids, made.test.ids])
    assert len(ids.unique()) == len(ids)
    assert (ids > 0).all()
    (tmp_path / "other").mkdir()
    assert torch.equal(prepared(tmp_path / "other").train.ids, made.train.ids)
    assert prepared(tmp_path / "other").fingerprint == made.fingerprint


def test_a_line_of_many_megabytes(tmp_path: Path) -> None:
    made = prepared(tmp_path, "abcdefgh " * 1_000_000, context=128)
    assert len(made.train) == (int(9_000_000 * 0.8) - 1) // 128


def test_line_ends_are_one_kind_whatever_the_file_has(tmp_path: Path) -> None:
    (tmp_path / "dos").mkdir()
    assert prepared(tmp_path / "dos", TEXT.replace("\n", "\r\n")).fingerprint == prepared(tmp_path).fingerprint


def test_a_broken_line_is_left_out_and_named(tmp_path: Path) -> None:
    made = prepared(tmp_path, TEXT.encode() + b"bro\xffken\n" + TEXT.encode())
    unreadable = made.report.to_json()["unreadable"]
    assert [one["where"] for one in unreadable["examples"]] == ["a.txt line 301"]
    with pytest.raises(DataError, match=r"a\.txt line 1"):
        prepared(tmp_path, b"bro\xffken\n" * 20 + TEXT[:100].encode())


def test_the_limit_is_characters(tmp_path: Path) -> None:
    made = prepared(tmp_path, clean={"limit": 1000})
    assert made.report.to_json()["items"] == {"characters": 1000}


def test_what_a_stream_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="no conditions"):
        prepared(tmp_path, condition=["label"])
    with pytest.raises(DataError, match="too short for training"):
        prepared(tmp_path, "ab")
