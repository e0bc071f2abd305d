"""What a template may cost: steps, seconds and sizes, counted while it renders.

Jinja's sandbox keeps a template from reaching anything; nothing there keeps it from running for ever or from filling
the memory. So every loop, call, join and literal of a template asks here first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from miaobi.errors import InvalidRecipe

MOST_CHARACTERS = 1 << 20
"""Of a template, of what it makes, and of any value on the way."""
MOST_MADE = 1 << 26
"""Elements and characters of all values on the way together."""
MOST_STEPS = 200_000
"""Turns of loops, calls and operations."""
MOST_SECONDS = 10.0
"""So much longer than any real template takes that a loaded machine makes no difference."""
_MOST_NUMBER = 2**63
_NOW_AND_THEN = 1 << 12
"""Elements of a value from which on the clock is looked at."""


class Budget:
    """What one rendering has used."""

    def __init__(self) -> None:
        self.steps = self.written = self.made = 0
        self.end = time.monotonic() + MOST_SECONDS

    def step(self) -> None:
        """One more."""
        self.steps += 1
        if self.steps > MOST_STEPS or (self.steps % 64 == 0 and time.monotonic() > self.end):
            raise InvalidRecipe("the template takes too long", allowed=f"{MOST_STEPS:,} steps, {MOST_SECONDS:.0f} s")

    def make(self, size: int) -> None:
        """More of values that do not go into the text, or not yet."""
        self.made += size
        if self.made > MOST_MADE:
            raise InvalidRecipe("the template makes too much on the way", allowed=f"{MOST_MADE:,} characters")

    def write(self, size: int) -> None:
        """More text, wherever it goes."""
        self.written += size
        check_size(self.written)


_BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget() -> Iterator[None]:
    """One rendering inside."""
    token = _BUDGET.set(Budget())
    try:
        yield
    finally:
        _BUDGET.reset(token)


def step() -> bool:
    """One step of the rendering under way; true, to stand in a condition.

    Raises:
        InvalidRecipe: there were too many.
    """
    found = _BUDGET.get()
    if found is not None:
        found.step()
    return True


def check_size(size: int) -> None:
    """
    Raises:
        InvalidRecipe: more than `MOST_CHARACTERS`.
    """
    if size > MOST_CHARACTERS:
        raise InvalidRecipe("the template makes too long a text", allowed=f"{MOST_CHARACTERS:,} characters")


def weighed(value: Any) -> Any:
    """``value``, which written out has at most `MOST_CHARACTERS` elements and characters, shared parts counted anew.

    Raises:
        InvalidRecipe: it has more.
    """
    step()
    left, size = [value], 0
    while left:
        one = left.pop()
        size += 1 + (len(one) if isinstance(one, str | bytes | list | tuple | dict | range) else 0)
        check_size(size)
        if type(one).__name__ == "Namespace":
            # Jinja keeps what a template puts there out of the template's own sight.
            left += one._Namespace__attrs.values()
        elif isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            left += one
        if size > _NOW_AND_THEN:
            step()
    found = _BUDGET.get()
    if found is not None:
        found.make(size)
    return value


def said(text: str) -> str:
    """A template's own words, which are counted as whatever else it writes, also where they go into a variable."""
    return text


def written(value: Any) -> Any:
    """``value`` on its way into the text."""
    found = _BUDGET.get()
    text = value if isinstance(value, str) else weighed(value)
    if found is not None:
        found.write(len(text) if isinstance(text, str) else len(str(text)))
    return value


def joined(*values: Any) -> str:
    """Jinja's ``~``."""
    texts = [str(weighed(value)) for value in values]
    check_size(sum(map(len, texts)))
    return "".join(texts)


def operated(operator: str, left: Any, right: Any, operate: Callable[[], Any]) -> Any:
    """A sum or product whose size is bounded.

    Raises:
        InvalidRecipe: it is too large.
        SecurityError: a product of anything but numbers, or a power.
    """
    from jinja2.exceptions import SecurityError

    step()
    numbers = all(isinstance(one, int | float) for one in (left, right))
    if operator == "**" or (operator != "+" and not numbers):
        raise SecurityError(f"{operator} of {type(left).__name__} and {type(right).__name__}")
    if not numbers:
        weighed([left, right])
    result = operate()
    if isinstance(result, int) and abs(result) >= _MOST_NUMBER:
        raise InvalidRecipe("the template makes too large a number", allowed="below 2**63")
    return result


def bounded(make: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose arguments and result are weighed; what it makes one by one is made at once."""
    from functools import wraps

    @wraps(make)
    def filtered(*given: Any, **named: Any) -> Any:
        step()
        made = make(*given, **named)
        return weighed(list(made) if isinstance(made, Iterator) else made)

    return filtered


def check_call(function: Any, given: tuple[Any, ...]) -> None:
    """Refuse a text's method whose result would be too long.

    Raises:
        InvalidRecipe: it would.
    """
    step()
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(text, str) and name == "replace" and len(given) > 1:
        check_replace(text, given[0], given[1])
    if isinstance(text, str) and name == "join" and given:
        check_join(given[0], text)


def check_replace(text: Any, old: Any, new: Any) -> None:
    """
    Raises:
        InvalidRecipe: replaced everywhere it would be too long.
    """
    places = len(str(text)) // max(1, len(str(old))) + 1
    check_size(len(str(text)) + places * len(str(new)))


def check_join(values: Any, between: Any) -> None:
    """
    Raises:
        InvalidRecipe: joined they would be too long.
    """
    weighed(values)
    count = len(values) if hasattr(values, "__len__") else 0
    check_size(count * len(str(between)))
