"""The character tokenizer: one id a Unicode character, vectorised, lossless where its vocabulary covers the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from miaobi.errors import CorruptFile
from miaobi.modalities._state import read_json, write_json
from miaobi.modalities._tokenizers import REPLACEMENT, Tokenizer

UNKNOWN = 0
"""The id of every character outside the vocabulary."""
_FILE = "characters.json"
_CODE_POINTS = 0x110000
_STRETCH = 1 << 20


class Characters(Tokenizer):
    """Characters by id, most frequent first, after the unknown character 0.

    Args:
        characters: the known characters in id order (id 1 first), without repetition and without U+FFFD, which is how
            the unknown character is written.
    """

    unknown = UNKNOWN

    def __init__(self, characters: str) -> None:
        self._codes = _codes(REPLACEMENT + characters)
        self.size = len(self._codes)
        # One entry past the largest known code point catches every larger one.
        self._ids = np.zeros(int(self._codes.max()) + 2, dtype=np.int64)
        self._ids[self._codes] = np.arange(self.size)
        self._ids[ord(REPLACEMENT)] = UNKNOWN

    @classmethod
    def learn(cls, texts: Iterable[str], vocabulary: int) -> Characters:
        """The ``vocabulary - 1`` most frequent characters of ``texts``; equally frequent ones by code point."""
        counts = np.zeros(_CODE_POINTS, dtype=np.int64)
        for stretch in _stretches(texts):
            counts += np.bincount(_codes(stretch), minlength=_CODE_POINTS)
        counts[[ord(REPLACEMENT), *range(0xD800, 0xE000)]] = 0
        found = np.flatnonzero(counts)
        order = np.argsort(-counts[found], kind="stable")
        return cls("".join(map(chr, found[order][: vocabulary - 1])))

    @classmethod
    def load(cls, folder: Path) -> Characters:
        """Read what `save` wrote.

        Raises:
            CorruptFile: not a set of characters.
        """
        characters = read_json(folder / _FILE).get("characters")
        if not isinstance(characters, str) or len(set(characters)) != len(characters) or REPLACEMENT in characters:
            raise CorruptFile(f"{folder / _FILE} does not hold distinct characters", given=characters)
        return cls(characters)

    def save(self, folder: Path) -> None:
        write_json(folder / _FILE, {"characters": _text(self._codes[1:])})

    def pieces(self, text: str) -> Iterator[np.ndarray]:
        for start in range(0, len(text), _STRETCH):
            codes = _codes(text[start : start + _STRETCH])
            yield self._ids[np.minimum(codes, len(self._ids) - 1)]

    def decode(self, ids: np.ndarray) -> str:
        ids = np.asarray(ids, dtype=np.int64)
        return _text(self._codes[np.where((ids >= 0) & (ids < self.size), ids, UNKNOWN)])

    def covered(self, text: str, count: int) -> int:
        return min(len(text), count)

    def token_bytes(self, token: int) -> bytes:
        return self.decode(np.array([token])).encode()

    @property
    def newline(self) -> int | None:
        return int(self._ids[ord("\n")]) or None


def _stretches(texts: Iterable[str]) -> Iterator[str]:
    """Texts joined or cut to about a million characters, so that counting costs little a text."""
    held: list[str] = []
    size = 0
    for text in texts:
        for start in range(0, len(text), _STRETCH):
            held.append(text[start : start + _STRETCH])
            size += len(held[-1])
            if size >= _STRETCH:
                yield "".join(held)
                held, size = [], 0
    yield "".join(held)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _text(codes: np.ndarray) -> str:
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le")
