"""Diffusion and flow matching, every objective on one straight path from data to noise.

``flow``: Lipman et al. 2023, "Flow matching for generative modeling", and Liu, Gong and Liu 2023, "Flow straight and
fast". ``edm``: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models". ``ddpm``: Ho,
Jain and Abbeel 2020, "Denoising diffusion probabilistic models", with a cosine schedule that ends at pure noise.
``shortcut``: Frans et al. 2024, "One step diffusion via shortcut models", for samples in one step or few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field as Value
from pydantic import field_validator, model_validator
from torch import Tensor

from miaobi import plugins
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import _base
from miaobi.families import _shortcut as shortcut
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.families._guidance import Fields, absent, guided, require_guidable
from miaobi.families._inpainting import fill
from miaobi.families._paths import ObjectiveName, PredictionName, TimesName, make_objective, make_times, mix, spread
from miaobi.families._probability_flow import log_density
from miaobi.networks import Network
from miaobi.sampling import solvers, time_grids
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

_SOLVER, _SHORTCUT_SOLVER = "heun", "euler"
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
        shortcut: float = Value(
            0.0, ge=0, le=0.9, description="share of items that learn large steps from smaller ones, e.g. 0.25; of flow"
        )
        shortcut_guidance: float = Value(
            1.0, ge=0, le=100, description="guidance that shortcuts learn to have in them, 1 for none"
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

        @model_validator(mode="after")
        def _shortcuts_are_of_velocities(self) -> Diffusion.Config:
            if self.shortcut_guidance != 1 and not self.shortcut:
                raise ValueError("shortcut_guidance is of shortcuts: set shortcut, e.g. 0.25")
            if not self.shortcut:
                return self
            if self.objective != "flow" or self.prediction not in (None, "velocity"):
                raise ValueError("shortcut averages velocities of the straight path: use objective: flow alone")
            if self.min_snr is not None:
                raise ValueError("min_snr gives the largest shortcuts no weight: leave it out")
            return self

    class Controls(_base.Controls):
        """How samples are drawn."""

        solver: str | None = Value(
            None, description="a file of sampling/solvers; default: heun, where there are shortcuts euler, to take them"
        )
        steps: int = Value(
            8, ge=1, le=1000, description="heun calls the network twice a step; shortcuts: a power of two"
        )
        guidance: float = Value(1.0, ge=0, le=100, description="classifier-free: 1 is the conditions as they are")
        guidance_interval: tuple[Share, Share] = Value((0.0, 1.0), description="times at which guidance is on")
        grid: time_grids.GridName | None = Value(None, description="default: the objective's own")
        eta: float | None = Value(None, ge=0, le=1, description="share of fresh noise, for solvers that take it")
        repeats: int = Value(1, ge=1, le=100, description="when editing: times that every step is taken")

        @field_validator("solver")
        @classmethod
        def _known(cls, name: str | None) -> str | None:
            return None if name is None else plugins.canonical(solvers.__name__, name)

        @model_validator(mode="after")
        def _takes_eta(self) -> Diffusion.Controls:
            name = self.solver or _SOLVER
            if self.eta is not None and "eta" not in solvers.find(name).Config.model_fields:
                raise ValueError(f"the solver {name} takes no eta: use ddim")
            return self

        def make_solver(self, default: str = _SOLVER) -> solvers.Solver:
            """The solver with its options."""
            return solvers.create(self.solver or default, **({} if self.eta is None else {"eta": self.eta}))

    tiny = {"likelihood_steps": 6}
    evaluation_only = frozenset({"likelihood_steps", "likelihood_probes"})
    targets = frozenset({Form.TENSOR})
    roles = {"denoiser": "unet"}
    default_steps = 10_000
    costly_likelihood = True
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
        require_guidable(conditions, config.condition_drop, config.shortcut_guidance, "option shortcut_guidance")
        inputs = ("time", "step") if config.shortcut else ("time",)
        return {"denoiser": Ports(port, port, dict(conditions), inputs)}

    @classmethod
    def metric(cls, form: Form) -> str:
        """The held-out error of the velocity: for every kind of tensor, of all objectives alike, without sampling."""
        return "denoising"

    def phases(self) -> list[Phase]:
        """One."""
        return [Phase("denoise", ("denoiser",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The objective's weighted squared error, averaged over an item's numbers and summed over items.

        An item that learns a shortcut has its own squared error, against two steps of half its size.
        """
        batch = self.drop_conditions(batch, seeds)
        clean, fresh = batch.target.values.float(), noise(seeds, "noise", batch.target.values.shape[1:])
        t, step = self.objective.draw(seeds), None
        drawn = shortcut.draw(seeds, self.config.shortcut) if self.config.shortcut else None
        if drawn is not None:
            t = t.index_copy(0, drawn.rows, drawn.t)
            step = torch.zeros_like(t).index_copy(0, drawn.rows, 2 * drawn.half)
        at, x = self.objective.coefficients(t), mix(clean, t, fresh)
        out = self._network(x, t, batch.conditions, step)
        wanted = spread(at.data, clean) * clean + spread(at.noise, clean) * fresh
        if drawn is not None:
            wanted = wanted.index_copy(0, drawn.rows, self._from_halves(x, batch.conditions, drawn))
        error = _mean((out - wanted).square(), batch.target)
        parts = {"error": error.detach().sum()}
        if drawn is not None:
            parts["shortcut_error"] = error.detach()[drawn.rows].sum()
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
        refuse_prefix(prefix, "diffusion", cure="edit with a mask instead")
        controls = controls or self.Controls()
        x = noise(seeds, "start", (self.target.channels, *self.target.space))
        with self._sampling():
            denoise = self._denoise(conditions, controls)
            return Samples(self._solver(controls).sample(denoise, x, self._grid(controls), seeds))

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """The batch's targets with new values where ``mask`` (``[B, *space]`` or ``[B, 1 or C, *space]``) is true."""
        controls = controls or self.Controls()
        original = batch.target.values.float()
        where = mask.bool() if mask.ndim == original.ndim else mask.bool()[:, None]
        with self._sampling():
            denoise = self._denoise(batch.conditions, controls)
            solver, grid = self._solver(controls), self._grid(controls)
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

    def _network(self, x: Tensor, t: Tensor, conditions: Fields, step: Tensor | None = None) -> Tensor:
        scaled = spread(self.objective.coefficients(t).scale, x) * x
        told = {"step": step} if self.config.shortcut else {}
        out: Tensor = self.denoiser(scaled, conditions, time=t, **told)
        return out.float()

    def _estimate(self, x: Tensor, t: Tensor, conditions: Fields, step: float = 0.0) -> Tensor:
        """The expected data given ``x`` at times ``t [B]``; with a ``step``, where that leads if it goes on to 0."""
        at = self.objective.coefficients(t)
        out = self._network(x, t, conditions, torch.full_like(t, step))
        return spread(at.skip, x) * x + spread(at.out, x) * out

    @torch.no_grad()
    def _from_halves(self, x: Tensor, conditions: Fields, drawn: shortcut.Drawn) -> Tensor:
        """``[N, ...]``: what the network should say of the drawn steps, by what it says of their halves."""
        x = x[drawn.rows]
        if not len(x):
            return x
        given = {name: field.select(drawn.rows) for name, field in conditions.items()}
        strength = self.config.shortcut_guidance

        def average(x: Tensor, t: Tensor, size: Tensor) -> Tensor:
            said = self._network(x, t, given, size)
            if strength == 1:
                return said
            free = self._network(x, t, absent(given), size)
            # Larger shortcuts have it in them already.
            return torch.where(spread(size, x) == 0, free + strength * (said - free), said)

        return shortcut.from_halves(average, x, drawn.t, drawn.half)

    def _denoise(self, conditions: Fields, controls: Any) -> solvers.Denoise:
        step = self._step(controls)
        require_guidable(self.conditions, self.config.condition_drop, controls.guidance)
        if controls.guidance != 1 and step and self.config.shortcut_guidance != 1:
            raise InvalidRecipe(
                "these shortcuts have their guidance in them already",
                given=f"guidance {controls.guidance}",
                cure="leave the control guidance out, or take another solver",
            )
        denoise = guided(partial(self._estimate, step=step), conditions, controls.guidance, controls.guidance_interval)
        if not self.target.levels:
            return denoise
        # Where a step does not end at the data, what it leads to is no estimate of the data.
        return lambda x, t: denoise(x, t) if step and t > step else denoise(x, t).clamp(-1, 1)

    def _step(self, controls: Any) -> float:
        """The size that the network is told of every step: 0 but for shortcuts, which euler takes."""
        if not self.config.shortcut or controls.solver not in (None, _SHORTCUT_SOLVER):
            return 0.0
        if controls.grid not in (None, "uniform"):
            raise InvalidRecipe("shortcuts are of even steps", given=f"grid {controls.grid}", cure="leave grid out")
        return shortcut.told_in(controls.steps)

    def _solver(self, controls: Any) -> solvers.Solver:
        made: solvers.Solver = controls.make_solver(_SHORTCUT_SOLVER if self.config.shortcut else _SOLVER)
        return made

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
