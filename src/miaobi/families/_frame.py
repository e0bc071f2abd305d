"""Token sequences as encoders read them: what is read between a start and an end token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from miaobi.types import Field, Form, Spec


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens of every encoder: after the vocabulary's own stand mask, start and end.

    They are the same, in the same order, whatever the family, so that one can start from another's weights. An absent
    sequence, like an empty one, is a start and an end with nothing between. A stream's windows are framed too: start
    and end are the edges of what is seen.

    Attributes:
        vocabulary: number of tokens of what is read.
    """

    vocabulary: int

    @property
    def mask(self) -> int:
        """Stands for a token that is not shown."""
        return self.vocabulary

    def port(self, spec: Spec) -> Spec:
        """What a network reads for sequences of ``spec``."""
        return Spec(Form.TOKENS, vocabulary=self.vocabulary + 3, max_length=spec.max_length + 2)

    def __call__(self, field: Field) -> tuple[Tensor, Tensor]:
        """A field's sequences, framed: ``tokens [B, L + 2]``, zero where not ``real [B, L + 2]``.

        Token t of a sequence is at t + 1.
        """
        inside = field.mask() & field.is_present()[:, None]
        lengths = inside.sum(1, keepdim=True)
        places = torch.arange(inside.shape[1] + 2, device=inside.device)[None]
        tokens = torch.nn.functional.pad(field.values * inside, (1, 1))
        tokens = tokens.masked_fill(places == 0, self.vocabulary + 1).masked_fill(
            places == lengths + 1, self.vocabulary + 2
        )
        return tokens, places <= lengths + 1


def token_tables(read: str, others: Mapping[str, Spec]) -> dict[str, str]:
    """What `Spelling` asks for, of a family whose one network is an encoder.

    Args:
        read: whose tokens it reads: ``target`` or a condition.
        others: the conditions that its conditioner encodes.
    """
    told = {name for name, spec in others.items() if spec.form is not Form.TENSOR}
    return {
        "network.embed_tokens.weight": read,
        "network.lm_head.weight": read,
        **{f"network.conditioner.encoders.{name}.embedding.weight": name for name in sorted(told)},
    }
