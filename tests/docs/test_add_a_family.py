"""docs/add-a-family.md is followed as written, in a copy: one file and its test, and no other file touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FAMILY, TEST = "src/miaobi/families/real_nvp.py", "tests/families/test_real_nvp.py"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests with the page's two files added."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("src", "tests/contract", "tests/support", "recipes"):
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for part in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / part, copy / part)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "add-a-family.md").read_text(), re.M | re.S)
    python = [text for language, text in blocks if language == "python"]
    (recipe,) = (text for language, text in blocks if language == "yaml")
    assert len(python) == 2
    for path, text in zip((FAMILY, TEST), python, strict=True):
        assert not (copy / path).exists(), f"{path} is in the package already: the page should add something new"
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)
    (copy / "flow.yaml").write_text(recipe)
    return copy


def run(overlay: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(overlay / "src"), "MIAOBI_CACHE": str(overlay / "cache")}
    command = [sys.executable, "-m", *arguments]
    result = subprocess.run(command, cwd=overlay, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result.stdout


def test_its_test_passes(overlay: Path) -> None:
    assert "3 passed" in run(overlay, "pytest", TEST, "-p", "no:cacheprovider")


def test_the_contract_suite_finds_it_and_passes(overlay: Path) -> None:
    out = run(
        overlay,
        "pytest",
        "tests/contract/test_families.py",
        "-k",
        "real_nvp",
        "-p",
        "no:cacheprovider",
    )
    assert re.search(r"\b[1-9]\d* passed", out)


def test_the_command_line_trains_and_uses_it(overlay: Path) -> None:
    assert "real_nvp" in json.loads(run(overlay, "miaobi.cli", "list", "families", "--json"))["families"]
    run(overlay, "miaobi.cli", "train", "flow.yaml", "--run", "runs/flow", "--set", "train.steps=60", "--json")
    scores = json.loads(run(overlay, "miaobi.cli", "evaluate", "runs/flow", "--metric", "likelihood", "--json"))[
        "scores"
    ]
    assert scores["bits_per_dimension"]["value"] < 8, "worse than knowing nothing"
    made = json.loads(
        run(overlay, "miaobi.cli", "generate", "runs/flow", "--condition", "label=3", "-n", "2", "--json")
    )
    assert len(made["items"]) == 2


def test_the_file_and_its_test_are_clean(overlay: Path) -> None:
    run(overlay, "ruff", "check", FAMILY, TEST)
    run(overlay, "ruff", "format", "--check", FAMILY, TEST)
