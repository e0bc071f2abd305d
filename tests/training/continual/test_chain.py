"""Which version a reference means."""

from __future__ import annotations

from pathlib import Path

import pytest

from miaobi.training.continual.chain import version_of


@pytest.mark.parametrize(
    ("place", "version"),
    [
        ("runs/bard/versions/0002/model", "0002"),
        ("runs/bard/model", "0001"),
        ("runs/2024/model", "0001"),
        ("versions/0003/model", "0003"),
    ],
)
def test_a_folder_of_four_digits_is_a_version_only_among_versions(place, version, tmp_path):
    model: Path = tmp_path / place
    model.mkdir(parents=True)
    (model / "model.json").write_text("{}")
    assert version_of(f"run:{model}") == version
