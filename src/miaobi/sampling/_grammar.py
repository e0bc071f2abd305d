"""Grammars over a vocabulary of tokens, on llguidance: which tokens may come next, and how a text can be finished.

An optional dependency: the extra ``constraints``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from miaobi.errors import MissingExtra, RequestError
from miaobi.sampling.token_controls import TokenControls

if TYPE_CHECKING:
    from miaobi.sampling.requests import Output

Words = Sequence[bytes | None]
"""The bytes of each token; ``None`` for one that has no text of its own."""
_CLOSING = b'"]})'
_MOST_SCHEMA = 1_000_000
_NOTHING = b"\xff["


class Alphabet:
    """A vocabulary as llguidance sees it: every token's bytes, and an end.

    Args:
        output: which tokens may be drawn.
        later: bytes of tokens after another one.
        first: bytes of tokens at the start of a text; the same object where that makes no difference.

    Raises:
        MissingExtra: llguidance is not installed.
    """

    def __init__(self, output: Output, later: Words, first: Words) -> None:
        self.size, self.end = output.size, output.end
        silent = {output.end, output.banned, output.unknown}
        forms = [later] if first is later else [later, first]
        words = [None if t in silent or t >= len(form) else form[t] for form in forms for t in range(output.size)]
        # A byte that no UTF-8 text has, which llguidance keeps for tokens without text, makes a word unusable.
        spelled = [
            _NOTHING + b"%d]" % place if not word or b"\xff" in word else word for place, word in enumerate(words)
        ]
        self.shift = output.size if len(forms) > 1 else 0
        self.stop = len(spelled)
        self.rank = _ranks(spelled[: output.size])
        self._engine = _tokenizer([*spelled, _NOTHING + b"end]"])

    def open(self, grammar: str, what: str, *, after: bool = False) -> State:
        """The state before the first token; ``after``: others stand before it, so it is spelled as after them.

        Raises:
            RequestError: not a grammar, or one that nothing satisfies.
        """
        from llguidance import LLMatcher

        matcher = LLMatcher(self._engine, grammar, log_level=0)
        if matcher.is_error():
            reason = matcher.get_error().splitlines()
            raise RequestError(f"the control {what} cannot be used: {' '.join(reason[:2])}", cure="correct it")
        return State(self, matcher, 0 if after else self.shift)


@dataclass(frozen=True, eq=False)
class State:
    """Where in a grammar a text is. ``shift`` leads to the form that the next token has."""

    alphabet: Alphabet
    matcher: Any
    shift: int = 0

    @cached_property
    def mask(self) -> bytes:
        """A bit for each word that may come."""
        return bytes(self.matcher.compute_bitmask())

    @cached_property
    def accepting(self) -> bool:
        """Whether the text may end here."""
        return bool(self.matcher.is_accepting())

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may come, without the end."""
        bits = np.unpackbits(np.frombuffer(self.mask, dtype=np.uint8), bitorder="little")
        allowed = bits[self.shift : self.shift + self.alphabet.size].astype(bool)
        if self.shift and not allowed.any():
            # Where a grammar leaves no choice, the mask names one token, in the form that it has after another.
            words = range(self.shift, self.shift + self.alphabet.size)
            return np.array([self.matcher.validate_tokens([word]) == 1 for word in words])
        return allowed

    def candidates(self, most: int) -> list[int]:
        """Tokens that may come, up to ``most``: first what often closes something, then the shortest."""
        tokens = np.flatnonzero(self.allowed())
        return tokens[np.argsort(self.alphabet.rank[tokens], kind="stable")[:most]].tolist()  # type: ignore[no-any-return]

    def after(self, token: int) -> State | None:
        """One token later; ``None`` where it may not come."""
        matcher = self.matcher.deep_copy()
        if not 0 <= token < self.alphabet.size or not matcher.consume_token(token + self.shift):
            return None
        return State(self.alphabet, matcher)

    def finished_by(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens may come, and the text may end after them."""
        if not tokens:
            return self.accepting
        words = [tokens[0] + self.shift, *tokens[1:], self.alphabet.stop]
        return bool(self.matcher.validate_tokens(words) == len(words))


def grammar_of(controls: TokenControls) -> tuple[str, str]:
    """The grammar of a constraint, and the control that it comes from.

    Raises:
        MissingExtra: llguidance is not installed.
        RequestError: not a JSON schema.
    """
    _require()
    from llguidance import LLMatcher

    if controls.regex is not None:
        return LLMatcher.grammar_from_regex(controls.regex), "regex"
    if controls.choices is not None:
        # Every character as its code point: nothing that a choice holds means anything to a regular expression.
        escaped = ("".join(f"\\x{{{ord(letter):x}}}" for letter in choice) for choice in controls.choices)
        return LLMatcher.grammar_from_regex("|".join(escaped)), "choices"
    schema = json.dumps({**(controls.json_schema or {}), "x-guidance": {"whitespace_flexible": False}})
    if len(schema) > _MOST_SCHEMA:
        raise RequestError("the JSON schema is too long", given=len(schema), allowed=f"{_MOST_SCHEMA} characters")
    try:
        return LLMatcher.grammar_from_json_schema(schema), "json_schema"
    except ValueError as error:
        raise RequestError(f"not a JSON schema: {error}", cure="correct it") from None


def _ranks(words: Sequence[bytes]) -> np.ndarray:
    """A place for each word among all."""
    keys = [(0 if word in _CLOSING else len(word), word) for word in words]
    ranks = np.empty(len(words), dtype=np.int64)
    ranks[sorted(range(len(words)), key=keys.__getitem__)] = np.arange(len(words))
    return ranks


def _tokenizer(words: list[bytes]) -> Any:
    _require()
    from llguidance import LLTokenizer, TokenizerWrapper

    silent = [place for place, word in enumerate(words) if word.startswith(_NOTHING)]
    wrapper = TokenizerWrapper(_Wrapped(words, silent))
    return LLTokenizer(wrapper, n_vocab=len(words), eos_token=len(words) - 1, slices=[])


def _require() -> None:
    try:
        import llguidance  # noqa: F401
    except ImportError:
        raise MissingExtra("a constraint (regex, json_schema or choices)", "constraints") from None


class _Wrapped:
    """What llguidance wants of a tokenizer; it asks for the tokens of text that a grammar leaves no choice about."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], special_token_ids: list[int]) -> None:
        self.tokens, self.special_token_ids = tokens, special_token_ids
        self.eos_token_id = len(tokens) - 1
        self._places = {word: place for place, word in reversed(list(enumerate(tokens)))}
        self._longest = max(len(word) for word in tokens)

    def __call__(self, text: bytes | str) -> list[int]:
        """The longest token again and again, up to the first byte that none begins with."""
        left, places = text.encode() if isinstance(text, str) else text, []
        while left:
            sizes = range(min(self._longest, len(left)), 0, -1)
            size = next((size for size in sizes if left[:size] in self._places), 0)
            if size == 0:
                break
            places.append(self._places[left[:size]])
            left = left[size:]
        return places
