"""Functions: which count, how they are dedented, and that the interpreter's own can be prepared."""

from __future__ import annotations

import ast
import textwrap
import warnings
from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog import _python_files, python_functions
from miaobi.data.catalog.python_functions import functions
from miaobi.recipe import Recipe

MODULE = '''
import os

@cache
def first(x):
    """One.

    More.
    """
    def inner(y):
        z = y
        return z

    return inner(x)SPACES

try:
    import fast
except ImportError:
    def fast(x):
        x += 1
        return x

class Thing:
    class Inner:
        async def second(self):

            text = """
            kept"""
            return text

    def short(self): return 1

    def crooked(self):
        return """
left of it
"""
'''.replace("SPACES", "   ")


def test_functions_stand_at_the_margin_with_their_decorators() -> None:
    found = {record["name"]: record for record in functions(MODULE)}
    assert list(found) == ["first", "fast", "second"]
    assert found["first"]["docstring"] == "One.\n\nMore."
    assert found["fast"]["docstring"] is None
    assert found["first"]["code"].startswith("@cache\ndef first(x):")
    assert found["first"]["code"].endswith("\n    return inner(x)")
    assert found["fast"]["code"] == "def fast(x):\n    x += 1\n    return x"
    assert found["second"]["code"].startswith("async def second(self):\n\n    text =")


def test_what_does_not_parse_and_what_is_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(functions("print 'old'\ndef f():\n    x\n    y"))
    whole = "def f():\n    x\n    y"
    assert len(list(functions(whole))) == 1
    monkeypatch.setattr(python_functions, "MOST_CHARACTERS", len(whole) - 1)
    assert not list(functions(whole))
    body = "\n".join(f"    x = {i}" for i in range(200))
    monkeypatch.setattr(python_functions, "MOST_CHARACTERS", 10**6)
    assert not list(functions(f"def f():\n{body}"))


def test_a_text_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def f(x):\n    y = x\n    return y\n"
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "b.py").write_text(f"class A:\n{textwrap.indent(code, '    ')}\n{code.replace('f(x)', 'g(x)')}")
    monkeypatch.setattr(python_functions, "library", lambda: tmp_path)
    records = list(catalog.find("python-functions").records(tmp_path))
    assert [(record["module"], record["name"]) for record in records] == [("a", "f"), ("b", "g")]


def test_the_interpreters_own_can_be_prepared(tmp_path: Path) -> None:
    found = catalog.find("python-functions")
    records = list(found.records(tmp_path))
    assert len(records) > 8000
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])
    assert len({record["code"] for record in records}) == len(records)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bodies = [ast.parse(record["code"]).body for record in records[::17]]
    assert all(len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef) for body in bodies)
    section = {"source": "catalog:python-functions", "condition": {"module": "text"}, "clean": {"limit": 1500}}
    made = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "autoregressive"}}))
    trained, tested = (set(part.condition_items("module", range(len(part)))) for part in (made.train, made.test))
    assert len(tested) > 5
    assert not trained & tested
    assert _python_files.fingerprint(_python_files.library()) in found.pinned(tmp_path)
