"""llama.cpp, as xllamacpp embeds it: greedy tokens with their probabilities, and the ids of a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from miaobi.errors import ExportFailed

_TOP = 64
_SECONDS = 60
_CACHE_MARGIN = 8


class LlamaCpp:
    """A model file, opened.

    Args:
        path: of the file.
        context: tokens of the longest sequence.

    Raises:
        ExportFailed: llama.cpp cannot read it.
    """

    def __init__(self, path: Path, context: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel, params.n_ctx = 1, context + _CACHE_MARGIN
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
        params.verbosity = -1
        params.warmup = False
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise ExportFailed(f"llama.cpp cannot read the export: {error}", given=path.name) from None

    def draw(self, prompt: Sequence[int], count: int, never: Sequence[int]) -> list[dict[int, float]]:
        """Greedy tokens after a prompt of ids: for each, log-probabilities by id, the drawn token's first.

        Probabilities are those before ``never`` is taken out; at most 64 and the drawn one's are given.
        """
        if count < 1:
            return []
        answer = self._server.handle_completions(
            {
                "prompt": list(prompt),
                "n_predict": count,
                "temperature": 0.0,
                "n_probs": _TOP,
                "cache_prompt": False,
                "logit_bias": [[token, False] for token in never],
                "seed": 0,
            }
        )
        told = json.loads(answer) if isinstance(answer, str) else answer
        try:
            steps = told["choices"][0]["logprobs"]["content"]
            return [_step(step) for step in steps]
        except (KeyError, TypeError, IndexError):
            raise ExportFailed("llama.cpp draws nothing from the export", given=told) from None

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without a begin token."""
        place = urlsplit(self._server.listening_address)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=_SECONDS)
        try:
            body = json.dumps({"content": text, "add_special": False, "parse_special": True})
            connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
            found: list[int] = json.loads(connection.getresponse().read())["tokens"]
        finally:
            connection.close()
        return found


def _step(step: Any) -> dict[int, float]:
    others = {int(one["id"]): float(one["logprob"]) for one in step["top_logprobs"]}
    return {int(step["id"]): float(step["logprob"])} | others
