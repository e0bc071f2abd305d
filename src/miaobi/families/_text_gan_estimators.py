"""How a discriminator of tokens teaches a generator of tokens: by rewards, or through relaxed samples.

A token that is drawn has no gradient. The policy gradient does without one (Williams 1992, "Simple statistical
gradient-following algorithms for connectionist reinforcement learning"; for text, Yu et al. 2017, "SeqGAN"); relaxation
puts a biased one in its place. Each brings the adversarial loss that it was published with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.families._adversarial import Relativistic
from miaobi.families._relaxed_decoding import drawable, unroll
from miaobi.families.autoregressive import Autoregressive
from miaobi.networks import Network
from miaobi.sampling.noise import derive
from miaobi.types import Batch, Loss, Settings


@dataclass(frozen=True)
class Scores:
    """The discriminator's logits ``[B, L]``, high for real, and which of them count."""

    logits: Tensor
    weight: Tensor

    def mean(self) -> Tensor:
        """``[B]``: of each sequence."""
        return averaged(self.logits, self.weight)


@dataclass(frozen=True)
class Players:
    """A generator within its language model, and a discriminator that scores tokens given those before them."""

    writer: Autoregressive
    critic: Network

    def draw(self, batch: Batch, seeds: Tensor) -> Batch:
        """Items in the place of the batch's targets, drawn by the one decoding engine, without a gradient."""
        with _precisely(seeds), torch.no_grad():
            made = self.writer.sample(batch.conditions, seeds=derive(seeds, "draw"))
        return replace(batch, target=made.field())

    def judge(self, batch: Batch) -> Scores:
        """Scores of the batch's targets."""
        tokens, weight = self.writer.layout.sequence(batch)
        return self.judge_rows(tokens, (weight > 0).float())

    def judge_rows(self, sequence: Tensor, weight: Tensor) -> Scores:
        """Scores of whole sequences: integers ``[B, L]`` or probabilities ``[B, L, V]``."""
        return Scores(self.critic(sequence)[:, 0].float(), weight)


class Estimator(nn.Module, ABC):
    """The two losses of a text GAN, and what they remember from turn to turn: buffers, so that they are saved."""

    @abstractmethod
    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """The discriminator's loss ``[B]``."""

    @abstractmethod
    def generator(self, players: Players, batch: Batch, seeds: Tensor) -> Loss:
        """The generator's loss under the batch's conditions."""

    @abstractmethod
    def after_generator(self, statistics: Mapping[str, Tensor]) -> None:
        """Take in a whole batch's statistics of the generator's turn."""


class PolicySettings(Settings):
    """The policy gradient with a reward for every token (de Masson d'Autume et al. 2019)."""

    name: Literal["policy"] = "policy"
    discount: float = Value(0.25, ge=0, le=1, description="share of a reward that reaches the token before it")
    baseline_decay: float = Value(0.95, ge=0, lt=1, description="of the moving average that returns are compared with")

    def make(self) -> Policy:
        """The estimator."""
        return Policy(self)


