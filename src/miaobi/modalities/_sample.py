"""A bounded, evenly spread sample of a stream of items, without randomness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 4096


class EvenSample(Generic[T]):
    """Keeps every n-th item that passes by, doubling n whenever more than 4,096 are kept."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._stride = 1
        self.kept: list[T] = []

    def watch(self, items: Iterable[T], keep: Callable[[T], T]) -> Iterator[T]:
        """The same items, while ``keep`` of some of them is remembered."""
        for index, item in enumerate(items):
            if index % self._stride == 0:
                self.kept.append(keep(item))
            if len(self.kept) > self._most:
                self.kept = self.kept[::2]
                self._stride *= 2
            yield item
