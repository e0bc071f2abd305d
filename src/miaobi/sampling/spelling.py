"""Controls in terms of text, for families that know tokens only: what each means for the tokens of a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from miaobi.errors import RequestError, Unsupported
from miaobi.sampling._grammar import Alphabet, Words, grammar_of
from miaobi.sampling.constraints import Constraint
from miaobi.sampling.contents import Contents, Writer
from miaobi.sampling.requests import Output
from miaobi.sampling.streaming import Streamer, TextStream
from miaobi.sampling.token_controls import TokenControls


class Speller(Hashable, Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str) -> np.ndarray:
        """The tokens of a text."""

    def words(self) -> tuple[Words, Words]:
        """The bytes of every token after another one, and at the start of a text."""

    def streamer(self) -> Streamer:
        """A fresh incremental decoder."""


class Spelling:
    """The text of a family's tokens.

    Args:
        speller: ``None`` where the tokens are not those of a text: then controls of text are refused.
        output: which tokens may be drawn.
    """

    def __init__(self, speller: Speller | None, output: Output) -> None:
        self._speller, self._output = speller, output

    @property
    def speller(self) -> Speller:
        """The tokenizer.

        Raises:
            Unsupported: there is none.
        """
        if self._speller is None:
            raise Unsupported(
                "these tokens are not the tokens of a text",
                allowed="controls of text and streaming for models of text that were loaded with their modality",
                cure="leave regex, json_schema, choices, keywords, lines, stop and text_bias out",
            )
        return self._speller

    def bias(self, controls: TokenControls) -> dict[int, float]:
        """By token, from ``logit_bias`` and ``text_bias`` (added up where both name a token).

        Raises:
            RequestError: an id outside the vocabulary, or a text that is not one token.
        """
        bias = dict(controls.logit_bias)
        for token in bias:
            if not 0 <= token < self._output.size:
                raise RequestError("logit_bias: no such token", given=token, allowed=f"0 to {self._output.size - 1}")
        for text, value in controls.text_bias.items():
            tokens = self.speller.encode(text)
            if len(tokens) != 1 or int(tokens[0]) == self._output.unknown:
                raise RequestError(
                    "text_bias: not the text of one token of this model",
                    given=text,
                    cure="give token ids in logit_bias",
                )
            bias[int(tokens[0])] = bias.get(int(tokens[0]), 0.0) + value
        return bias

    def constraint(self, controls: TokenControls, *, after: bool) -> Constraint | Contents | None:
        """What drawn text must be or hold, where anything; ``after``: whether tokens stand before it.

        Raises:
            MissingExtra: llguidance is not installed.
            RequestError: a constraint that means nothing or that nothing satisfies.
            Unsupported: keywords or lines of a text without an end.
        """
        if controls.holding:
            return _contents(self.speller, self._output, controls.keywords, controls.lines, after)
        if not controls.constrained:
            return None
        key = (controls.regex, controls.choices, json.dumps(controls.json_schema))
        return _constraint(self.speller, self._output, _Key(controls, key), after)

    def watch(self, controls: TokenControls, prefix: Sequence[int]) -> Callable[[], TextStream] | None:
        """Makes the text that stop strings end; ``None`` without stop strings."""
        if not controls.stop:
            return None
        speller = self.speller
        return lambda: TextStream(speller.streamer(), controls.stop, prefix)


class _Key:
    """Controls that are equal where their constraints are."""

    def __init__(self, controls: TokenControls, key: tuple[object, ...]) -> None:
        self.controls, self._key = controls, key

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._key == other._key


@lru_cache(maxsize=16)
def _contents(
    speller: Speller, output: Output, keywords: tuple[str, ...], lines: tuple[int, int] | None, after: bool
) -> Contents:
    return Contents(Writer(speller, output, after=after), keywords, lines)


@lru_cache(maxsize=4)
def _alphabet(speller: Speller, output: Output) -> Alphabet:
    return Alphabet(output, *speller.words())


@lru_cache(maxsize=64)
def _constraint(speller: Speller, output: Output, key: _Key, after: bool) -> Constraint:
    grammar, what = grammar_of(key.controls)
    return Constraint(_alphabet(speller, output).open(grammar, what, after=after), what)
