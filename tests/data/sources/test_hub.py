from __future__ import annotations

import datasets
import pytest

from miaobi.data.sources import open_source
from miaobi.errors import DataError, FetchFailed


def hub(name: str, tmp_path):
    return open_source(f"hub:{name}", tmp_path, extensions=frozenset(), literal=True)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])})
    parts = {
        "train": {"text": ["a", "b"], "label": [0, 1]},
        "test": {"text": ["c"], "label": [1]},
    }
    found = datasets.DatasetDict({k: datasets.Dataset.from_dict(v, features=features) for k, v in parts.items()})
    asked = []

    def load_dataset(path, **options):
        asked.append((path, options))
        return found

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_rows_of_every_split_with_class_names(tmp_path, loaded) -> None:
    source = hub("owner/name@v1.0:config", tmp_path)
    assert list(source.columns) == ["text", "label", "split"]
    assert [dict(record.values) for record in source.records(["text", "label"])] == [
        {"split": "train", "text": "a", "label": "cat"},
        {"split": "train", "text": "b", "label": "dog"},
        {"split": "test", "text": "c", "label": "dog"},
    ]
    assert source.split == {"by": "given"}
    assert loaded == [("owner/name", {"name": "config", "revision": "v1.0"})]


def test_no_hub_is_a_fetch_failure_with_a_cure(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(path, **options):
        raise ConnectionError("no network to some.host")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(FetchFailed) as caught:
        hub("owner/name", tmp_path).columns  # noqa: B018
    assert "some.host" not in caught.value.message
    assert caught.value.cure


def test_a_name_that_is_none_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="OWNER/NAME"):
        hub("a b/c d", tmp_path)
