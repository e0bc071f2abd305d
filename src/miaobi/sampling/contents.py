"""What a drawn text has to hold: keywords, and a number of lines, whatever is drawn and whatever the length.

As with a `Constraint`, a way to finish the text within the tokens that are left is known at every step, and a drawn
token is taken only if one is known after it as well. Here that way is written down and not searched for: the keywords
that are missing, then as many short lines. So a text that has them by itself is left as it is, and one that has not
gets them where the limit nears.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from miaobi.errors import RequestError, Unsupported
from miaobi.modalities._scripts import UNSPACED, language

if TYPE_CHECKING:
    from miaobi.sampling.requests import Output
    from miaobi.sampling.spelling import Speller

_FILLERS = (".", "。", "a", "一")


def count_lines(text: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in text.split("\n"))


class Contents:
    """What every text of requests has to hold.

    Args:
        writer: over the model's vocabulary.
        keywords: all of them have to appear, upper and lower case told apart.
        lines: fewest and most lines that are not blank; ``None``: any number.

    Raises:
        RequestError: something that the vocabulary cannot write.
    """

    def __init__(self, writer: Writer, keywords: Sequence[str], lines: tuple[int, int] | None) -> None:
        self.writer, self.lines = writer, lines
        # A longer keyword may hold a shorter one.
        ordered = sorted(keywords, key=len, reverse=True)
        self.keywords = {word.encode(): writer.write(*_spellings(word)) for word in ordered}
        fewest = lines[0] if lines else 0
        self.line_break = writer.write(("\n", "\n")) if fewest > 1 else []
        self.filler = writer.write(*((letter, letter) for letter in _FILLERS)) if fewest else []

    def begin(self, limit: int) -> Holding:
        """For one request of at most ``limit`` drawn tokens.

        Raises:
            RequestError: they do not fit into so many tokens, or into so many lines.
        """
        way = self.way(b"")
        if way is None or len(way) > limit:
            least = "no number of tokens is enough" if way is None else f"at least {len(way)} tokens"
            raise RequestError(
                "the keywords and lines asked for do not fit",
                given=f"{limit} tokens left",
                allowed=least,
                cure="raise the control max_length, or ask for fewer keywords and lines",
            )
        return Holding(self, way, limit)

    def way(self, text: bytes) -> list[int] | None:
        """Tokens after which ``text`` holds everything; ``None`` where no such tokens are known."""
        tokens: list[int] = []
        for word, spelled in self.keywords.items():
            if word not in text:
                tokens += spelled
                text = self.writer.join(text, spelled)
        if self.lines is not None:
            for _ in range(self.lines[0] - count_lines(_decoded(text))):
                added = [*(self.line_break if _line_begun(text) else []), *self.filler]
                tokens += added
                text = self.writer.join(text, added)
        return tokens if self.held(text) else None

    def piece(self, text: bytes) -> list[int]:
        """The beginning of `way` that a text which would end goes on with: a keyword, or a line break."""
        for word, spelled in self.keywords.items():
            if word not in text:
                return spelled
        return self.line_break if _line_begun(text) else []

    def held(self, text: bytes) -> bool:
        """Whether a text holds everything."""
        if self.lines is not None and not self.lines[0] <= count_lines(_decoded(text)) <= self.lines[1]:
            return False
        return all(word in text for word in self.keywords)


class Holding:
    """One request's text so far, and a way to finish it.

    A text that would end too early goes on with a keyword that is missing, or else with a new line.

    Attributes:
        finished: never before the end token or the limit.
    """

    finished = False

    def __init__(self, contents: Contents, way: Sequence[int], left: int) -> None:
        self._contents, self._way, self._left = contents, list(way), left
        self._text = b""
        self._forced: list[int] = []

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: tokens that are not known to be wrong now, and the end, which is then asked for."""
        writer, lines = self._contents.writer, self._contents.lines
        if self._forced:
            return np.asarray(np.arange(len(writer.drawable)) == self._forced[0])
        allowed = writer.drawable.copy()
        allowed[writer.end] = True
        if lines is not None and count_lines(_decoded(self._text)) >= lines[1]:
            allowed &= ~writer.breaking
        return allowed

    def admit(self, token: int) -> bool:
        """Take a drawn token; false if the text could not be finished after it, and the text stays as it is."""
        writer = self._contents.writer
        if token == writer.end:
            return self._contents.held(self._text) or self._go_on()
        if self._forced and token != self._forced[0]:
            return False
        if not 0 <= token < len(writer.drawable) or not writer.drawable[token]:
            return False
        text = writer.join(self._text, [token])
        way = self._way[1:] if self._way[:1] == [token] else self._contents.way(text)
        if way is None or len(way) > self._left - 1:
            return False
        self._text, self._way, self._left = text, way, self._left - 1
        self._forced = self._forced[1:]
        return True

    def _go_on(self) -> bool:
        """False; what is missing comes next, where there is room for it."""
        way = self._contents.way(self._text)
        if not self._forced and way is not None and len(way) <= self._left:
            self._way, self._forced = way, self._contents.piece(self._text)
        return False

    def known(self) -> int:
        """The token that is sure to be admitted."""
        return self._way[0] if self._way else self._contents.writer.end


class Writer:
    """How a vocabulary writes.

    Args:
        speller: the tokenizer.
        output: which tokens may be drawn; the end token is among them.
        after: whether tokens stand before what is drawn.

    Raises:
        Unsupported: there is no end token.
    """

    def __init__(self, speller: Speller, output: Output, *, after: bool) -> None:
        if output.end is None:
            raise Unsupported(
                "keywords and lines are of whole items, and these have no end",
                cure="leave keywords and lines out, or use regex",
            )
        later, first = speller.words()
        silent = {output.end, output.banned, output.unknown}
        known = [token < len(later) and token not in silent for token in range(output.size)]
        self._later = [later[token] or b"" if there else b"" for token, there in enumerate(known)]
        self._first = self._later if after else [first[t] or b"" if there else b"" for t, there in enumerate(known)]
        self._speller, self.end = speller, output.end
        self.drawable = np.array([bool(word) for word in self._later])
        self.breaking = np.array([b"\n" in word for word in self._later])

    def write(self, *spellings: tuple[str, str]) -> list[int]:
        """The tokens of the first spelling that holds its wanted text both at the start of a text and after one.

        Args:
            spellings: what is written, and what of it is wanted.

        Raises:
            RequestError: none does.
        """
        for spelling, wanted in spellings:
            tokens: list[int] = self._speller.encode(spelling).tolist()
            made = [self.join(before, tokens) for before in (b"", b".")] if self.drawable[tokens].all() else [b""]
            if all(wanted.encode() in text for text in made):
                return tokens
        raise RequestError(
            "the model's vocabulary cannot write what a text is asked to hold",
            given=spellings[0][1],
            cure="ask for keywords and lines made of characters that the model was trained on",
        )

    def join(self, text: bytes, tokens: Sequence[int]) -> bytes:
        """A text with tokens after it."""
        if not tokens:
            return text
        words = self._later if text else self._first
        return text + words[tokens[0]] + b"".join(self._later[token] for token in tokens[1:])


def _spellings(keyword: str) -> list[tuple[str, str]]:
    """A keyword after a space where its script has them, and as it is."""
    alone = (keyword, keyword)
    return [alone] if language(keyword[0]) in UNSPACED else [(f" {keyword}", keyword), alone]


def _line_begun(text: bytes) -> bool:
    """Whether the last line is not blank."""
    return bool(_decoded(text).rpartition("\n")[2].strip())


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
