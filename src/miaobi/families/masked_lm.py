"""Masked language models: what a hidden token is, given all that is left of the sequence on both sides of it.

Devlin et al. 2019, "BERT: Pre-training of deep bidirectional Transformers for language understanding". There is no
likelihood of a sequence in it, so none is given: held-out figures are of masked tokens. Gaps are filled as in
Ghazvininejad et al. 2019, "Mask-predict: parallel decoding of conditional masked language models".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._cross_entropy import head_loss, token_nats
from miaobi.families._frame import Frame, token_tables
from miaobi.families._mask_predict import mask_predict
from miaobi.networks import Network
from miaobi.networks.encoder import Encoder, mean
from miaobi.sampling.noise import integers, uniform
from miaobi.types import Batch, Field, Form, Loss, Phase, Samples, Spec


class MaskedLM(Family):
    """Fills in tokens. The loss is summed over chosen tokens and divided by their number.

    Each token is chosen with probability ``rate``, at least one an item. Of the chosen ones 80 % are masked, 10 %
    become another token and 10 % stay as they are, so that the network cannot trust what it is shown. Devlin et al.
    chose 15 %; Wettig et al. 2023, "Should you mask 15% in masked language modeling?", found that large models learn
    more from 40 %, and that with such rates masking alone serves as well.
    """

    class Config(FamilyConfig):
        """Options of the objective."""

        rate: float = Value(0.15, gt=0, le=1, description="share of tokens that are to be predicted")
        replaced: float = Value(0.1, ge=0, le=1, description="share of those that are shown as a random token")
        shown: float = Value(0.1, ge=0, le=1, description="share of those that are shown as they are")

    class Controls(_base.Controls):
        """How gaps are filled."""

        steps: int = Value(10, ge=1, le=1000, description="turns of predicting all gaps and keeping the surest")
        temperature: float = Value(1.0, ge=0, le=100, description="0 takes the most likely token")
        top_k: int | None = Value(None, ge=1, le=10**7, description="draw from this many most likely tokens")
        top_p: float = Value(1.0, gt=0, le=1, description="draw from the most likely tokens that hold this probability")

    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {"network": "encoder"}
    network: Encoder

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.frame = Frame(target.vocabulary)
        impossible = {target.unknown, *(() if target.stream else (target.begin, target.end))}
        self.never = sorted(token for token in impossible if token is not None)

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """Framed tokens in, as many distributions out."""
        port = Frame(target.vocabulary).port(target)
        return {"network": Ports(port, port, dict(conditions), inputs=("real",))}

    @classmethod
    def metric(cls, form: Form) -> str:
        """Cross-entropy of masked held-out tokens."""
        return "masked_prediction"

    def phases(self) -> list[Phase]:
        return [Phase("train", ("network",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        _refuse_packed(batch)
        batch = self.drop_conditions(batch, seeds)
        chosen = self._chosen(batch.target, self.config.rate, seeds)
        hidden = self._hidden(self._corrupted(batch.target.values, chosen, seeds), batch)
        weight = torch.ones_like(chosen, dtype=torch.float32) if batch.target.weight is None else batch.target.weight
        weight = weight[chosen].float()
        total, nats = head_loss(hidden[chosen], self._head, batch.target.values[chosen], weight)
        return Loss(total, weight.sum(), {"nats": nats})

    def token_tables(self) -> dict[str, str]:
        """See `Spelling`."""
        return token_tables("target", self.conditions)

    @torch.no_grad()
    def predict_masked(self, batch: Batch, rate: float, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How well masked tokens are predicted, each ``[B]``: nats, how many are right, and how many there are.

        ``rate`` of an item's tokens are masked, by its seed, and shown as the mask token only.
        """
        _refuse_packed(batch)
        chosen = self._chosen(batch.target, rate, seeds)
        hidden = self._hidden(batch.target.values.masked_fill(chosen, self.frame.mask), batch)[chosen]
        wanted = batch.target.values[chosen]
        nats, right = (torch.zeros(chosen.shape, device=hidden.device) for _ in range(2))
        nats[chosen] = token_nats(hidden, self._head, wanted)
        right[chosen] = (self._logits(hidden).argmax(-1) == wanted).float()
        return nats.sum(1), right.sum(1), chosen.sum(1)

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Controls | None = None, seeds: Tensor) -> Samples:
        """The batch's targets with new tokens where ``mask [B, L]``, and nowhere else.

        What stands there is not looked at. Neither unknown nor special tokens are drawn.
        """
        _refuse_packed(batch)

        def logits(values: Tensor, gaps: Tensor) -> Tensor:
            shown = values.masked_fill(gaps, self.frame.mask)
            return self._logits(self._hidden(shown, batch)[gaps])

        gaps = mask & batch.target.mask()
        values = mask_predict(logits, batch.target.values, gaps, controls or self.Controls(), seeds)
        return Samples(values, batch.target.lengths)

    @torch.no_grad()
    def embed(self, batch: Batch, side: str = "target") -> Tensor:
        """``[B, D]`` float32: the mean of the hidden states, start and end included.

        Raises:
            UnknownName: another side than ``target``.
        """
        if side != "target":
            raise UnknownName("side to embed", side, ["target"])
        tokens, real = self.frame(batch.target)
        return mean(self.network(tokens, batch.conditions, real=real, logits=False), real)

    @property
    def _head(self) -> Tensor:
        """Of the network's head, what can be predicted: the vocabulary without mask, start and end."""
        return self.network.head[: self.target.vocabulary]

    def _hidden(self, values: Tensor, batch: Batch) -> Tensor:
        """Hidden states ``[B, L, D]`` of ``values`` in place of the batch's own."""
        shown = Field(values, lengths=batch.target.lengths)
        tokens, real = self.frame(shown)
        return self.network(tokens, batch.conditions, real=real, logits=False)[:, 1:-1]

    def _logits(self, hidden: Tensor) -> Tensor:
        """``[N, V]`` float32 over what can be drawn."""
        logits = torch.nn.functional.linear(hidden, self._head.to(hidden.dtype)).float()
        logits[:, self.never] = float("-inf")
        return logits

    def _chosen(self, field: Field, rate: float, seeds: Tensor) -> Tensor:
        """``[B, L]`` bool: a random share of an item's tokens that count, one at least."""
        counts = field.mask() if field.weight is None else field.mask() & (field.weight > 0)
        draws = uniform(seeds, "chosen", field.values.shape[1:]).masked_fill(~counts, 2.0)
        return (draws <= draws.amin(1, keepdim=True).clamp(min=rate)) & counts if draws.shape[1] else counts

    def _corrupted(self, values: Tensor, chosen: Tensor, seeds: Tensor) -> Tensor:
        shape, replaced, shown = values.shape[1:], self.config.replaced, self.config.shown
        how = uniform(seeds, "how", shape)
        others = integers(seeds, "others", self.target.vocabulary, shape)
        new = torch.where(how < replaced, others, torch.full_like(values, self.frame.mask))
        return torch.where(chosen & (how < 1 - shown), new, values)


def _refuse_packed(batch: Batch) -> None:
    if batch.target.segments is not None:
        raise Unsupported("masked_lm takes one item a row", given="packed rows")
