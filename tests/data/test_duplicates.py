from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.data.duplicates import Groups, candidates, find_duplicates
from miaobi.data.plan import make_plan
from miaobi.data.reading import Reader
from miaobi.recipe import DataSettings

LONG = "The quick brown fox jumps over the lazy dog and runs far away into the dark and quiet forest at night"
NEARLY = LONG.replace("at night", "at nigth")


def staged(tmp_path: Path, rows: list[tuple[str, ...]], columns: str = "text", **options):
    (tmp_path / "rows.tsv").write_text("\n".join(["\t".join(columns.split()), *("\t".join(row) for row in rows)]))
    condition = {name: "text" for name in columns.split()[1:] if name != "kind"} | (
        {"kind": "label"} if "kind" in columns else {}
    )
    section = DataSettings.parse({"source": str(tmp_path / "rows.tsv"), "condition": condition} | options, "data")
    plan = make_plan("text", section, tmp_path)
    return plan, Reader(plan).read(tmp_path / "s.arrow")


def found(tmp_path: Path, rows, policy: str, columns: str = "text", **options):
    plan, read = staged(tmp_path, [(row,) if isinstance(row, str) else row for row in rows], columns, **options)
    return find_duplicates(read, policy, plan.columns)


def test_policies(tmp_path: Path) -> None:
    rows = [LONG, "something else entirely", LONG, NEARLY]
    near, exact, keep = (found(tmp_path, rows, policy) for policy in ("near", "exact", "keep"))
    assert near.kept.tolist() == [0, 1]
    assert [one["reason"] for one in near.exact.examples] == ["equals rows.tsv line 2"]
    assert [one["where"] for one in near.near.examples] == ["rows.tsv line 5"]
    assert exact.kept.tolist() == [0, 1, 3]
    assert exact.near_kept == 1
    assert keep.kept.tolist() == [0, 1, 2, 3]


def test_near_duplicates_that_stay_are_grouped(tmp_path: Path) -> None:
    groups = found(tmp_path, [LONG, "something else entirely", NEARLY], "exact").groups
    assert groups[0] == groups[2] != groups[1]


def test_another_condition_keeps_and_groups(tmp_path: Path) -> None:
    rows = [(LONG, "a caption of it"), (LONG, "another one altogether"), ("something else", "a third of them")]
    result = found(tmp_path, rows, "near", "text caption")
    assert result.kept.tolist() == [0, 1, 2]
    assert result.groups[0] == result.groups[1] != result.groups[2]


def test_a_shared_condition_groups_but_a_shared_label_does_not(tmp_path: Path) -> None:
    rows = [("alpha beta", "same title", "x"), ("gamma delta", "same title", "y"), ("other words", "own title", "x")]
    groups = found(tmp_path, rows, "near", "text title kind").groups
    assert groups[0] == groups[1] != groups[2]


def test_the_group_column_groups(tmp_path: Path) -> None:
    rows = [("alpha", "p"), ("beta", "q"), ("gamma", "p")]
    (tmp_path / "rows.tsv").write_text("text\tg\n" + "\n".join("\t".join(row) for row in rows))
    section = DataSettings.parse(
        {"source": str(tmp_path / "rows.tsv"), "content": "text", "split": {"group": "g"}}, "d"
    )
    plan = make_plan("text", section, tmp_path)
    read = Reader(plan).read(tmp_path / "s.arrow")
    groups = find_duplicates(read, "near", plan.columns).groups
    assert groups[0] == groups[2] != groups[1]


def test_the_held_out_copy_stays_where_the_split_is_given(tmp_path: Path) -> None:
    rows = [(LONG, "train"), ("something else entirely", "train"), (LONG, "test")]
    (tmp_path / "rows.tsv").write_text("text\tsplit\n" + "\n".join("\t".join(row) for row in rows))
    section = DataSettings.parse({"source": str(tmp_path / "rows.tsv"), "split": {"by": "given"}}, "d")
    plan = make_plan("text", section, tmp_path)
    read = Reader(plan).read(tmp_path / "s.arrow")
    assert find_duplicates(read, "near", plan.columns).kept.tolist() == [1, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40))
@settings(deadline=None)
def test_candidates_connect_whatever_shares_a_band(bands: list[tuple[int, int]]) -> None:
    array = np.array(bands, dtype=np.uint64).reshape(-1, 2)
    pairs = candidates(array)
    groups, expected = Groups(len(array)), Groups(len(array))
    for earlier, later in pairs.tolist():
        assert earlier < later
        assert (array[earlier] == array[later]).any()
        groups.join(earlier, later)
    for i in range(len(array)):
        for j in range(i):
            if (array[i] == array[j]).any():
                expected.join(i, j)
    assert groups.labels().tolist() == expected.labels().tolist()
    assert len(pairs) <= 10 * len(array)
