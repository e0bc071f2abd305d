"""Text GANs: a language model that a discriminator of tokens trains further (Goodfellow et al. 2014, for tokens).

Maximum likelihood comes first, as in every published one; then the generator learns from the discriminator, by policy
gradient (SeqGAN, ScratchGAN) or through relaxed samples (RelGAN): see `miaobi.families._text_gan_estimators`. Caccia et
al. 2020, "Language GANs falling short", found that a language model of the same size drawn from at another temperature
was better on both quality and diversity, so whoever trains one should measure it beside that control:
``python -m benchmarks text_gan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._layout import Layout
from miaobi.families._text_gan_estimators import Players, PolicySettings, RelaxedSettings
from miaobi.families._token_requests import TokenEngine
from miaobi.families.autoregressive import Autoregressive
from miaobi.networks import Network, TokenNetwork
from miaobi.sampling.noise import derive
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

EstimatorSettings = Annotated[PolicySettings | RelaxedSettings, Value(discriminator="name")]


class TextGAN(Family):
    """A generator that is a language model, and a discriminator that scores each token given those before it.

    What is shipped is the generator alone, an `Autoregressive` model: it is drawn from, streamed and exported as any
    other, and its likelihood is exact. ``model.start`` takes such a model too; the discriminator then starts fresh.
    """

    class Config(FamilyConfig):
        """Options of the objective."""

        estimator: EstimatorSettings = Value(
            PolicySettings(), description="policy or relaxed, or {name: ..., and its options}"
        )
        pretrain: int = Value(
            1000, ge=0, le=10**9, description="steps of maximum likelihood before the others; 0 after a model.start"
        )
        lead: int = Value(50, ge=0, le=10**9, description="the discriminator's steps before the generator's first")
        discriminator_steps: int = Value(1, ge=1, le=100, description="its turns for one of the generator's")

        @field_validator("estimator", mode="before")
        @classmethod
        def _named(cls, value: Any) -> Any:
            return {"name": value} if isinstance(value, str) else value

    class Controls(Autoregressive.Controls):
        """How tokens are drawn or searched for."""

    tiny = {"pretrain": 30, "lead": 2}
    targets = frozenset({Form.TOKENS})
    roles = {"generator": "lstm", "discriminator": "token_critic"}
    default_steps = 2000
    generator: TokenNetwork
    discriminator: Network

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        settings = Autoregressive.Config(condition_drop=config.condition_drop)
        writer = Autoregressive(settings, {"network": networks["generator"]}, {}, target, conditions)
        # Out of nn.Module's sight: its one network is the generator, and has one name.
        self._held = (Players(writer, networks["discriminator"]),)
        self.estimator = config.estimator.make()

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """One sequence of conditions and target for both; the discriminator gives a number for every token.

        Raises:
            Unsupported: a target that is one long text.
        """
        if target.stream:
            raise Unsupported(
                "text_gan makes items, which its discriminator reads whole, and a stream has none",
                cure="choose autoregressive, or give items",
            )
        port = Layout(target, conditions).port
        scores = Spec(Form.TENSOR, channels=1, space=(port.max_length,))
        return {"generator": Ports(port, port, {}), "discriminator": Ports(port, scores, {})}

    @classmethod
    def metric(cls, form: Form) -> str:
        """BLEU both ways.

        Held-out likelihood is what maximum likelihood maximises, so its best checkpoint would always be the one before
        the first adversarial step. Backward BLEU falls when samples collapse, forward BLEU when they are noise.
        """
        return "sample_bleu.harmonic_bleu"

    def phases(self) -> list[Phase]:
        """Maximum likelihood; then the discriminator's turns and, from a little later on, the generator's."""
        begin, turns = self.config.pretrain, self.config.discriminator_steps
        return [
            *([Phase("likelihood", ("generator",), stop=begin)] if begin else []),
            Phase("discriminator", ("discriminator",), repeat=turns, start=begin),
            Phase("generator", ("generator",), start=begin + self.config.lead),
        ]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss of ``likelihood``, ``discriminator`` or ``generator``."""
        batch = self.drop_conditions(batch, seeds)
        turns = {"likelihood": self._imitate, "discriminator": self._discriminate, "generator": self._generate}
        return turns[phase](batch, seeds)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """The estimator's memory."""
        if phase == "generator":
            self.estimator.after_generator(statistics)

    def shipped(self) -> Autoregressive:
        """The generator as a language model."""
        return self.players.writer

    def weights_from(self, other: Family) -> dict[str, Tensor]:
        """A language model's weights are the generator's."""
        if not isinstance(other, Autoregressive):
            return super().weights_from(other)
        theirs = {f"generator.{name.removeprefix('network.')}": tensor for name, tensor in other.state_dict().items()}
        return {**self.state_dict(), **theirs}

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact: see `Autoregressive.log_likelihood`."""
        return self.shipped().log_likelihood(batch, seeds=seeds)

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """See `Autoregressive.sample`."""
        return self.shipped().sample(conditions, prefix=prefix, lengths=lengths, controls=controls, seeds=seeds)

    def engine(self, slots: int) -> TokenEngine:
        """See `Autoregressive.engine`."""
        return self.shipped().engine(slots)

    @property
    def players(self) -> Players:
        """The two networks in their parts."""
        return self._held[0]

    def _imitate(self, batch: Batch, seeds: Tensor) -> Loss:
        # The writer drops conditions by the same seeds, so no others.
        return self.shipped()(batch, "train", seeds)  # type: ignore[no-any-return]

    def _discriminate(self, batch: Batch, seeds: Tensor) -> Loss:
        real, fake = (self.players.judge(one) for one in (batch, self.players.draw(batch, derive(seeds, "fake"))))
        loss = self.estimator.discriminator(real, fake)
        parts = {"real_score": real.mean().detach().sum(), "fake_score": fake.mean().detach().sum()}
        return Loss(loss.sum(), float(len(batch)), parts)

    def _generate(self, batch: Batch, seeds: Tensor) -> Loss:
        return self.estimator.generator(self.players, batch, seeds)
