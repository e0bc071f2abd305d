"""A layout with words of its own around the conditions, as a public model was taught to expect them.

Where `Layout` invents special tokens, this one takes what a template says: runs of the tokenizer's own tokens, and
between them the conditions' tokens. So the network's vocabulary is the tokenizer's, and nothing new has to be learnt.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._layout import Layout, Piece
from miaobi.sampling.decoding import Output
from miaobi.types import Field, Form, Settings, Spec


class Template(Settings):
    """A template whose words are tokens already; ``miaobi.prompting`` makes it from a text."""

    opening: tuple[int, ...] = Value((), description="tokens that stand first, once")
    pieces: tuple[tuple[int, ...] | str, ...] = Value((), description="tokens, or the name of a condition")
    between: tuple[int, ...] = Value((), description="tokens between an answer and the next example")
    answers: tuple[tuple[int, ...], ...] = Value((), description="of a target that is a label: each class's tokens")
    labels: dict[str, tuple[tuple[int, ...], ...]] = Value({}, description="of a label: the tokens of each class")
    end: int | None = Value(None, ge=0, description="the token that ends an item; default: the tokenizer's own")
    context: int | None = Value(None, ge=1, description="the longest sequence that the network was made for")


class Templated(Layout):
    """`Layout` under a template; an absent condition leaves its place empty.

    Raises:
        InvalidRecipe: a piece that is no condition, or a condition that is in no piece.
        Unsupported: a label without tokens, conditions with another tokenizer, or items that are too long.
    """

    def __init__(self, target: Spec, conditions: Mapping[str, Spec], template: Template) -> None:
        self.template = template
        super().__init__(target, conditions)
        self.begin = None
        end = template.end if template.end is not None else target.end
        self.end = None if target.stream else end
        self.outputs = Output(target.vocabulary, end=self.end, unknown=target.unknown)
        self.vocabulary = target.vocabulary
        self._check()
        self.opened = (template.opening, *template.pieces) if template.opening else template.pieces
        self.span = sum(self._size(piece) for piece in self.opened) + target.max_length + (self.end is not None)
        if template.context is not None and self.span > template.context:
            raise Unsupported(
                "items with their template may be longer than what the model was made for",
                given=f"{self.span} tokens",
                allowed=f"{template.context}",
                cure="lower modality.max_length: longer items are then cut, and the data report says how many",
            )

    @property
    def port(self) -> Spec:
        """What the network reads and writes."""
        longest = self.template.context or self.span
        return Spec(Form.TOKENS, vocabulary=self.vocabulary, max_length=longest)

    def head(self, conditions: Mapping[str, Field], rows: int, device: torch.device) -> Piece:
        self.require_known(conditions)
        like = torch.zeros(rows, 1, dtype=torch.int64, device=device)
        pieces = [self._told(piece, conditions, like) for piece in self.opened]
        if not pieces:
            return like[:, :0], like[:, :0].bool()
        return self.join(pieces)

    def _told(self, piece: tuple[int, ...] | str, conditions: Mapping[str, Field], like: Tensor) -> Piece:
        if not isinstance(piece, str):
            values = like.new_tensor(piece).expand(len(like), -1)
            return values, torch.ones_like(values, dtype=torch.bool)
        field = conditions.get(piece)
        if field is None:
            return like[:, :0], like[:, :0].bool()
        present = field.is_present()[:, None]
        if self.conditions[piece].form is Form.LABEL:
            values, mask = _table(self.template.labels[piece], like)
            return values[field.values], mask[field.values] & present
        return field.values, field.mask() & present

    def _size(self, piece: tuple[int, ...] | str) -> int:
        if not isinstance(piece, str):
            return len(piece)
        if self.conditions[piece].form is Form.LABEL:
            return max(map(len, self.template.labels[piece]), default=0)
        return self.conditions[piece].max_length

    def _check(self) -> None:
        named = [piece for piece in self.template.pieces if isinstance(piece, str)]
        for name in {*named} ^ {*self.conditions}:
            raise InvalidRecipe(
                "the template and the data have different conditions",
                given=f"{name} is in {'the template' if name in named else 'the data'} alone",
                cure="give model.prompt a {{ field }} for each of data.condition",
            )
        for name, spec in self.conditions.items():
            if spec.form is Form.TOKENS and not spec.shared:
                raise Unsupported(
                    f"condition {name!r} has a tokenizer of its own",
                    cure="give it as {modality: text}, which shares the target's",
                )
            if spec.form is Form.LABEL and len(self.template.labels.get(name, ())) != spec.vocabulary:
                raise Unsupported(f"the template has no tokens for the classes of {name!r}", cure="train again")


def _table(classes: tuple[tuple[int, ...], ...], like: Tensor) -> Piece:
    rows = [like.new_tensor(tokens) for tokens in classes]
    values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = like.new_tensor([len(row) for row in rows])
    return values, torch.arange(values.shape[1], device=like.device) < lengths[:, None]
