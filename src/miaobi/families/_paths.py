"""Objectives of diffusion and flow matching, all on the straight path ``x_t = (1 - t) x_0 + t e`` from data to noise.

A process that scales the data by ``alpha`` and the noise by ``sigma`` is that path at ``t = sigma / (alpha + sigma)``,
times ``alpha + sigma``. What a network sees, what it is asked for, and what that says about the data are then linear in
``x_0``, ``e``, ``x_t`` and its output, with coefficients that depend on ``t`` only and are finite at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from miaobi.sampling.noise import noise, uniform
from miaobi.sampling.time_grids import GridName

ObjectiveName = Literal["flow", "edm", "ddpm"]
PredictionName = Literal["velocity", "noise", "data"]
TimesName = Literal["logit_normal", "uniform", "cosine"]
_EARLIEST = 1e-4
_NOISE_ERROR = 0.02
"""Error that a prediction of the noise is taken to have, so that dividing by the data's share stays finite."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """At given times, each of the times' shape.

    Attributes:
        scale: the network sees ``scale * x_t``.
        data, noise: it is asked for ``data * x_0 + noise * e``.
        skip, out: its output F says that ``x_0`` is ``skip * x_t + out * F``.
    """

    scale: Tensor
    data: Tensor
    noise: Tensor
    skip: Tensor
    out: Tensor


@dataclass(frozen=True, slots=True)
class Objective:
    """What is asked at which times.

    Attributes:
        coefficients: of times ``[B]``.
        draw: training times ``[B]`` in (0, 1) from seeds.
        min_snr: where to cut the weight of the data's squared error, as signal over noise squared; ``None``: every
            time weighs the same in the network's own terms.
        grid: the time grid that suits it.
    """

    coefficients: Callable[[Tensor], Coefficients]
    draw: Callable[[Tensor], Tensor]
    min_snr: float | None
    grid: GridName

    def weight(self, t: Tensor) -> Tensor:
        """``[B]``: of the network's squared error (Hang et al. 2023, "Efficient diffusion training via min-SNR")."""
        if self.min_snr is None:
            return torch.ones_like(t)
        ratio = ((1 - t) / t).square().clamp(max=self.min_snr)
        return ratio * self.coefficients(t).out.square()


@dataclass(frozen=True, slots=True)
class Times:
    """How training times are drawn; ``mean`` and ``std`` are of the log of noise over signal, for ``logit_normal``."""

    name: TimesName
    mean: float = 0.0
    std: float = 1.0

    def __call__(self, seeds: Tensor) -> Tensor:
        """``[B]`` in (0, 1)."""
        if self.name == "logit_normal":
            t = torch.sigmoid(self.mean + self.std * noise(seeds, "time", ()))
        else:
            t = uniform(seeds, "time")
            if self.name == "cosine":
                angle = math.pi / 2 * t
                t = angle.sin() / (angle.sin() + angle.cos())
        return t.clamp(_EARLIEST, 1 - _EARLIEST)


def make_objective(
    name: ObjectiveName, prediction: PredictionName | None, times: Times, data_std: float, min_snr: float | None
) -> Objective:
    """An objective; without a prediction the one that suits it.

    ``flow``: Lipman et al. 2023, times as in Esser et al. 2024 ("Scaling rectified flow transformers"). ``edm``:
    Karras et al. 2022, whose log-normal noise is a logit-normal time. ``ddpm``: the variance-preserving process of Ho,
    Jain and Abbeel 2020 with the cosine schedule of Nichol and Dhariwal 2021 run to pure noise, asking for the velocity
    of Salimans and Ho 2022, as Lin et al. 2024 do, because of pure noise the noise says nothing.
    """
    grids: dict[str, GridName] = {"flow": "uniform", "edm": "karras", "ddpm": "cosine"}
    asked = _asked(name, prediction or "velocity", data_std)
    return Objective(asked, times, min_snr, grids[name])


def make_times(
    objective: ObjectiveName, name: TimesName | None = None, mean: float | None = None, std: float | None = None
) -> Times:
    """How an objective draws its times; what is not given is as published."""
    own = {"flow": Times("logit_normal"), "edm": Times("logit_normal", -1.2, 1.2), "ddpm": Times("cosine")}[objective]
    return Times(name or own.name, own.mean if mean is None else mean, own.std if std is None else std)


def mix(clean: Tensor, t: Tensor, fresh: Tensor) -> Tensor:
    """``x_t`` for data and noise ``[B, ...]`` and times ``t [B]``."""
    share = spread(t, clean)
    return (1 - share) * clean + share * fresh


def spread(values: Tensor, like: Tensor) -> Tensor:
    """``[B]`` as ``[B, 1, ...]``, to multiply ``like`` by."""
    return values.view(-1, *[1] * (like.ndim - 1))


def velocity(x: Tensor, clean: Tensor, t: float) -> Tensor:
    """``dx/dt`` of the straight path through ``x`` at ``t`` whose data is ``clean``."""
    return (x - clean) / t


def _asked(name: ObjectiveName, prediction: PredictionName, data_std: float) -> Callable[[Tensor], Coefficients]:
    if name == "edm":
        return lambda t: _preconditioned(t, data_std)
    # The variance-preserving process has unit variance where the data has; the straight path is not rescaled.
    scale = _unit_scale if name == "ddpm" else torch.ones_like
    if prediction == "noise":
        return lambda t: _noise(t, scale(t))
    if prediction == "data":
        return lambda t: Coefficients(scale(t), torch.ones_like(t), _zero(t), _zero(t), torch.ones_like(t))
    return _vp_velocity if name == "ddpm" else _flow_velocity


def _flow_velocity(t: Tensor) -> Coefficients:
    one = torch.ones_like(t)
    return Coefficients(one, -one, one, one, -t)


def _vp_velocity(t: Tensor) -> Coefficients:
    scale = _unit_scale(t)
    alpha, sigma = (1 - t) * scale, t * scale
    return Coefficients(scale, -sigma, alpha, alpha * scale, -sigma)


def _preconditioned(t: Tensor, std: float) -> Coefficients:
    """c_in, c_skip and c_out of EDM's table 1, and the target that its weights make of the data's error."""
    scale = torch.rsqrt(t.square() + (std * (1 - t)).square())
    return Coefficients(
        scale, t * scale / std, -std * (1 - t) * scale, std**2 * (1 - t) * scale.square(), std * t * scale
    )


def _noise(t: Tensor, scale: Tensor) -> Coefficients:
    """Data from predicted noise, drawn to zero near pure noise, where the prediction says nothing about it."""
    signal = 1 - t
    gain = signal / (signal.square() + _NOISE_ERROR**2)
    return Coefficients(scale, _zero(t), torch.ones_like(t), gain, -t * gain)


def _unit_scale(t: Tensor) -> Tensor:
    return torch.rsqrt(t.square() + (1 - t).square())


def _zero(t: Tensor) -> Tensor:
    return torch.zeros_like(t)
