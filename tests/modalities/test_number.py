import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from miaobi.errors import CorruptFile, DataError, UnreadableItem
from miaobi.modalities import create
from miaobi.types import Form

values = st.floats(-1e6, 1e6)


def number(items):
    made = create("number")
    made.fit(made.read(item) for item in items)
    return made


@given(st.lists(values, min_size=2, max_size=20))
def test_round_trips(items):
    assume(np.std(items) > 1e-3)
    made = number(items)
    scale = np.std(items)
    arrays = [made.encode(item) for item in items]
    assert [made.unpack(made.pack(item)) for item in items] == items
    np.testing.assert_allclose([made.decode(array) for array in arrays], items, atol=scale * 1e-5)
    field = made.collate(arrays)
    assert field.values.shape == (len(items), 1)
    assert abs(float(field.values.mean())) < 1e-4
    assert float(field.values.double().std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert all(map(np.array_equal, made.split_batch(field.values, None), arrays))


def test_what_can_be_read():
    made = create("number")
    read = [made.read(raw) for raw in (3, 2.5, " -1e3\n", b"7", np.float32(0.5), np.array(4))]
    assert read == [3.0, 2.5, -1000.0, 7.0, 0.5, 4.0]
    assert all(isinstance(one, float) for one in read)


@pytest.mark.parametrize("raw", ["", "many", "1,000", "1_000", float("nan"), "inf", 1e31, 10**400, True, None, [1]])
def test_what_cannot(raw):
    with pytest.raises(UnreadableItem):
        create("number").read(raw)


def test_equal_numbers_or_none_teach_nothing():
    for items in ([], [3, 3, 3]):
        with pytest.raises(DataError, match="tell apart"):
            number(items)


def test_it_is_saved_and_loaded_and_a_damaged_file_is_said(tmp_path):
    made, again = number([1, 2, 4]), create("number")
    made.save(tmp_path)
    again.load(tmp_path)
    assert np.array_equal(made.encode(3.5), again.encode(3.5))
    assert again.spec == made.spec
    assert (made.spec.form, made.spec.channels, made.spec.space) == (Form.TENSOR, 1, ())
    for text in ("{}", '{"mean": 1, "deviation": 0}', '{"mean": "x", "deviation": 1}'):
        (tmp_path / "number.json").write_text(text)
        with pytest.raises(CorruptFile, match="numbers"):
            again.load(tmp_path)


def test_it_is_shown_and_written(tmp_path):
    made = number([1, 2, 4])
    assert made.text(1 / 3) == "0.3333333"
    assert made.write(2.0, tmp_path / "a")[0].read_text() == "2\n"
    assert made.describe([1.0, 2.0])["value"]["mean"] == 1.5
