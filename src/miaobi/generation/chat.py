"""`Chat`: a dialogue with a model whose publisher taught it one, answer by answer, as it is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from miaobi.errors import DataError, InvalidRecipe, Unsupported
from miaobi.families._layout import Layout
from miaobi.families._template import Template, Templated
from miaobi.families._token_requests import make_requests
from miaobi.families.autoregressive import Autoregressive
from miaobi.generation.engines import DecodingEngine, open_engine
from miaobi.generation.pipeline import check_numbers
from miaobi.modalities._subwords import Subwords
from miaobi.modalities.chat import Chat as Dialogues
from miaobi.models import Model, opened
from miaobi.networks import ReadingNetwork
from miaobi.prompting import Message, dialogue_tokens, turn_end
from miaobi.sampling.decoding import Request
from miaobi.sampling.noise import seeds_of
from miaobi.sampling.streaming import TextStream
from miaobi.types import Field

LONGEST = 512
"""Tokens of an answer, where the control max_length does not say."""
USUAL = {"max_length": LONGEST, "temperature": 0.7, "top_p": 0.9}
"""Controls of a dialogue where nothing is said; a temperature of 0 goes without ``top_p``."""


@dataclass
class Pace:
    """How fast an answer came: seconds to its first token, tokens, and seconds of the others."""

    first: float = 0.0
    tokens: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = (self.tokens - 1) / self.seconds if self.seconds else 0.0
        return f"{self.tokens} tokens, the first after {self.first:.2f} s, then {rate:.0f} a second"


@dataclass
class Chat:
    """A dialogue. When it outgrows the model's context, its oldest turns are left out of what the model sees.

    Args:
        model: a loaded model, or what `miaobi.load` takes.
        system: what the model is to be; ``None`` leaves that to its template.
        controls: how answers are drawn; ``max_length`` counts an answer's tokens alone.
        engine: what computes, as for `miaobi.generate`.
        seed: answer i depends on it, on i and on what was said.

    Attributes:
        messages: all that was said.
        left_out: how many of them the last answer was made without.
        pace: of the last answer.

    Raises:
        Unsupported: a model that writes no text, or was taught no dialogue.
        InvalidRecipe: a control that it does not understand.
    """

    model: Model | str | Path
    system: str | None = None
    controls: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    engine: str | DecodingEngine = "pytorch"

    def __post_init__(self) -> None:
        check_numbers(1, self.seed)
        self.model = opened(self.model)
        self._family, self._tokenizer = _talking(self.model)
        usual = {"max_length": LONGEST} if self.controls.get("temperature") == 0 else USUAL
        said = {**usual, **self.controls}
        self._chosen = type(self._family).Controls.parse(said, "control")
        if self._chosen.best_of > 1 or self._chosen.beams is not None:
            raise InvalidRecipe("answers are drawn as they are written", given="best_of or beams", cure="leave it out")
        self.messages: list[Message] = [] if self.system is None else [Message("system", self.system)]
        self.left_out, self.pace = 0, Pace()
        self._drawing = open_engine(self.engine, self.model)
        self._drawing.require(self._chosen)
        self._layout = self._lay_out(self.model)

    def say(self, text: str) -> Iterator[str]:
        """Say something; pieces of the answer as they are written. It is remembered when the last one was taken.

        Raises:
            DataError: nothing was said, or more than the model's context holds.
        """
        if not text.strip():
            raise DataError("nothing was said", cure="write something")
        asked = Message("user", text)
        return self._answer(asked, self._tokens(asked))

    def _answer(self, asked: Message, tokens: torch.Tensor) -> Iterator[str]:
        turn = sum(message.role == "user" for message in self.messages)
        controls = self._chosen.model_copy(update={"max_length": len(tokens) + (self._chosen.max_length or LONGEST)})
        began = time.perf_counter()
        self.pace = Pace()
        seeds = seeds_of(self.seed, range(turn, turn + 1))
        prefix = Field(tokens[None])
        request = make_requests(self._layout, {}, prefix, None, controls, seeds, self._tokenizer)[0]
        text = TextStream(self._tokenizer.streamer(), controls.stop)
        parts: list[str] = []
        try:
            for piece in self._drawn(request, text, began):
                parts.append(piece)
                yield piece
        finally:
            # Both or none: a question whose answer was never begun would leave the turns in disorder.
            if parts:
                self.messages += [asked, Message("assistant", "".join(parts))]

    def _drawn(self, request: Request, text: TextStream, began: float) -> Iterator[str]:
        for token in self._drawing.draw(request, self._layout.outputs):
            now = time.perf_counter()
            self.pace.first = self.pace.first or now - began
            self.pace.tokens += 1
            self.pace.seconds = now - began - self.pace.first
            piece = "" if token == self._layout.end else text.push(token)
            if piece:
                yield piece
        piece = text.finish()
        if piece:
            yield piece

    def _lay_out(self, model: Model) -> Layout:
        """A model of dialogues has its own layout; another is begun as its publisher begins a text."""
        if isinstance(model.modality, Dialogues):
            return self._family.layout
        tokenizer = self._tokenizer
        begin = (tokenizer.begin,) if tokenizer.begins and tokenizer.begin is not None else ()
        return Templated(self._family.target, {}, Template(opening=begin, end=turn_end(tokenizer)))

    def _tokens(self, asked: Message) -> torch.Tensor:
        """The dialogue up to its next answer, without as many of its oldest turns as there is no room for."""
        limit = self._family.network.limit
        room = None if limit is None else limit - min(limit // 2, self._chosen.max_length or LONGEST)
        said = [*self.messages, asked]
        first = 1 if said[0].role == "system" else 0
        for left_out in range(0, len(said) - first, 2):
            kept = [*said[:first], *said[first + left_out :]]
            tokens = torch.from_numpy(dialogue_tokens(self._tokenizer, kept))
            if room is None or len(tokens) <= room:
                self.left_out = left_out
                return tokens
        raise DataError(
            "what was said is longer than the model's context",
            given=f"{len(tokens)} tokens",
            allowed=f"{room}, which leaves room for an answer",
            cure="say less at once, or lower the control max_length",
        )


def _talking(model: Model) -> tuple[Autoregressive, Subwords]:
    family, tokenizer = model.family, model.modality.tokenizer
    if not isinstance(family, Autoregressive) or isinstance(family.network, ReadingNetwork):
        raise Unsupported(
            "this model does not go on from what was said",
            given=type(family).__name__,
            cure="chat with a language model, e.g. starter:smollm2",
        )
    if not isinstance(tokenizer, Subwords) or tokenizer.chat_template is None:
        raise Unsupported(
            "this model was taught no dialogue: its tokenizer has no chat template",
            cure="use generate with --prompt, or a model that was tuned on dialogues",
        )
    return family, tokenizer
