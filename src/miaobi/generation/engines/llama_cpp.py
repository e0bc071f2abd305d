"""llama.cpp (Gerganov 2023), which reads fewer bytes a token than PyTorch: for one stream at a time on a processor."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import MissingExtra, RequestError, RunFailed, Unsupported
from miaobi.export._llama_cpp import LlamaCpp as Opened
from miaobi.families._token_requests import gather
from miaobi.families.autoregressive import Autoregressive
from miaobi.generation.engines._base import DecodingEngine
from miaobi.generation.engines._gguf_files import gguf_of
from miaobi.models import Model
from miaobi.networks import ReadingNetwork
from miaobi.sampling.decoding import Output, Request
from miaobi.sampling.noise import derive_one
from miaobi.types import Field, Samples, Settings

_FOLLOWED = ("max_length", "min_p", "repetition_penalty", "stop", "temperature", "top_k", "top_p")
_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
"""As `TokenControls` are applied; its own order is another."""
_SEEDS = 2**32 - 1
"""The last 32-bit number stands for a seed of its own choice."""
_CHUNK = 8
"""Tokens that it is asked for at once. Its own streams leave out tokens that are a part of a character."""
_LONGEST = 8192


class LlamaCpp(DecodingEngine):
    """One item after another, from token ids to token ids; a published file, or an export that is made once."""

    class Config(Settings):
        """How the file is made and opened."""

        type: Literal["f16", "q8_0"] = Value("f16", description="how an export stores weights")
        context: int | None = Value(
            None, ge=1, le=10**6, description="tokens of the longest sequence; default: the model's, up to 8,192"
        )
        threads: int | None = Value(None, ge=1, le=1024, description="default: as many as PyTorch uses")

    def __init__(self, model: Model, config: Any) -> None:
        super().__init__(model, config)
        if not all(importlib.util.find_spec(package) for package in ("gguf", "xllamacpp")):
            raise MissingExtra("the engine llama.cpp", "llama-cpp")
        if not isinstance(model.family, Autoregressive) or isinstance(model.family.network, ReadingNetwork):
            raise Unsupported(
                "llama.cpp draws the tokens of language models",
                given=type(model.family).__name__,
                cure="use the engine pytorch",
            )

    def require(self, controls: Any) -> None:
        fields = type(controls).model_fields
        changed = [name for name, field in fields.items() if getattr(controls, name) != field.default]
        others = sorted(set(changed) - set(_FOLLOWED))
        if others:
            raise Unsupported(
                "the engine llama.cpp does not follow these controls",
                given=", ".join(others),
                allowed=_FOLLOWED,
                cure="leave them out, or use the engine pytorch",
            )

    def draw(self, request: Request, output: Output) -> Iterator[int]:
        self._check(request)
        return self._draw(request, output, again=True)

    def sample(self, conditions: dict[str, Field], *, prefix: Field | None, controls: Any, seeds: Tensor) -> Samples:
        family: Any = self.model.family
        requests = family.requests(conditions, prefix, None, controls, seeds)
        for request in requests:
            self._check(request)
        # What was computed for the item before would be rounded otherwise than alone.
        drawn = [list(self._draw(request, family.layout.outputs, again=False)) for request in requests]
        return gather(family.layout, requests, [(tokens, float("nan")) for tokens in drawn], family.device)

    def _draw(self, request: Request, output: Output, again: bool) -> Iterator[int]:
        never, chunk = self._never(output), _CHUNK if request.controls.repetition_penalty == 1 else 1
        text = None if request.watch is None else request.watch()
        drawn: list[int] = []
        while len(drawn) < request.limit:
            told = self._opened.complete(
                [*request.tokens, *drawn],
                min(chunk if drawn else 1, request.limit - len(drawn)),
                never,
                cache_prompt=again or bool(drawn),
                seed=derive_one(request.seed, f"llama.cpp {len(drawn)}") % _SEEDS,
                **_settings(request, len(drawn)),
            )
            if not told:
                raise RunFailed("llama.cpp drew nothing", cure="use the engine pytorch")
            # It stops at tokens that end something in other models; only the item's own end ends it.
            for token in told:
                drawn.append(token)
                yield token
                if token == output.end:
                    return
                if text is not None:
                    text.push(token)
                    if text.stopped:
                        return

    @cached_property
    def _file(self) -> Any:
        return gguf_of(self.model, self.config.type)

    @cached_property
    def _opened(self) -> Opened:
        threads = self.config.threads or torch.get_num_threads()
        return Opened(self._file[0], self._context, threads, RunFailed)

    @property
    def _context(self) -> int:
        family: Any = self.model.family
        return int(self.config.context or min(family.layout.port.max_length, _LONGEST))

    def _never(self, output: Output) -> list[int]:
        """What may not be drawn."""
        own = [token for token in (output.banned, output.unknown) if token is not None]
        return [*own, *range(output.size, self._file[1])]

    def _check(self, request: Request) -> None:
        self.require(request.controls)
        if request.constraint is not None or request.source is not None:
            raise Unsupported("the engine llama.cpp keeps items to nothing", cure="use the engine pytorch")
        longest = len(request.tokens) + request.limit
        if longest > self._context:
            raise RequestError(
                "the item may be longer than what llama.cpp was opened for",
                given=f"{longest} tokens",
                allowed=f"up to {self._context}",
                cure="lower the control max_length, or use the engine pytorch",
            )


def _settings(request: Request, drawn: int) -> dict[str, Any]:
    controls = request.controls
    return {
        "temperature": controls.temperature,
        "top_k": controls.top_k or 0,
        "top_p": controls.top_p,
        "min_p": controls.min_p,
        "repeat_penalty": controls.repetition_penalty,
        # The item so far, without what stands before it.
        "repeat_last_n": len(request.tokens) - request.head + drawn,
        "samplers": _ORDER,
    }
