"""Variational autoencoders of sequences: a decoder writes tokens, and reads a latent at every one of them.

Bowman et al. 2016, "Generating sentences from a continuous space", with its two cures for a decoder that ignores the
latent, a divergence that is charged gradually (``warmup``) and words that the decoder has to do without
(``word_dropout``), and with free bits (Kingma et al. 2016). Conditions make it conditional (Sohn et al. 2015).
Evaluated by the importance-weighted bound of Burda, Grosse and Salakhutdinov 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._cross_entropy import head_loss, token_nats
from miaobi.families._guidance import require_guidable
from miaobi.families._layout import Layout
from miaobi.families._posteriors import Posterior, active_units, charged, follow, moments_of
from miaobi.families._priors import PriorName, make_prior
from miaobi.families._token_requests import TokenEngine, complete, gather, make_requests
from miaobi.networks import Network, ReadingNetwork
from miaobi.sampling.beam import BeamControls
from miaobi.sampling.decoding import Engine, Request
from miaobi.sampling.noise import derive, uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec, vector_spec

_ITEM, _LATENT = "item", "latent"
"""What the encoder reads, and what the decoder reads, beside the conditions."""


class SequenceVAE(Family):
    """An encoder reads an item into a diagonal normal; a decoder that reads a draw from it writes the item again.

    The encoder is any network that maps nothing (a zero) to a vector given what its conditioner reads; the decoder is
    any `ReadingNetwork`.
    """

    class Config(FamilyConfig):
        """The latent, and what keeps the decoder from ignoring it."""

        latent: int = Value(32, ge=1, le=65536, description="length of the latent")
        beta: float = Value(1.0, ge=0, le=1e6, description="weight of the divergence from the prior")
        warmup: int = Value(0, ge=0, le=10**9, description="steps over which that weight rises from zero")
        free_bits: float = Value(0.0, ge=0, le=100, description="nats a latent dimension that cost nothing")
        word_dropout: float = Value(
            0.0, ge=0, le=1, description="share of the tokens before it that the decoder is not shown in training"
        )
        prior: PriorName = Value("standard", description="standard, or learned: mixture, flow")
        components: int = Value(128, ge=1, le=65536, description="normals in a mixture prior")
        importance_samples: int = Value(8, ge=1, le=100_000, description="of the evaluation's bound: more is tighter")

    class Controls(BeamControls, _base.Controls):
        """How the latent and the tokens are drawn, or the tokens searched for."""

        latent_temperature: float = Value(1.0, ge=0, le=10, description="scales the prior's noise")

    tiny = {"latent": 8, "importance_samples": 4}
    evaluation_only = frozenset({"importance_samples"})
    targets = frozenset({Form.TOKENS})
    roles = {"encoder": "mlp", "decoder": "attentive_recurrent"}

    encoder: Network
    decoder: ReadingNetwork
    moments: Tensor
    updates: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        if not isinstance(networks["decoder"], ReadingNetwork):
            raise Unsupported(
                "sequence_vae needs a decoder that reads a latent and writes tokens",
                given=type(networks["decoder"]).__name__,
                cure="choose encoder_decoder or attentive_recurrent under model.network.decoder",
            )
        super().__init__(config, networks, parts, target, conditions)
        self.layout = Layout(target, {})
        self.hidden_word = self.layout.vocabulary
        self.prior = make_prior(config.prior, config.latent, config.components)
        # Weight, mean and variance of the posterior mean, decayed over batches.
        self.register_buffer("moments", torch.zeros(3, config.latent))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """The item as what a vector is made from; tokens to tokens, given the latent.

        Raises:
            Unsupported: a target that is one long text, or a condition with a name that is taken.
        """
        if target.stream:
            raise Unsupported(
                "sequence_vae has a latent for each item, and a stream has none",
                cure="give items (a table, or a file of lines), or choose autoregressive",
            )
        taken = sorted({_ITEM, _LATENT} & set(conditions))
        if taken:
            raise Unsupported(
                "sequence_vae has inputs of its own by the name of a condition",
                given=taken,
                cure="give the condition another name, and say the column that it comes from",
            )
        port = Layout(target, {}).port
        # One more token stands for a word that is not shown.
        port = replace(port, vocabulary=port.vocabulary + 1)
        return {
            "encoder": Ports(vector_spec(1), vector_spec(2 * config.latent), {**conditions, _ITEM: target}),
            "decoder": Ports(port, port, {**conditions, _LATENT: vector_spec(config.latent)}),
        }

    @classmethod
    def metric(cls, form: Form) -> str:
        """The held-out bound."""
        return "likelihood"

    def phases(self) -> list[Phase]:
        """One: everything learns together."""
        return [Phase("vae", ("encoder", "decoder", "prior"))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The negative bound, summed over tokens (the end token too) and items."""
        batch = self.drop_conditions(batch, seeds)
        posterior = self.posterior(batch)
        z = posterior.draw(seeds)
        hidden, targets, weight = self._predictions(batch, z, seeds)
        counted = weight > 0
        fit, nats = head_loss(hidden[counted], self.decoder.head, targets[counted], weight[counted])
        divergence = posterior.divergence(self.prior, z)
        cost = charged(divergence, self.config.free_bits, self.config.latent)
        count = float(len(batch))
        parts = {
            "reconstruction": nats,
            "divergence": divergence.detach().sum(),
            "active_units": count * self.active_units(),
        }
        total = fit + self.config.beta * self._annealed() * cost.sum()
        return Loss(total, count, parts, {"moments": moments_of(posterior.mean)})

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow the posterior means, to see which dimensions are used, and count the step."""
        follow(self.moments, statistics["moments"])
        self.updates += 1

    def active_units(self) -> Tensor:
        """How many latent dimensions say something about recent batches; zero means posterior collapse."""
        return active_units(self.moments)

    def posterior(self, batch: Batch) -> Posterior:
        """What the encoder says of the latent, with the batch's conditions."""
        item = Field(batch.target.values, lengths=batch.target.lengths)
        nothing = torch.zeros(len(batch), 1, device=item.values.device)
        return Posterior.of(self.encoder(nothing, {**batch.conditions, _ITEM: item}))

    @torch.no_grad()
    def divergence(self, batch: Batch, *, seeds: Tensor) -> Tensor:
        """``[B]`` nats from the prior to the posterior; of a learned prior estimated at a draw."""
        posterior = self.posterior(batch)
        return posterior.divergence(self.prior, posterior.draw(seeds)).sum(1)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """The importance-weighted upper bound on nats an item, with ``importance_samples`` draws; no word is hidden."""
        posterior = self.posterior(batch)
        weights, predicted = [], None
        for index in range(self.config.importance_samples):
            z = posterior.draw(derive(seeds, index))
            nats, predicted = self._nats(batch, z)
            weights.append(self.prior.log_prob(z) - posterior.log_prob(z) - nats)
        log_likelihood = torch.logsumexp(torch.stack(weights), 0) - math.log(len(weights))
        return Bound(-log_likelihood, exact=False, predicted=predicted)

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Controls | None = None,
        seeds: Tensor,
    ) -> Samples:
        """Items with their prefix, without begin and end, each from a draw of the prior."""
        return self._written(self.requests(conditions, prefix, lengths, controls or self.Controls(), seeds))

    @torch.no_grad()
    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        """``[B, latent]``: the posterior's mean, or a draw from it with ``seeds``."""
        posterior = self.posterior(batch)
        return Field(posterior.mean if seeds is None else posterior.draw(seeds))

    @torch.no_grad()
    def decode(
        self, z: Field, conditions: dict[str, Field], *, controls: Controls | None = None, seeds: Tensor
    ) -> Samples:
        """Items for latents ``[B, latent]``: without controls the most likely token every time."""
        controls = controls or self.Controls(temperature=0)
        return self._written(self._requests(z.values, conditions, None, None, controls, seeds))

    def engine(self, slots: int) -> TokenEngine:
        """The decoding engine, for streaming and serving."""
        self.eval()
        engine = Engine(self.decoder, self.layout.outputs, slots=slots, dtype=self.precision)
        return TokenEngine(self.layout, engine, self.tokenizer, self.requests)

    def stream(
        self, conditions: dict[str, Field], *, prefix: Field | None = None, controls: Controls | None = None, seed: int
    ) -> Iterator[str]:
        """The text of one item as it is drawn, without its prefix; see `TokenEngine.stream`."""
        return self.engine(1).stream(conditions, prefix=prefix, controls=controls or self.Controls(), seed=seed)

    @torch.no_grad()
    def requests(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Controls,
        seeds: Tensor,
    ) -> list[Request]:
        """What the engine is asked for, one request a seed: each reads a draw of the prior."""
        z = self.prior.draw(seeds.to(self.device), controls.latent_temperature)
        return self._requests(z, conditions, prefix, lengths, controls, seeds)

    def _requests(
        self,
        z: Tensor,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Controls,
        seeds: Tensor,
    ) -> list[Request]:
        require_guidable(self.conditions, self.config.condition_drop, controls.guidance)
        for name in conditions:
            if name not in self.conditions:
                cure = "use the conditions that the model was trained with"
                raise UnknownName("condition", name, self.conditions, cure=cure)
        requests = make_requests(self.layout, {}, prefix, lengths, controls, seeds, self.tokenizer, self.rules)
        told = {name: field.to(self.device) for name, field in conditions.items()} | {_LATENT: Field(z)}
        sources = self.decoder.sources(told, len(z))
        if controls.guidance == 1 or not self.conditions:
            return [replace(one, source=source) for one, source in zip(requests, sources, strict=True)]
        # Guidance follows the conditions; the latent is the same on both sides.
        free = self.decoder.sources({_LATENT: Field(z)}, len(z))
        return [
            replace(one, source=source, free=one.tokens, free_source=without)
            for one, source, without in zip(requests, sources, free, strict=True)
        ]

    def _written(self, requests: list[Request]) -> Samples:
        drawn = complete(self.decoder, self.layout.outputs, requests, self.precision)
        return gather(self.layout, requests, drawn, self.device)

    def _annealed(self) -> Tensor | float:
        warmup = self.config.warmup
        return (self.updates / warmup).clamp(max=1.0) if warmup else 1.0

    def _predictions(self, batch: Batch, z: Tensor, seeds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states ``[B, L, D]``, the tokens that they predict ``[B, L]``, and their weights ``[B, L]``.

        With ``seeds`` some words are hidden from the decoder, never the begin token.
        """
        if batch.target.segments is not None:
            raise Unsupported("sequence_vae takes one item a row", given="packed rows")
        tokens, weight = self.layout.sequence(replace(batch, conditions={}))
        shown = tokens[:, :-1]
        if seeds is not None and self.config.word_dropout:
            gone = uniform(seeds, "words", shown.shape[1:]) < self.config.word_dropout
            gone[:, 0] = False
            shown = shown.masked_fill(gone, self.hidden_word)
        hidden = self.decoder(shown, {**batch.conditions, _LATENT: Field(z)}, logits=False)
        return hidden, tokens[:, 1:], weight[:, 1:]

    def _nats(self, batch: Batch, z: Tensor) -> tuple[Tensor, Tensor]:
        """``[B]`` nats of items given their latents, over what can be drawn, and how many tokens they are of."""
        hidden, targets, weight = self._predictions(batch, z, None)
        head, counted = self.decoder.head[: self.layout.outputs.size], weight > 0
        nats = torch.zeros_like(weight)
        nats[counted] = token_nats(hidden[counted], head, targets[counted], self.layout.outputs.banned)
        return (nats * weight).sum(1), counted.sum(1)
