"""Which model of a run is in use is the last line of its promotions."""

import json

import pytest

from miaobi.errors import CorruptFile
from miaobi.models.versions import in_use, is_version, model_of, promotions


def write(run, content):
    (run / "lineage.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_without_promotions_it_is_the_runs_own(tmp_path):
    assert in_use(tmp_path) == "0001"
    write(tmp_path, {"requested": {}})
    assert in_use(tmp_path) == "0001"
    assert model_of(tmp_path, "0001") == tmp_path / "model"


def test_the_last_promotion_counts(tmp_path):
    write(tmp_path, {"promotions": [{"version": "0003"}, {"version": "0002"}]})
    assert in_use(tmp_path) == "0002"
    assert model_of(tmp_path, "0002") == tmp_path / "versions" / "0002" / "model"
    assert len(promotions(tmp_path)) == 2


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"promotions": 3}', '{"promotions": [{}]}', '{"promotions": ["0002"]}']
)
def test_a_damaged_lineage_is_said(content, tmp_path):
    write(tmp_path, content)
    with pytest.raises(CorruptFile):
        in_use(tmp_path)


@pytest.mark.parametrize("name", ["", "002", "00002", "../1", "000a", "٠٠٠٢", "0002\n"])
def test_only_four_digits_are_a_version(name):
    assert not is_version(name)
