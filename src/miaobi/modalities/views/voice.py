"""One voice of four: what harmony starts from."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.modalities._voices import RANGES
from miaobi.modalities.views._base import View
from miaobi.types import Form, Settings, Spec

_NAMES = tuple(RANGES)
_WRITTEN = 0


class Voice(View):
    """The tokens of one of four interleaved voices, each plus 1, and 0 where the other three are to be written.

    Of a file that a user gives, that voice of it: a melody alone is a soprano. What is given comes back as it is
    (`Spec.partial`).
    """

    class Config(Settings):
        """Which voice is given."""

        part: Literal["soprano", "alto", "tenor", "bass"] = Value("soprano", description="the voice that is given")

    form: ClassVar[Form] = Form.TOKENS
    dims = frozenset()

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        return self.given(values)

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        super().given(values, mask)
        voices = torch.arange(values.shape[1], device=values.device) % len(_NAMES)
        return torch.where(voices == _NAMES.index(self.config.part), values + 1, _WRITTEN)

    def _spec(self, target: Spec) -> Spec:
        if target.streams != len(_NAMES):
            raise Unsupported(
                "the view voice is of four voices side by side",
                given=f"{target.streams} streams",
                allowed=f"{len(_NAMES)}: {', '.join(_NAMES)}",
                cure="give the modality music the tokenizer grid, and data of four voices",
            )
        hold = None if target.hold is None else target.hold + 1
        return Spec(
            Form.TOKENS,
            vocabulary=target.vocabulary + 1,
            max_length=target.max_length,
            streams=target.streams,
            hold=hold,
            partial=True,
        )
