"""Imports point one way, and what is loaded by name belongs to its caller's layer or a lower one."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "miaobi"
LOADERS = {"load", "names", "canonical"}


def layers() -> list[set[str]]:
    """The contract's layers, highest first."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [{name.strip(" ()") for name in layer.split("|")} for layer in contract["layers"]]


def height(module: str) -> int:
    """How high the layer of a dotted module name is; the package itself, the public face, is above every layer."""
    parts = module.split(".")
    if len(parts) == 1:
        return len(layers())
    return next(len(layers()) - i for i, names in enumerate(layers()) if parts[1] in names)


def dynamic_imports(text: str) -> Iterator[ast.expr]:
    """The first argument of every call that imports by name."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        owner = node.func.value
        by_plugins = isinstance(owner, ast.Name) and owner.id == "plugins" and node.func.attr in LOADERS
        if by_plugins or node.func.attr == "import_module":
            yield node.args[0]


def breaches(module: str, text: str) -> list[str]:
    """What a module loads by name from a higher layer than its own, or from where nobody can tell."""
    found = []
    for argument in dynamic_imports(text):
        # A module's own name, or that of a module which it imports, so that import-linter has checked it.
        if (argument.attr if isinstance(argument, ast.Attribute) else getattr(argument, "id", "")) == "__name__":
            continue
        literal = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
        if not isinstance(literal, ast.Constant) or not str(literal.value).startswith("miaobi"):
            found.append(f"{module} loads {ast.unparse(argument)}: write the package's name there")
        elif height(str(literal.value).rstrip(".")) > height(module):
            found.append(f"{module} loads {literal.value}, which is above it")
    return found


def test_imports_point_one_way() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def test_plugins_are_loaded_from_the_same_layer_or_below() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(["miaobi", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        # plugins is the loader itself; the command line and the public face are above everything.
        if module not in ("miaobi", "miaobi.plugins") and not module.startswith("miaobi.cli"):
            found += breaches(module, path.read_text())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("miaobi.networks.mlp", 'plugins.load("miaobi.families", name, Family)', True),
        ("miaobi.data.cache", 'importlib.import_module(f"miaobi.training.{name}")', True),
        ("miaobi.data.cache", "importlib.import_module(name)", True),
        ("miaobi.families", "plugins.load(__name__, name, Family)", False),
        ("miaobi.data.inspect", "plugins.load(modalities.__name__, name, Modality)", False),
        ("miaobi.training.trainer", 'plugins.load("miaobi.networks", name, Network)', False),
    ],
)
def test_a_planted_breach_is_seen(module: str, line: str, wrong: bool) -> None:
    assert bool(breaches(module, line)) is wrong
