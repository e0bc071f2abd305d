"""What every test needs: one thread, no leftovers between tests, and a cache that outlives none of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples on every machine, and no verdict by the clock: a loaded one is slow, not wrong. Look further with
# `pytest --hypothesis-profile=default`.
settings.register_profile("miaobi", deadline=None, derandomize=True)
settings.load_profile("miaobi")

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Run in an empty folder, with torch's generator at one place whatever ran before.

    Tests that fetch from a registry keep the user's cache, so that each file comes once.
    """
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    if "registry" not in request.keywords:
        monkeypatch.setenv("MIAOBI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT
