"""The model itself: its family samples, batched, on whatever device it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from miaobi.families import Decoding, Sampling, require
from miaobi.families._token_requests import PREFIXES
from miaobi.generation.engines._base import DecodingEngine
from miaobi.sampling.decoding import Engine, Output, Request
from miaobi.types import Field, Samples


class Pytorch(DecodingEngine):
    """Every family and every control; beginnings of requests that were seen before are not computed again."""

    edits = True

    def require(self, controls: Any) -> None:
        """Nothing: the family refuses what it cannot do."""

    def draw(self, request: Request, output: Output) -> Iterator[int]:
        engine = self._engine(output)
        number = engine.add([request])[0]
        try:
            while len(engine):
                for token in engine.step():
                    yield token.token
        finally:
            engine.remove(number)

    def sample(self, conditions: dict[str, Field], *, prefix: Field | None, controls: Any, seeds: Tensor) -> Samples:
        family = require(self.model.family, Sampling, "generating")
        samples: Samples = family.sample(conditions, prefix=prefix, controls=controls, seeds=seeds)
        return samples

    def _engine(self, output: Output) -> Engine:
        held: tuple[Output, Engine] | None = getattr(self, "_held", None)
        if held is None or held[0] != output:
            family: Any = require(self.model.family, Decoding, "drawing token by token")
            family.eval()
            engine = Engine(family.network, output, slots=1, dtype=family.precision, prefixes=PREFIXES)
            held = self._held = (output, engine)
        return held[1]