class Policy(Estimator):
    """REINFORCE: tokens are made likelier by what they return above the average, without bias and with much variance.

    The reward of a token is ``2 D - 1`` of the discriminator's probability that it is real, given those before it; its
    return is its reward and those after it, discounted. The discriminator minimises cross-entropy token by token.
    """

    baseline: Tensor
    turns: Tensor

    def __init__(self, settings: PolicySettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        return averaged(F.softplus(-real.logits), real.weight) + averaged(F.softplus(fake.logits), fake.weight)

    def generator(self, players: Players, batch: Batch, seeds: Tensor) -> Loss:
        made = players.draw(batch, seeds)
        with torch.no_grad():
            scores = players.judge(made)
        weight = self._own(players, made, scores.weight)
        rewards = (2 * scores.logits.sigmoid() - 1) * weight
        returns = discounted(rewards, self.settings.discount) * weight
        advantage = (returns - self.baseline * weight)[:, 1:]
        nats = _nats(players.writer, made)
        parts = {"reward": rewards.sum(), "nats": (nats.detach() * weight[:, 1:]).sum()}
        statistics = {"returns": returns.sum(), "tokens": weight.sum()}
        return Loss((advantage * nats).sum(), weight.sum(), parts, statistics)

    def after_generator(self, statistics: Mapping[str, Tensor]) -> None:
        mean = statistics["returns"] / statistics["tokens"].clamp(min=1)
        self.baseline.lerp_(mean, 1.0 if self.turns == 0 else 1 - self.settings.baseline_decay)
        self.turns += 1

    def _own(self, players: Players, made: Batch, weight: Tensor) -> Tensor:
        """The weight of what the generator chose: an item as long as may be is ended for it."""
        layout = players.writer.layout
        if layout.end is None or made.target.lengths is None:
            return weight
        cut = made.target.lengths >= layout.target.max_length
        last = weight.cumsum(1) == weight.sum(1, keepdim=True)
        return weight * ~(cut[:, None] & last)


class RelaxedSettings(Settings):
    """Gumbel-softmax, straight-through, the temperature falling (Jang et al. 2017; Nie, Narodytska and Patel 2019)."""

    name: Literal["relaxed"] = "relaxed"
    temperature: float = Value(1.0, gt=0, le=100, description="of the softmax at first")
    final_temperature: float = Value(0.5, gt=0, le=100, description="in the end: less biased gradients, more variance")
    annealing: int = Value(1000, ge=1, le=10**9, description="the generator's turns until then, geometrically")

    def make(self) -> Relaxed:
        """The estimator."""
        return Relaxed(self)


class Relaxed(Estimator):
    """The discriminator's gradient reaches the generator through the tokens that it drew, by a softer copy of each.

    The loss compares each sample's mean score with that of one real item (Jolicoeur-Martineau 2019; for text, Nie,
    Narodytska and Patel 2019, "RelGAN").
    """

    turns: Tensor

    def __init__(self, settings: RelaxedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.loss = Relativistic()
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    @property
    def temperature(self) -> float:
        """Of the softmax now."""
        done = min(1.0, float(self.turns) / self.settings.annealing)
        first, last = self.settings.temperature, self.settings.final_temperature
        return float(first * (last / first) ** done)

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        return self.loss.discriminator(real.mean(), fake.mean())

    def generator(self, players: Players, batch: Batch, seeds: Tensor) -> Loss:
        layout, rows = players.writer.layout, len(batch)
        head = layout.head(batch.conditions, rows, batch.target.values.device)
        with _precisely(seeds):
            made = unroll(players.writer.network, layout, head, derive(seeds, "relax"), self.temperature)
        fake = players.judge_rows(made.rows, made.drawn.float()).mean()
        with torch.no_grad():
            real = players.judge(batch).mean()
        loss = self.loss.generator(real, fake)
        parts = {"fake_score": fake.detach().sum(), "temperature": loss.new_tensor(self.temperature * rows)}
        return Loss(loss.sum(), float(rows), parts)

    def after_generator(self, statistics: Mapping[str, Tensor]) -> None:
        self.turns += 1


def averaged(values: Tensor, weight: Tensor) -> Tensor:
    """``[B]``: weighted means of rows; 0 where nothing counts."""
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """Returns ``[B, L]``: each reward and those after it, ``discount`` to the power of their distance."""
    places = torch.arange(rewards.shape[1], device=rewards.device)
    distance = places[:, None] - places[None]
    shares = torch.where(distance >= 0, torch.full_like(distance, discount, dtype=rewards.dtype) ** distance.abs(), 0.0)
    return rewards @ shares


def _nats(writer: Autoregressive, batch: Batch) -> Tensor:
    """Negative log-probabilities ``[B, L - 1]`` of the tokens after the first, of what the engine draws from."""
    tokens, weight = writer.layout.sequence(batch)
    counted = weight[:, 1:] > 0
    hidden = writer.network(tokens[:, :-1], logits=False)[counted]
    logits = drawable(writer.layout, F.linear(hidden, writer.network.head))
    found = F.cross_entropy(logits, tokens[:, 1:][counted], reduction="none")
    return torch.zeros_like(weight[:, 1:]).index_put((counted,), found)


def _precisely(like: Tensor) -> torch.autocast:
    """Float32: a token drawn from rounded probabilities is another token."""
    return torch.autocast(like.device.type, enabled=False)
