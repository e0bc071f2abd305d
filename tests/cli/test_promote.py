"""``miaobi train RUN --continue`` and ``miaobi promote``: one object with --json, the verdict as exit status."""

import json

import pytest
from tests.support.refreshed import copied, data

from miaobi.cli._app import run
from miaobi.models.versions import in_use

NEW = str(data() / "new.jsonl")


@pytest.fixture
def folder(tmp_path):
    return copied(tmp_path)


def refreshed(folder, *changes):
    settings = [word for change in changes for word in ("--set", change)]
    return run(["train", str(folder), "--continue", "--data", NEW, "--json", *settings])


def test_from_new_data_to_promotion_and_back(folder, capfd):
    assert refreshed(folder, "train.steps=60", "refresh.forget=0.5") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["run"] == str(folder / "versions" / "0002")
    assert set(told) == {"run", "steps", "best", "model", "gates"}
    assert told["gates"]["passed"] is True
    assert run(["promote", str(folder), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["version"], told["previous"]) == ("0002", "0001")
    assert {gate["gate"] for gate in told["gates"]} == {"gain", "forgetting"}
    assert run(["promote", str(folder), "--rollback"]) == 0
    assert "version 0001 is in use in place of 0002" in capfd.readouterr().out


def test_held_back_exits_1_with_the_figures(folder, capfd):
    assert refreshed(folder, "train.steps=4", "refresh.gain=1") == 0
    assert json.loads(capfd.readouterr().out)["gates"]["passed"] is False
    assert run(["promote", str(folder), "--json"]) == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["kind"] == "HeldBack"
    assert "gain on" in error["message"]
    assert "forgetting on" in error["message"]
    assert in_use(folder) == "0001"


@pytest.mark.parametrize(
    "words", [["--continue"], ["--data", NEW], ["--continue", "--data", NEW, "--run", "elsewhere"]]
)
def test_half_a_request_exits_2(folder, words):
    assert run(["train", str(folder), *words]) == 2
    assert run(["promote", str(folder)]) == 2
