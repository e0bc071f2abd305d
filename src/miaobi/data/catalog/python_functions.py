"""The functions of Python's standard library, as it is on this machine; no network."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Record
from miaobi.data.catalog._python_files import Library, library, modules
from miaobi.recipe import Plugin

FEWEST_LINES, MOST_LINES = 3, 200
MOST_CHARACTERS = 8000
_Function = ast.FunctionDef | ast.AsyncFunctionDef
# What a definition may stand in and still be of the module's or of a class's own, rather than of another function.
_OPEN = (ast.ClassDef, ast.If, ast.Try, ast.ExceptHandler)


class PythonFunctions(Library):
    """A function or a method an item, with its decorators, as if it stood at the left margin.

    Of 3 to 200 lines and up to 8,000 characters, each text once; functions within functions are not items of their own.
    Every item parses by itself. A split keeps the functions of a file together.
    """

    summary = "about 10,000 functions and methods of Python's standard library; needs no network"
    content = "code"
    conditions: ClassVar[Mapping[str, Plugin]] = {"name": "text", "module": "text", "docstring": "text"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "module"}

    def records(self, cache: Path) -> Iterator[Record]:
        seen: set[str] = set()
        for module in modules(library()):
            for record in functions(module["text"]):
                if record["code"] not in seen:
                    seen.add(record["code"])
                    yield {**record, "module": module["title"]}


def functions(source: str) -> Iterator[Record]:
    """Records of the functions of a module in order of line; none where it does not parse.

    Columns: ``code``, ``name`` and ``docstring`` (``None`` where there is none).
    """
    tree = _parsed(source)
    if tree is None:
        return
    lines = source.split("\n")
    for function in sorted(_definitions(tree), key=lambda one: one.lineno):
        code = _dedented(lines, function)
        if code is not None and len(code) <= MOST_CHARACTERS and _parsed(code) is not None:
            yield {"code": code, "name": function.name, "docstring": ast.get_docstring(function)}


def _definitions(tree: ast.Module) -> Iterator[_Function]:
    """Functions of a module and of its classes."""
    left: list[ast.AST] = [tree]
    while left:
        for node in ast.iter_child_nodes(left.pop()):
            if isinstance(node, _Function):
                yield node
            elif isinstance(node, _OPEN):
                left.append(node)


def _dedented(lines: list[str], function: _Function) -> str | None:
    """A function's lines without its indentation; ``None`` where some line has less, or there are too few or many."""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    own = lines[first - 1 : function.end_lineno]
    column = function.col_offset
    if not FEWEST_LINES <= len(own) <= MOST_LINES or any(line[:column].strip() for line in own):
        return None
    return "\n".join(line[column:].rstrip() for line in own)


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            # A doubtful escape is a warning that must neither be shown nor become an error.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
