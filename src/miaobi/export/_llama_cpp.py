"""llama.cpp, as xllamacpp embeds it: greedy tokens, probabilities, and the ids of a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from miaobi.errors import ExportFailed

_TOP = 256
_CERTAIN = 1e4
"""Added to a logit, it makes a token sure to be drawn; the probabilities told are those before."""
_SECONDS = 300
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
        import xllamacpp  # type: ignore[import-untyped, import-not-found, unused-ignore]

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

    def draw(self, prompt: Sequence[int], count: int, never: Sequence[int]) -> list[int]:
        """At most ``count`` greedy tokens after a prompt of ids, without those in ``never``, with the end token."""
        told = self._ask(
            "/completion",
            prompt=list(prompt),
            n_predict=count,
            return_tokens=True,
            logit_bias=[[token, False] for token in never],
        )
        found: list[int] = list(told["tokens"])
        return found

    def log_probabilities(self, prompt: Sequence[int], forced: int) -> dict[int, float]:
        """Those of the 256 most likely tokens after a prompt, by id.

        Args:
            prompt: token ids.
            forced: a token that is text by itself, which is drawn: of one that is half a character nothing is told.
        """
        told = self._ask("/completion", prompt=list(prompt), n_predict=1, n_probs=_TOP, logit_bias=[[forced, _CERTAIN]])
        top = told["completion_probabilities"][0]["top_logprobs"]
        return {int(one["id"]): float(one["logprob"]) for one in top}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without a begin token."""
        found: list[int] = self._ask("/tokenize", content=text, add_special=False, parse_special=True)["tokens"]
        return found

    def _ask(self, path: str, **request: Any) -> dict[str, Any]:
        """What the embedded server answers; its native requests tell every token's id, which the library's do not."""
        place = urlsplit(self._server.listening_address)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=_SECONDS)
        try:
            body = json.dumps({"temperature": 0.0, "seed": 0, "cache_prompt": False, **request})
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            told: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            raise ExportFailed(f"llama.cpp does not answer: {error!r}", given=path) from None
        finally:
            connection.close()
        if "error" in told:
            raise ExportFailed("llama.cpp cannot compute the export", given=told["error"])
        return told
