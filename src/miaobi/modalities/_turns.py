"""Dialogues as one sequence of tokens: which of them a model is to learn, and who said what in those that it writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miaobi.errors import DataError, Unsupported
from miaobi.modalities._dialogue import CHATML, ROLES, SLOT, Message, Role, dialogue_parts, render_chat, slot, turn_end
from miaobi.modalities._subwords import Subwords

_NEXT: dict[Role, Role] = {"system": "user", "user": "assistant", "assistant": "user"}
MARKS = ("<|im_start|>", "<|im_end|>")
"""The special tokens of ChatML."""


class Turns:
    """How a tokenizer's chat template divides a sequence of tokens into turns.

    Args:
        tokenizer: one without a template is given ChatML, whose marks it knows or that its own end token ends.

    Attributes:
        end: the token that ends an answer.

    Raises:
        Unsupported: nothing ends an answer.
    """

    def __init__(self, tokenizer: Subwords) -> None:
        if tokenizer.chat_template is None:
            tokenizer.chat_template = _chatml(tokenizer)
        self._tokenizer = tokenizer
        system, user, assistant = (Message(role, slot(0)) for role in ROLES)
        plain, told = self._between([user, assistant, user]), self._between([system, user, assistant])
        openings: list[tuple[Role, list[int]]] = [("user", plain[0]), ("system", told[0])]
        # One may be the beginning of the other: a template may write a system message of its own, or wrap the user's.
        self._openings = sorted(openings, key=lambda opening: -len(opening[1]))
        self._after: dict[Role, list[int]] = {"system": told[1], "user": plain[1], "assistant": plain[2]}
        end = turn_end(tokenizer)
        if end is None or end not in self._between([user, assistant])[2]:
            raise Unsupported(
                "the chat template ends an answer with no token of its own",
                given=tokenizer.chat_template,
                cure="name a modality.tokenizer whose template does",
            )
        self.end = end

    def learnt(self, messages: Sequence[Message]) -> tuple[np.ndarray, np.ndarray]:
        """A dialogue ``int64 [L]`` up to the end token of its last answer, and whether each token is learnt, bool.

        Learnt are the answers, each with all that follows it up to its end token.

        Raises:
            InvalidRecipe: the template cannot be used.
            DataError: it leaves the answers out.
        """
        tokens: list[np.ndarray] = []
        marks: list[np.ndarray] = []
        answered = False
        for number, part in dialogue_parts(self._tokenizer, messages, answer=False):
            mark = np.zeros(len(part), dtype=bool)
            if number is not None:
                answered = messages[number].role == "assistant"
                mark[:] = answered
            elif answered:
                mark[: part.tolist().index(self.end) + 1 if self.end in part else 0] = True
            tokens.append(part)
            marks.append(mark)
        together, learnt = np.concatenate(tokens), np.concatenate(marks)
        if not learnt.any():
            raise DataError("the chat template leaves the answers of this dialogue out", cure="leave the dialogue out")
        last = int(np.flatnonzero(learnt)[-1])
        return together[:last], learnt[:last]

    def read(self, tokens: np.ndarray) -> tuple[Message, ...]:
        """Who said what: the inverse of `learnt`, and of `dialogue_tokens`, whose open answer comes out empty.

        Tokens that do not begin as the template has it are one answer.
        """
        found = tokens.tolist()
        nothing: tuple[Role, list[int]] = ("assistant", [])
        role, opening = next((one for one in self._openings if found[: len(one[1])] == one[1]), nothing)
        place, made = len(opening), []
        while True:
            after = self._after[role]
            stop = _find(found, after, place)
            text = self._tokenizer.decode(tokens[place : len(found) if stop is None else stop])
            made.append(Message(role, text))
            if stop is None:
                return tuple(made)
            role, place = _NEXT[role], stop + len(after)

    def _between(self, messages: Sequence[Message]) -> list[list[int]]:
        """The tokens before, between and after the texts of messages."""
        rendered = render_chat(self._tokenizer, messages, answer=False)
        return [self._tokenizer.encode_markup(part).tolist() for part in SLOT.split(rendered)[::2]]


def _chatml(tokenizer: Subwords) -> str:
    special = set(tokenizer.special)
    if all(set(tokenizer.encode_markup(mark).tolist()) <= special for mark in MARKS):
        return CHATML
    if tokenizer.end is None:
        raise Unsupported(
            "the tokenizer has no token that could end an answer",
            cure="name a modality.tokenizer with a chat template or an end token",
        )
    return CHATML.replace(MARKS[1], tokenizer.spelled(tokenizer.end))


def _find(found: list[int], wanted: list[int], start: int) -> int | None:
    """Where ``wanted`` first stands at or after ``start``; a run of nothing stands nowhere."""
    if not wanted:
        return None
    last = len(found) - len(wanted)
    places = (place for place in range(start, last + 1) if found[place] == wanted[0])
    return next((place for place in places if found[place : place + len(wanted)] == wanted), None)
