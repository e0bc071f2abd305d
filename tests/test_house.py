"""The house's measures: length of files and functions, nothing unpickled, the public face as pinned."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import miaobi

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "src").rglob("*.py"))
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function's name and its lines, with its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    long = {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 500}
    assert not long
    assert statistics.median(lengths.values()) < 200


def test_functions_are_short() -> None:
    lengths = dict(entry for path in FILES for entry in functions(path))
    long = {name: length for name, length in lengths.items() if length > 60}
    assert not long
    assert statistics.median(lengths.values()) < 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "src" / "miaobi")))
def test_nothing_is_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & UNPICKLERS
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("allow_pickle") in (None, "False"), f"line {call.lineno}"
        if ast.unparse(call.func) == "torch.load":
            # The one exception: a package's own checksummed weight file, read once and converted.
            assert given.get("weights_only") == "True", f"line {call.lineno}"
            assert path.name == "_efficientnet.py", f"line {call.lineno}"


def test_the_public_face_is_pinned() -> None:
    named = ["Chat", "Recipe", "compare", "evaluate", "export", "generate", "load", "promote", "train", "tune"]
    assert miaobi.__all__ == named
    assert all(callable(getattr(miaobi, name)) for name in miaobi.__all__)
    assert set(miaobi.__all__) <= set(dir(miaobi))


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        miaobi.trian  # noqa: B018


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, miaobi, miaobi.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_source_file_is_ignored_by_git() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, FILES)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
