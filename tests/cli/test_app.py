"""Exit statuses, where output goes, and the options that scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import miaobi
from miaobi.cli._app import VERBS, run
from miaobi.errors import DataError, RunFailed, UnknownName

OPTIONS = {
    "demo": ["--quick", "--out", "--json"],
    "train": ["--set", "--run", "--resume", "--continue", "--data", "--json"],
    "generate": ["--prompt", "--condition", "--control", "-n", "--seed", "-o", "--json"],
    "evaluate": ["--metric", "--data", "--samples", "--seed", "--json"],
    "rate": ["--task", "--question", "-n", "--raters", "--port", "-o", "--no-browser", "--results", "--json"],
    "tune": ["--trials", "--study", "--set", "--json"],
    "export": ["--format", "-o", "--option", "--text", "--json"],
    "estimate": ["--set", "--json"],
    "promote": ["--version", "--rollback", "--json"],
    "list": ["--json"],
    "show": ["--json"],
    "doctor": ["--json"],
}


@dataclass
class Result:
    run: Path
    steps: int
    best: dict[str, Any] | None
    model: Path
    stopped: str | None = None


def fake_train(*_: Any, **__: Any) -> Result:
    print("a library prints")
    subprocess.run([sys.executable, "-c", "print('a child process prints')"], check=True)
    best = {"metric": "bits_per_byte", "value": float("nan"), "step": 7}
    return Result(Path("runs/x"), 10, best, Path("runs/x/model"))


def raising(error: BaseException) -> Any:
    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


@pytest.fixture
def train_fails(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda error: monkeypatch.setattr(miaobi, "train", raising(error), raising=False)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(
    verb: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([verb, "--help"]) == 0
    shown = capfd.readouterr().out
    assert "Usage: miaobi" in shown
    for option in OPTIONS.get(verb, []):
        assert option in shown


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from miaobi.cli import main; sys.argv = ['miaobi', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out == f"miaobi {miaobi.__version__}\n"


def test_json_is_one_object_whatever_is_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miaobi, "train", fake_train, raising=False)
    assert run(["train", "recipe.yaml", "--json"]) == 0
    out, err = capfd.readouterr()
    best = {"metric": "bits_per_byte", "value": None, "step": 7}
    assert json.loads(out) == {"run": "runs/x", "steps": 10, "best": best, "model": "runs/x/model"}
    assert "a library prints" in err
    assert "a child process prints" in err


def test_without_json_people_get_the_next_commands(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miaobi, "train", fake_train, raising=False)
    assert run(["train", "recipe.yaml"]) == 0
    out = capfd.readouterr().out
    assert "done: 10 steps" in out
    assert "miaobi generate runs/x" in out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownName("family", "gna", ["gan", "vae"]), 2),
        (DataError("no data", cure="give some"), 2),
        (RunFailed("the disk is full"), 1),
        (ValueError("a bug"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_exit_status(error: BaseException, status: int, train_fails: Any, capfd: pytest.CaptureFixture[str]) -> None:
    train_fails(error)
    assert run(["train", "recipe.yaml"]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, "one line, no traceback"


def test_an_error_is_one_json_object_too(train_fails: Any, capfd: pytest.CaptureFixture[str]) -> None:
    train_fails(UnknownName("family", "gna", ["gan", "vae"]))
    assert run(["train", "recipe.yaml", "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["kind"] == "UnknownName"
    assert "did you mean gan" in error["message"]


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["train", "x", "--nope"], ["generate", "x", "-n", "0"], ["list", "familys"]]
)
def test_a_wrong_request_exits_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capfd.readouterr().err.startswith("error: ")


def test_a_misspelt_verb_gets_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    run(["trian"])
    assert "Did you mean 'train'" in capfd.readouterr().err


def test_debug_shows_the_traceback(
    train_fails: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_fails(ValueError("a bug"))
    monkeypatch.setenv("MIAOBI_DEBUG", "1")
    assert run(["train", "recipe.yaml"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_a_closed_pipe_is_no_error(root: Path) -> None:
    command = f"{sys.executable} -m miaobi.cli --help | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, env=os.environ)
    assert "Traceback" not in result.stderr


def test_our_warnings_are_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    def train(*_: Any, **__: Any) -> Result:
        warnings.warn("train.ema has no effect here", UserWarning, stacklevel=1)
        return fake_train()

    monkeypatch.setattr(miaobi, "train", train, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        run(["train", "recipe.yaml"])
    assert "warning: train.ema has no effect here\n" in capfd.readouterr().err
