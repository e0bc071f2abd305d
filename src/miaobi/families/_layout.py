"""How an item and its conditions become one sequence of a decoder-only network.

For each condition, in the order of names: its opening token, then its label's token, its text's tokens, or its null
token where it is absent. Then the begin token, the target and the end token (none after a target of fixed length). A
stream without conditions is its tokens alone. Only the target and its end are predicted.

The network's vocabulary is the target's, then what is added here: end and begin (unless the tokenizer has its own), and
for each condition its opening, its null, and its labels or its own tokens (a text condition that shares the target's
tokenizer keeps the target's numbers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.sampling.decoding import Output
from miaobi.types import Batch, Field, Form, Spec

Piece = tuple[Tensor, Tensor]
"""Values and a mask of what is real, each ``[B, L]``."""


@dataclass(frozen=True)
class Slot:
    """A condition's tokens: ``offset`` is added to its values."""

    opening: int
    null: int
    offset: int


class Layout:
    """Numbers of the special tokens, and sequences of batches.

    Raises:
        Unsupported: a target that is not tokens, or a condition that is neither tokens nor a label.
    """

    def __init__(self, target: Spec, conditions: Mapping[str, Spec]) -> None:
        _refuse_tensors(target, conditions)
        self.target, self.conditions = target, dict(sorted(conditions.items()))
        self._next = target.vocabulary
        begins = not target.stream or bool(conditions)
        self.end = None if target.stream or target.fixed else self._given(target.end)
        banned = None if target.stream or target.begin == self.end else target.begin
        self.outputs = Output(self._next, end=self.end, banned=banned, unknown=target.unknown)
        self.begin = self._given(None if target.stream else target.begin) if begins else None
        self.slots = {name: self._slot(spec) for name, spec in self.conditions.items()}
        self.vocabulary = self._next
        self.span = self._span()

    @property
    def port(self) -> Spec:
        """What the network reads and writes; interleaved streams are told where one token stands before them."""
        told = {"streams": self.target.streams, "hold": self.target.hold} if self.begin is not None else {}
        own = {} if self.slots else told
        return Spec(Form.TOKENS, vocabulary=self.vocabulary, max_length=self.span, **own)  # type: ignore[arg-type]

    def sequence(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The whole sequence of each item.

        Returns:
            ``tokens [B, L]`` int64, right-padded with zero, and ``weight [B, L]`` float32: how much each token's
            prediction counts (zero for conditions, padding and whatever has nothing before it).
        """
        head, head_mask = self.head(batch.conditions, len(batch), batch.target.values.device)
        values, mask = batch.target.values, batch.target.mask()
        weight = mask.float() if batch.target.weight is None else mask * batch.target.weight
        pieces = [(head, head_mask), (values, mask)]
        weights = [torch.zeros_like(head, dtype=weight.dtype), weight]
        if self.end is not None:
            pieces.append(_constant(self.end, values))
            weights.append(weight.new_ones(len(batch), 1))
        tokens, real, weight = _join(pieces, torch.cat(weights, 1))
        if self.target.stream:
            weight[torch.arange(len(batch)), head_mask.sum(1).clamp(max=weight.shape[1] - 1)] = 0
        return tokens * real, weight * real

    def head(self, conditions: Mapping[str, Field], rows: int, device: torch.device) -> Piece:
        """What stands before the target: tokens and mask ``[B, P]``, real ones first.

        Raises:
            UnknownName: a condition that the model was not built for.
        """
        self.require_known(conditions)
        like = torch.zeros(rows, 1, dtype=torch.int64, device=device)
        pieces = [piece for name in self.slots for piece in self._condition(name, conditions.get(name), like)]
        if self.begin is not None:
            pieces.append(_constant(self.begin, like))
        if not pieces:
            return like[:, :0], like[:, :0].bool()
        return self.join(pieces)

    def require_known(self, conditions: Mapping[str, Field]) -> None:
        """Refuse a condition that the model was not built for.

        Raises:
            UnknownName: there is one.
        """
        for name in conditions:
            if name not in self.slots:
                cure = "use the conditions that the model was trained with"
                raise UnknownName("condition", name, self.slots, cure=cure)

    @staticmethod
    def join(pieces: list[Piece]) -> Piece:
        """Pieces end to end, with what is real moved to the left and surplus columns cut."""
        tokens, real, _ = _join(pieces, None)
        return tokens, real

    def _condition(self, name: str, field: Field | None, like: Tensor) -> list[Piece]:
        slot = self.slots[name]
        opening, null = _constant(slot.opening, like), _constant(slot.null, like)
        if field is None:
            return [opening, null]
        label = self.conditions[name].form is Form.LABEL
        values = field.values[:, None] if label else field.values
        mask = torch.ones_like(values, dtype=torch.bool) if label else field.mask()
        present = field.is_present()[:, None]
        return [opening, (values + slot.offset, mask & present), (null[0], ~present)]

    def _given(self, own: int | None) -> int:
        return self._take(1) if own is None else own

    def _take(self, count: int) -> int:
        first = self._next
        self._next += count
        return first

    def _slot(self, spec: Spec) -> Slot:
        opening, null = self._take(1), self._take(1)
        return Slot(opening, null, 0 if spec.shared else self._take(spec.vocabulary))

    def _span(self) -> int:
        conditions = sum(1 + max(1, spec.size) for spec in self.conditions.values())
        return conditions + (self.begin is not None) + self.target.max_length + (self.end is not None)


def _refuse_tensors(target: Spec, conditions: Mapping[str, Spec]) -> None:
    if target.form is not Form.TOKENS:
        raise Unsupported(
            "token families generate tokens",
            given=f"a {target.form} target",
            cure="choose a tensor family (vae, gan), or turn the target into tokens",
        )
    for name, spec in conditions.items():
        if spec.form is Form.TENSOR:
            raise Unsupported(
                f"condition {name!r}: a prefix is made of labels and tokens",
                given=f"a tensor of {spec.channels} channels",
                cure="give it as a label or as text, or choose a family whose network encodes tensors",
            )


def _constant(token: int, like: Tensor) -> Piece:
    values = torch.full_like(like[:, :1], token)
    return values, torch.ones_like(values, dtype=torch.bool)


def _join(pieces: list[Piece], along: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Pieces end to end with what is real moved to the left and surplus columns cut; ``along`` moves with them."""
    values = torch.cat([piece[0] for piece in pieces], 1)
    real = torch.cat([piece[1] for piece in pieces], 1)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(real.sum(1).max())]
    along = real if along is None else along
    return values.gather(1, order), real.gather(1, order), along.gather(1, order)
