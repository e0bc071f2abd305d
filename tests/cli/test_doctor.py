"""Every check passes or names a cure."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from miaobi.cli import _checks as checks
from miaobi.cli._app import run
from miaobi.cli._checks import Level


def test_everything_wrong_has_a_cure(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) in (0, 1)
    found = json.loads(capfd.readouterr().out)["checks"]
    assert len(found) == len(checks.CHECKS)
    assert all(check["cure"] for check in found if check["level"] != "ok")


def test_a_missing_client_is_a_warning_that_says_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "npm" else f"/bin/{name}")
    finding = checks.clients()
    assert finding.level is Level.WARNING
    assert "poems" in finding.detail
    assert "npm" in str(finding.cure)


def test_another_build_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_installed", lambda name: name == "torchvision")
    finding = checks.intruders()
    assert finding.level is Level.WARNING
    assert finding.cure == "pip uninstall torchvision"


def test_a_missing_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_installed", lambda name: False)
    assert checks.extras().level is Level.WARNING


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert checks.disk().level is Level.WARNING


def test_a_cache_that_cannot_be_written_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIAOBI_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    finding = checks.cache()
    assert finding.level is Level.FAILED
    assert "MIAOBI_CACHE" in str(finding.cure)


def test_without_torch_the_checks_still_end(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    imported = builtins.__import__

    def without_torch(name: str, *rest: Any, **named: Any) -> Any:
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    assert run(["doctor"]) == 1
    assert "pip install torch" in capfd.readouterr().out
