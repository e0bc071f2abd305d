"""The target's embedding by a frozen part: what unCLIP's decoder starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.modalities._represented import EMBEDDINGS, Codec
from miaobi.modalities.views._base import View
from miaobi.types import Field, Settings, Spec


class Embedding(View):
    """``[B, D]``; of a picture that a user gives, that picture's, which makes variations of it.

    Ramesh et al. 2022, "Hierarchical text-conditional image generation with CLIP latents".
    """

    class Config(Settings):
        """Which part."""

        part: str = Value(description="a part of the recipe that embeds its targets")

    dims = frozenset({0, 1, 2, 3})
    _codec: Codec | None = None

    def bind(self, parts: Mapping[str, Any]) -> View:
        """
        Raises:
            UnknownName: no such part.
            InvalidRecipe: the part does not embed.
        """
        name = self.config.part
        if name not in parts:
            raise UnknownName("part", name, parts, cure="name it under model.parts")
        if EMBEDDINGS not in parts[name].specs():
            raise InvalidRecipe(f"the part {name} does not embed its targets", allowed=list(parts[name].specs()))
        self._codec = parts[name]
        return self

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        return self.given(values)

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        super().given(values, mask)
        return self._bound().represent(Field(values), EMBEDDINGS)

    def _spec(self, target: Spec) -> Spec:
        return self._bound().specs()[EMBEDDINGS]

    def _bound(self) -> Codec:
        if self._codec is None:
            raise InvalidRecipe("the view embedding has no part yet", given=self.config.part, cure="bind it to a part")
        return self._codec
