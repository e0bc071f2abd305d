"""Diffusion and flow matching, every objective on one straight path from data to noise.

``flow``: Lipman et al. 2023, "Flow matching for generative modeling", and Liu, Gong and Liu 2023, "Flow straight and
fast". ``edm``: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models". ``ddpm``: Ho,
Jain and Abbeel 2020, "Denoising diffusion probabilistic models", with a cosine schedule that ends at pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field as Value
from pydantic import field_validator, model_validator
from torch import Tensor

from miaobi import plugins
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._guidance import Fields, guided
from miaobi.families._inpainting import fill
from miaobi.families._paths import ObjectiveName, PredictionName, TimesName, make_objective, make_times, mix, spread
from miaobi.families._probability_flow import log_density
from miaobi.networks import Network
from miaobi.sampling import solvers, time_grids
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

Share = Annotated[float, Value(ge=0, le=1)]


class Diffusion(Family):
    """A denoiser of data with normal noise, and solvers that take pure noise to data with it."""

    class Config(FamilyConfig):
        """What is not given is the objective's own, as published."""

        objective: ObjectiveName = "flow"
        prediction: PredictionName | None = Value(None, description="what the network says; default: velocity")
        times: TimesName | None = Value(None, description="of training; default: logit_normal, for ddpm cosine")
        time_mean: float | None = Value(None, ge=-10, le=10, description="of log noise over signal, for logit_normal")
        time_std: float | None = Value(None, gt=0, le=10, description="of log noise over signal, for logit_normal")
        data_std: float | None = Value(
            None, gt=0, le=1000, description="the data's, for edm; default: 0.5 where quantised, else 1"
        )
        min_snr: float | None = Value(
            None, gt=0, le=1e6, description="cut of the min-SNR weight, e.g. 5; default: none"
        )
        likelihood_steps: int = Value(32, ge=2, le=10_000, description="of the flow that likelihoods follow")
        likelihood_probes: int = Value(1, ge=1, le=10_000, description="random signs a step: more is less noisy")

        @model_validator(mode="after")
        def _means_something(self) -> Diffusion.Config:
            if self.objective == "edm" and self.prediction not in (None, "velocity"):
                raise ValueError("edm has its own preconditioned prediction: leave prediction out")
            shaped = self.time_mean is not None or self.time_std is not None
            if shaped and make_times(self.objective, self.times).name != "logit_normal":
                raise ValueError("time_mean and time_std are of times: logit_normal")
            return self

    class Controls(_base.Controls):
        """How samples are drawn."""

        solver: str = Value("heun", description="a file of sampling/solvers")
        steps: int = Value(8, ge=1, le=1000, description="heun calls the network twice a step")
        guidance: float = Value(1.0, ge=0, le=100, description="classifier-free: 1 is the conditions as they are")
        guidance_interval: tuple[Share, Share] = Value((0.0, 1.0), description="times at which guidance is on")
        grid: time_grids.GridName | None = Value(None, description="default: the objective's own")
        eta: float | None = Value(None, ge=0, le=1, description="share of fresh noise, for solvers that take it")
        repeats: int = Value(1, ge=1, le=100, description="when editing: times that every step is taken")

        @field_validator("solver")
        @classmethod
        def _known(cls, name: str) -> str:
            return plugins.canonical(solvers.__name__, name)

        @model_validator(mode="after")
        def _takes_eta(self) -> Diffusion.Controls:
            if self.eta is not None and "eta" not in solvers.find(self.solver).Config.model_fields:
                raise ValueError(f"the solver {self.solver} takes no eta: use ddim")
            return self

        def make_solver(self) -> solvers.Solver:
            """The solver with its options."""
            return solvers.create(self.solver, **({} if self.eta is None else {"eta": self.eta}))

    tiny = {"likelihood_steps": 6}
    targets = frozenset({Form.TENSOR})
    roles = {"denoiser": "unet"}
    default_steps = 10_000
    # A loss as noisy as this one wants a longer memory of its gradients' sizes than a language model's.
    betas = (0.9, 0.99)

    denoiser: Network

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        times = make_times(config.objective, config.times, config.time_mean, config.time_std)
        data_std = config.data_std or (0.5 if target.levels else 1.0)
        self.objective = make_objective(config.objective, config.prediction, times, data_std, config.min_snr)

    @classmethod
    def defaults(cls, target: Spec) -> dict[str, str]:
        """A flat vector has no space for a U-Net."""
        return {"denoiser": "unet" if target.space else "mlp"}

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """From noised targets to what the objective asks for, of the same shape."""
        if target.form is not Form.TENSOR:
            raise Unsupported("diffusion makes tensors", given=target.form.value, cure="for tokens use autoregressive")
        port = replace(target, levels=0)
        return {"denoiser": Ports(port, port, dict(conditions))}

    @classmethod
    def metric(cls, form: Form) -> str:
        """The held-out error of the velocity: for every kind of tensor, of all objectives alike, without sampling."""
        return "denoising"

    def phases(self) -> list[Phase]:
        """One."""
        return [Phase("denoise", ("denoiser",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The objective's weighted squared error, averaged over an item's numbers and summed over items."""
        batch = self.drop_conditions(batch, seeds)
        t = self.objective.draw(seeds)
        clean, fresh = batch.target.values.float(), noise(seeds, "noise", batch.target.values.shape[1:])
        at = self.objective.coefficients(t)
        out = self._network(mix(clean, t, fresh), t, batch.conditions)
        wanted = spread(at.data, clean) * clean + spread(at.noise, clean) * fresh
        error = _mean((out - wanted).square(), batch.target)
        parts = {"error": error.detach().sum()}
        return Loss((self.objective.weight(t) * error).sum(), float(len(batch)), parts)

    @torch.no_grad()
    def denoising_error(self, batch: Batch, t: float, seeds: Tensor) -> Tensor:
        """``[B]``: mean squared error of the velocity at time ``t``, whatever the network predicts."""
        clean, fresh = batch.target.values.float(), noise(seeds, "noise", batch.target.values.shape[1:])
        times = clean.new_full((len(batch),), t)
        estimate = self._estimate(mix(clean, times, fresh), times, batch.conditions)
        return _mean(((estimate - clean) / t).square(), batch.target)

    @torch.no_grad()
    def sample(
        self,
        conditions: Fields,
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """``[len(seeds), C, *space]``, within [-1, 1] where the data is quantised."""
        if prefix is not None:
            raise Unsupported("diffusion cannot continue a prefix", cure="edit with a mask instead")
        controls = controls or self.Controls()
        x = noise(seeds, "start", (self.target.channels, *self.target.space))
        with self._sampling():
            denoise = self._denoise(conditions, controls)
            return Samples(controls.make_solver().sample(denoise, x, self._grid(controls), seeds))

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """The batch's targets with new values where ``mask`` (``[B, *space]`` or ``[B, 1 or C, *space]``) is true."""
        controls = controls or self.Controls()
        original = batch.target.values.float()
        where = mask.bool() if mask.ndim == original.ndim else mask.bool()[:, None]
        with self._sampling():
            denoise = self._denoise(batch.conditions, controls)
            solver, grid = controls.make_solver(), self._grid(controls)
            return Samples(fill(solver, denoise, original, where, grid, seeds, controls.repeats))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """An estimate by the flow's change of density; of quantised data that of its uniform dequantisation's bound.

        Unbiased in its random signs; of second order in its steps, so never exact.
        """
        x, levels = batch.target.values.float(), self.target.levels
        nats = x.new_zeros(len(x))
        if levels:
            step = 2 / (levels - 1)
            x = x + step * (uniform(seeds, "dequantise", x.shape[1:]) - 0.5)
            nats = nats - self.target.size * math.log(step)
        denoise = guided(self._estimate, batch.conditions, 1.0, (0.0, 1.0))
        nats = nats - log_density(denoise, x, self.config.likelihood_steps, self.config.likelihood_probes, seeds)
        return Bound(nats, exact=False, predicted=torch.full_like(nats, self.target.size, dtype=torch.int64))

    def _network(self, x: Tensor, t: Tensor, conditions: Fields) -> Tensor:
        scaled = spread(self.objective.coefficients(t).scale, x) * x
        out: Tensor = self.denoiser(scaled, conditions, time=t)
        return out.float()

    def _estimate(self, x: Tensor, t: Tensor, conditions: Fields) -> Tensor:
        """The expected data given ``x`` at times ``t [B]``."""
        at = self.objective.coefficients(t)
        return spread(at.skip, x) * x + spread(at.out, x) * self._network(x, t, conditions)

    def _denoise(self, conditions: Fields, controls: Any) -> solvers.Denoise:
        if controls.guidance != 1 and not self.conditions:
            raise InvalidRecipe(
                "there is nothing to guide by: the model has no conditions",
                given=f"guidance {controls.guidance}",
                cure="leave the control guidance out",
            )
        denoise = guided(self._estimate, conditions, controls.guidance, controls.guidance_interval)
        if not self.target.levels:
            return denoise
        return lambda x, t: denoise(x, t).clamp(-1, 1)

    def _grid(self, controls: Any) -> tuple[float, ...]:
        return time_grids.grid(controls.grid or self.objective.grid, controls.steps)

    def _sampling(self) -> torch.autocast:
        device = torch.device(self.device)
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)


def _mean(squares: Tensor, target: Field) -> Tensor:
    """``[B]``: over an item's numbers, by the field's weight where it has one."""
    if target.weight is None:
        return squares.flatten(1).mean(1)
    weight = target.weight[:, None].expand_as(squares).flatten(1)
    return (squares.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=1e-12)
