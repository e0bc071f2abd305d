"""``list`` and ``show`` over everything found, so that a new file is tested without asking."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from pydantic import Field as Value

from miaobi.cli import _inventory as inventory
from miaobi.cli._app import run
from miaobi.types import Settings

EVERYTHING = [(kind, name) for kind in inventory.PACKAGES for name in inventory.names(kind)]


class Example(Settings):
    needed: int
    name: Literal["a", "b"] | None = Value(None, description="which")
    sizes: list[int] = [1]
    rate: float = Value(0.1, ge=0, lt=1)


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_plugin_has_a_line_and_can_be_shown(kind: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    line = inventory.summary(kind, name)
    assert 10 < len(line) < 400
    assert "\n" not in line
    assert run(["show", name.replace("_", "-"), "--json"]) == 0
    entries = json.loads(capfd.readouterr().out)["found"]
    assert (kind, name) in {(entry["kind"], entry["name"]) for entry in entries}
    assert run(["show", name]) == 0
    assert f"{name} ({kind})" in capfd.readouterr().out


def test_list_has_every_kind(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert list(found) == list(inventory.KINDS)
    assert {"gan", "vae"} <= set(found["families"])


def test_an_unknown_name_gets_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "convolutionl"]) == 2
    assert "did you mean convolutional" in capfd.readouterr().err


def test_options_say_type_default_and_limits() -> None:
    shown = {option.name: option for option in inventory.options(Example)}
    assert shown["needed"].default == "required"
    assert shown["name"].type == "'a' | 'b' | None"
    assert shown["name"].description == "which"
    assert shown["sizes"].type == "list[int]"
    assert shown["rate"].description == "at least 0, below 1"
