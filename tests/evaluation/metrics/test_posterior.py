"""The report of posterior collapse, on posteriors whose figures are known."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miaobi.errors import Diverged, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics.posterior import active, agreement, information
from miaobi.families._posteriors import Posterior, active_units, charged, follow, moments_of
from miaobi.families._priors import StandardPrior
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Batch, Field, Samples
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


class Telling(Sampler):
    """Posteriors at ``spread`` times a normal draw of each item's own, with deviation ``width``."""

    spread: ClassVar[float] = 1.0
    width: ClassVar[float] = 1.0

    def posterior(self, batch: Batch) -> Posterior:
        mean = self.spread * noise(seeds_of(7, batch.ids), "mean", (3,))
        return Posterior(mean, torch.full_like(mean, math.log(self.width)))

    def divergence(self, batch: Batch, *, seeds: Tensor) -> Tensor:
        posterior = self.posterior(batch)
        return posterior.divergence(StandardPrior(3), posterior.draw(seeds)).sum(1)


class Sharp(Telling):
    """No two posteriors overlap."""

    spread, width = 10.0, 0.001


class Silent(Telling):
    """The prior, for every item."""

    spread = 0.0


class Broken(Telling):
    spread = math.inf


class Keeping(Telling):
    """Gives every text back whole, or with its first ``wrong`` tokens changed."""

    wrong = 0

    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        raise AssertionError("the posterior's mean is at hand")

    def posterior(self, batch: Batch) -> Posterior:
        self.last = batch.target
        return super().posterior(batch)

    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        assert controls is None
        values = self.last.values.clone()
        values[:, : self.wrong] += 1
        return Samples(values, self.last.lengths)


def figures(kind: type[Telling], **options: Any) -> dict[str, Any]:
    items = digits(60)
    modality = image(items)
    return score(context(kind(modality, items), data(modality, items[:20], items[20:]), **options), ["posterior"])


def test_sharp_posteriors_tell_the_items_apart_up_to_the_limit() -> None:
    found = figures(Sharp)
    assert list(found) == ["active_units", "mutual_information", "divergence"]
    assert found["active_units"].value == 3
    assert found["mutual_information"].value == pytest.approx(math.log(40), abs=1e-6)
    detail = found["mutual_information"].protocol["detail"]
    assert detail == {"dimensions": 3, "limit": pytest.approx(math.log(40))}
    assert Direction(found["divergence"].protocol["direction"]) is Direction.NEITHER


def test_a_collapsed_posterior_says_nothing() -> None:
    found = figures(Silent)
    assert [found[name].value for name in found] == pytest.approx([0, 0, 0], abs=1e-6)


def test_the_divergence_is_that_of_torch_and_has_its_interval() -> None:
    found = figures(Telling, seed=3)["divergence"]
    mean = noise(seeds_of(7, torch.arange(1, 41)), "mean", (3,))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, 1.0), torch.distributions.Normal(0.0, 1.0)
    )
    assert found.value == pytest.approx(expected.sum(1).mean().item(), rel=1e-5)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


def test_information_is_that_of_a_normal_channel() -> None:
    """With means normal of variance 4 and unit noise it is log(5) / 2 a dimension."""
    mean = 2 * noise(seeds_of(0, range(3000)), "mean", (1,))
    found = information(Posterior(mean, torch.zeros_like(mean)), seeds_of(1, range(3000)))
    assert found.mean() == pytest.approx(math.log(5) / 2, abs=0.05)


@given(st.integers(0, 1000), st.integers(1, 30), st.floats(0.01, 5))
def test_information_never_exceeds_its_limit(seed: int, count: int, width: float) -> None:
    mean = noise(seeds_of(seed, range(count)), "mean", (2, 2))
    found = information(Posterior(mean, torch.full_like(mean, math.log(width))), seeds_of(seed, range(count)))
    assert (found <= math.log(count) + 1e-6).all()


def test_dimensions_count_from_a_variance_of_a_hundredth() -> None:
    mean = torch.tensor([[-1.0, 0.11, 5], [1, -0.11, 5], [-1, 0.09, 5], [1, -0.09, 5]])
    assert active(mean) == 2
    running = torch.zeros(3, 3)
    follow(running, moments_of(mean[:2]) + moments_of(mean[2:]))
    assert active_units(running) == 2


def test_means_that_wander_together_are_no_use() -> None:
    running = torch.zeros(3, 2)
    for step in range(50):
        follow(running, moments_of(torch.full((8, 2), float(step)) + torch.tensor([[0.0, 1.0], [0.0, -1.0]] * 4)))
    assert active_units(running) == 1


def test_free_bits_are_a_dimensions_own() -> None:
    nats = torch.tensor([[0.1, 2.0], [0.6, 0.2]])
    assert charged(nats, 0.0, 2).tolist() == pytest.approx([2.1, 0.8])
    assert charged(nats, 0.5, 2).tolist() == pytest.approx([2.5, 1.1])
    assert charged(nats.sum(1, keepdim=True), 0.5, 2).tolist() == pytest.approx([2.1, 1.0])


@pytest.mark.parametrize("wrong", [0, 5])
def test_tokens_that_come_back_are_counted_by_place(wrong: int) -> None:
    lines = [line[:40] for line in sentences(30)]
    modality = text(lines)
    family = Keeping(modality, lines)
    family.wrong = wrong
    found = score(context(family, data(modality, lines[:10], lines[10:]), batch_rows=7), ["posterior"])
    accuracy = found["token_accuracy"]
    assert accuracy.value == pytest.approx(1 - wrong / 40)
    others = [agreement(one, other) for one, other in zip(lines[10:], [*lines[11:], lines[10]], strict=True)]
    if not wrong:
        assert accuracy.floor == pytest.approx(np.mean(others))


def test_a_missing_token_differs_from_any() -> None:
    assert agreement([1, 2, 3], [1, 2]) == pytest.approx(2 / 3)
    assert agreement([], [4]) == 0
    assert agreement([], []) == 1


def test_no_figure_depends_on_the_batch_size() -> None:
    values = [[one.value for one in figures(Telling, batch_rows=rows).values()] for rows in (1, 64)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_what_cannot_be_measured_is_refused() -> None:
    items = digits(10)
    modality = image(items)
    with pytest.raises(Unsupported, match="Infers"):
        score(context(Sampler(modality, items), data(modality, items, items)), ["posterior"])
    with pytest.raises(Diverged, match="not finite"):
        figures(Broken)


def test_the_continuous_family_is_measured_too() -> None:
    from miaobi.evaluation.metrics.posterior import Infers
    from miaobi.families.sequence_vae import SequenceVAE
    from miaobi.families.vae import VAE

    assert issubclass(VAE, Infers)
    assert issubclass(SequenceVAE, Infers)
