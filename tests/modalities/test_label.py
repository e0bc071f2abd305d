import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import CorruptFile, DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities import create
from miaobi.modalities.label import MOST_CLASSES
from miaobi.types import Form

names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20)


def label(items, **options):
    made = create({"name": "label", **options})
    made.fit(made.read(item) for item in items)
    return made


@given(st.lists(names, min_size=1, max_size=20))
def test_round_trips(values):
    made = label(values)
    items = [made.read(value) for value in values]
    arrays = [made.encode(item) for item in items]
    assert [made.decode(array) for array in arrays] == items
    assert [made.unpack(made.pack(item)) for item in items] == items
    field = made.collate(arrays)
    assert field.values.tolist() == [int(made.collate([array]).values) for array in arrays]
    assert [int(array) for array in made.split_batch(field.values, None)] == field.values.tolist()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_numbers_sort_by_value(values):
    assert label(values).classes == tuple(str(value) for value in sorted(set(values)))


def test_classes_are_distinct_sorted_and_numbers_come_first():
    made = label(["b", 10, 2.0, 2, "a", 1.5, True, np.int64(3), b"b"])
    assert made.classes == ("1.5", "2", "3", "10", "a", "b", "true")
    assert made.spec.form is Form.LABEL
    assert made.spec.vocabulary == 7
    assert made.encode("10").shape == ()
    assert made.units(["a", "b"]).tolist() == [1, 1]
    assert made.signature("a") is None


def test_an_unknown_label_is_refused_with_the_nearest():
    made = label(["shirt", "trouser", "bag"])
    with pytest.raises(
        DataError, match=r"given: 'shrit'; allowed: bag, shirt, trouser; what to do: did you mean shirt"
    ):
        made.encode("shrit")
    with pytest.raises(DataError, match="0 to 2"):
        made.decode(np.array(3))


def test_classes_of_the_recipe_keep_their_order_and_bound_the_data():
    made = label([1, "b"], classes=["b", 1, "unused"])
    assert made.classes == ("b", "1", "unused")
    with pytest.raises(DataError, match="given: 'c'"):
        label(["c"], classes=["a", "b"])
    for wrong in (["a", "a"], [], [None], 3):
        with pytest.raises(InvalidRecipe, match="classes"):
            create({"name": "label", "classes": wrong})


@pytest.mark.parametrize("raw", ["", "  ", None, float("nan"), float("inf"), "x" * 1001, [1], b"\xff"])
def test_what_is_no_label_is_refused(raw):
    with pytest.raises(UnreadableItem):
        create("label").read(raw)


def test_too_many_classes_and_none_at_all_are_errors():
    with pytest.raises(DataError, match="modality: text"):
        create("label").fit(map(str, range(MOST_CLASSES + 1)))
    with pytest.raises(DataError, match="no labels"):
        create("label").fit([])
    with pytest.raises(DataError, match="fit"):
        _ = create("label").spec


def test_saved_and_written_labels_are_read_back(tmp_path):
    made = label(["猫", "狗", 3])
    made.save(tmp_path)
    again = create("label")
    again.load(tmp_path)
    assert again.classes == made.classes
    assert again.spec == made.spec
    (path,) = made.write("猫", tmp_path / "0001")
    assert path.name == "0001.txt"
    assert made.read(path) == "猫"


@pytest.mark.parametrize("content", ["", "{}", '{"classes": []}', '{"classes": ["a", "a"]}', '{"classes": [1]}'])
def test_altered_state_is_a_corrupt_file(tmp_path, content):
    (tmp_path / "label.json").write_text(content)
    with pytest.raises(CorruptFile, match="label"):
        create("label").load(tmp_path)


def test_description_counts_classes():
    found = create("label").describe(["a", "b", "a"])
    assert found == {"classes": 2, "counts": {"a": 2, "b": 1}}
    assert create("label").describe([]) == {}
