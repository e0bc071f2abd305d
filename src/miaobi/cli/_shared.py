"""What the verbs share: their common options, and where output goes.

Standard output is for results: text for people, or with ``--json`` exactly one JSON object. Everything else (progress,
warnings, errors, whatever a library or a child process prints) goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
import yaml

from miaobi.errors import InvalidRecipe

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a setting of the recipe; may be repeated.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same output.")]


class Answer:
    """What a verb has to say: one JSON object, and the same for people."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.text = ""

    def give(self, value: Mapping[str, Any], text: str | Iterable[str]) -> None:
        """Set the answer; ``text`` is a text or its lines."""
        self.value = dict(value)
        self.text = text if isinstance(text, str) else "\n".join(text)


@contextlib.contextmanager
def answering(as_json: bool) -> Iterator[Answer]:
    """Collect an answer while the work runs, and print it at the end if the work did not fail."""
    answer = Answer()
    with _stdout_to_stderr() if as_json else contextlib.nullcontext():
        yield answer
    if as_json:
        write_json(answer.value)
    elif answer.text:
        sys.stdout.write(f"{answer.text}\n")


def write_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that JSON has no name for become null."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, default=str, allow_nan=False) + "\n")


def complain(message: str) -> None:
    """An error, on standard error."""
    typer.secho(f"error: {message}", fg="red", err=True)


def note(message: str) -> None:
    """How far the work is, on standard error."""
    typer.echo(message, err=True)


def pairs(items: Sequence[str] | None, option: str) -> dict[str, str]:
    """``["k=v"]`` as a mapping.

    Raises:
        InvalidRecipe: an item without an equals sign, or a key given twice.
    """
    found: dict[str, str] = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise InvalidRecipe(f"{option} takes NAME=VALUE", given=item)
        if key in found:
            raise InvalidRecipe(f"{option} names {key} twice", given=[found[key], value], cure="give it once")
        found[key] = value
    return found


def values(items: Sequence[str] | None, option: str) -> dict[str, Any]:
    """`pairs` whose values are read as YAML: numbers, true, false, lists.

    Raises:
        InvalidRecipe: as `pairs`, or a value that is not YAML.
    """
    try:
        return {key: yaml.safe_load(value) for key, value in pairs(items, option).items()}
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"a value of {option} is not YAML: {error}", given=list(items or ())) from None


def table(rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Rows as lines with aligned columns; the last column is left as long as it is."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(len(cells[0]) - 1)] if cells else []
    return [
        indent + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in cells
    ]


def quiet_libraries() -> None:
    """Our own warnings in one line on standard error; other libraries' deprecations are not the user's business."""
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    warnings.showwarning = _show_warning
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.secho(f"warning: {message}", fg="yellow", err=True)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    # Both Python's stream and the descriptor: child processes (npm, pip, apt-get) inherit the latter.
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
