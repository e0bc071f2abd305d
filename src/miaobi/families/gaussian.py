"""A normal distribution fitted by its moments: the classical floor under every model of images, sound and video.

One mean for each class where there is a label, one covariance within classes: linear discriminant analysis's model of
the data (Fisher 1936). Learns in one pass; nothing is optimised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.networks import Network
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

FULL_UP_TO = 4096
"""Numbers an item up to which every pair's covariance is kept."""


class Gaussian(Family):
    """Items as flat vectors ``[D]``: a mean a class, and one covariance (full, or its diagonal where D is large).

    An absent label means the distribution of all items; before any item it is the unit normal. Moments are float64.
    """

    class Config(FamilyConfig):
        """What is kept of the second moments."""

        covariance: Literal["full", "diagonal"] | None = Value(
            None, description=f"default: full up to {FULL_UP_TO} numbers an item"
        )
        unconditional: bool = Value(False, description="pay no regard to conditions: the floor of models that do")
        ridge: float = Value(1e-4, gt=0, le=1, description="added to every variance; data span [-1, 1]")

    class Controls(_base.Controls):
        """How samples are drawn."""

        temperature: float = Value(1.0, ge=0, le=10, description="scales the noise")

    targets = frozenset({Form.TENSOR})
    roles: ClassVar[dict[str, str]] = {}

    count: Tensor
    total: Tensor
    square: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        size = target.size
        self.full = (config.covariance or ("full" if size <= FULL_UP_TO else "diagonal")) == "full"
        self.label = None if config.unconditional else next(iter(conditions), None)
        classes = conditions[self.label].vocabulary if self.label is not None else 0
        # The last row is of items whose label is absent.
        self.register_buffer("count", torch.zeros(classes + 1, dtype=torch.float64))
        self.register_buffer("total", torch.zeros(classes + 1, size, dtype=torch.float64))
        self.register_buffer("square", torch.zeros((size, size) if self.full else (size,), dtype=torch.float64))

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """No network; one label at most, and a full covariance of no more numbers than fit."""
        if target.form is not Form.TENSOR:
            raise Unsupported("gaussian models tensors", given=target.form.value, cure="for tokens use ngram")
        if config.covariance == "full" and target.size > 2 * FULL_UP_TO:
            raise Unsupported(
                "a full covariance of so many numbers does not fit",
                given=f"{target.size} numbers an item",
                allowed=f"up to {2 * FULL_UP_TO}",
                cure="model.options.covariance: diagonal",
            )
        if config.unconditional:
            return {}
        if len(conditions) > 1 or any(spec.form is not Form.LABEL for spec in conditions.values()):
            raise Unsupported(
                "gaussian takes one label",
                given=", ".join(f"{name}: {spec.form}" for name, spec in conditions.items()),
                cure="leave the other conditions out, or set model.options.unconditional",
            )
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "likelihood"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise Unsupported("gaussian has no loss", given=f"phase {phase!r}", cure="call observe: it learns by counting")

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Add a batch's moments."""
        x = batch.target.values.double().flatten(1)
        kinds = self._kinds(batch.conditions, len(x))
        self.count.index_add_(0, kinds, torch.ones_like(x[:, 0]))
        self.total.index_add_(0, kinds, x)
        self.square += x.T @ x if self.full else x.square().sum(0)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Of the density; quantised data is dequantised with uniform noise, which makes it an upper bound."""
        x = batch.target.values.double()
        step = 2 / (self.target.levels - 1) if self.target.levels else 0.0
        if step:
            x = x + step * (uniform(seeds, "dequantise", x.shape[1:]).double() - 0.5)
        kinds = self._kinds(batch.conditions, len(x))
        means, rest = self._means(), x.flatten(1)
        nats = torch.empty(len(x), dtype=torch.float64, device=x.device)
        for told in (True, False):
            rows = self._told(kinds) if told else ~self._told(kinds)
            if rows.any():
                nats[rows] = self._nats(rest[rows] - means[kinds[rows]], self._factor(within=told))
        predicted = torch.full((len(x),), self.target.size, device=x.device)
        return Bound((nats - self.target.size * (math.log(step) if step else 0.0)).float(), not step, predicted)

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """``[len(seeds), C, *space]``; pixels are clamped to [-1, 1] where the data has levels."""
        refuse_prefix(prefix, "gaussian")
        temperature = (controls or self.Controls()).temperature
        kinds, means = self._kinds(conditions, len(seeds)), self._means()
        drawn = temperature * noise(seeds, "gaussian", (self.target.size,)).double()
        x = torch.empty_like(drawn)
        for told in (True, False):
            rows = self._told(kinds) if told else ~self._told(kinds)
            if rows.any():
                factor = self._factor(within=told)
                x[rows] = means[kinds[rows]] + (drawn[rows] @ factor.T if self.full else drawn[rows] * factor)
        values = x.float().reshape(len(seeds), self.target.channels, *self.target.space)
        return Samples(values.clamp(-1, 1) if self.target.levels else values)

    def _kinds(self, conditions: Mapping[str, Field], rows: int) -> Tensor:
        """``[B]`` the class of each item, or the last row's number."""
        none = torch.full((rows,), len(self.count) - 1, device=self.device)
        field = None if self.label is None else conditions.get(self.label)
        return none if field is None else torch.where(field.is_present(), field.values, none)

    def _told(self, kinds: Tensor) -> Tensor:
        """Which rows have the distribution of a class: one that was seen."""
        return (kinds < len(self.count) - 1) & (self.count[kinds] > 0)

    def _means(self) -> Tensor:
        """``[K + 1, D]``; the mean of all items where a class was never seen, and in the last row."""
        everything = (self.total.sum(0) / self._items())[None]
        own = self.total / self.count.clamp(min=1)[:, None]
        seen = self.count > 0
        seen[-1] = False
        return torch.where(seen[:, None], own, everything)

    def _factor(self, *, within: bool) -> Tensor:
        """Lower-triangular root of the covariance ``[D, D]`` within classes, or of all items; or deviations ``[D]``."""
        items = self._items()
        counts, means = (self.count, self._means()) if within else (items[None], self.total.sum(0)[None] / items)
        if not self.count.sum():
            return torch.eye(len(self.square)).to(self.square) if self.full else torch.ones_like(self.square)
        if self.full:
            spread = (self.square - (means * counts[:, None]).T @ means) / items
            spread = spread + self.config.ridge * torch.eye(len(spread), dtype=spread.dtype, device=spread.device)
            return torch.linalg.cholesky(spread)
        spread = (self.square - (counts[:, None] * means.square()).sum(0)) / items
        return (spread.clamp(min=0) + self.config.ridge).sqrt()

    def _nats(self, apart: Tensor, factor: Tensor) -> Tensor:
        """Negative log-density of differences ``[B, D]`` from the mean."""
        if self.full:
            unit = torch.linalg.solve_triangular(factor, apart.T, upper=False).T
            volume = factor.diagonal().log().sum()
        else:
            unit, volume = apart / factor, factor.log().sum()
        return 0.5 * unit.square().sum(1) + volume + 0.5 * self.target.size * math.log(2 * math.pi)

    def _items(self) -> Tensor:
        return self.count.sum().clamp(min=1)
