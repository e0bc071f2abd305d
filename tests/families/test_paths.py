import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.families._paths import Times, make_objective, make_times, mix
from miaobi.sampling.noise import noise, seeds_of

CHOICES = [
    ("flow", "velocity"),
    ("flow", "noise"),
    ("flow", "data"),
    ("edm", None),
    ("ddpm", "velocity"),
    ("ddpm", "noise"),
    ("ddpm", "data"),
]
every = pytest.mark.parametrize(("name", "prediction"), CHOICES)


def objective(name, prediction=None, data_std=0.5, min_snr=None):
    return make_objective(name, prediction, make_times(name), data_std, min_snr)


@every
@given(st.floats(0, 1), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 3))
def test_what_is_asked_for_says_what_the_data_is(name, prediction, time, clean, fresh, data_std):
    t = torch.tensor([time], dtype=torch.float64)
    at = objective(name, prediction, data_std).coefficients(t)
    x = mix(torch.tensor([clean], dtype=torch.float64), t, torch.tensor([fresh], dtype=torch.float64))
    answer = at.data * clean + at.noise * fresh
    found = at.skip * x + at.out * answer
    assert torch.isfinite(torch.stack([at.scale, at.data, at.noise, at.skip, at.out])).all()
    if prediction == "noise":
        # Drawn to zero as the data's share vanishes: by under a hundredth before it is a fifth.
        assert found.item() == pytest.approx(clean * (1 - time) ** 2 / ((1 - time) ** 2 + 0.02**2), abs=1e-6)
    elif name == "edm" and time == 1:
        assert found.item() == pytest.approx(clean)
    else:
        assert found.item() == pytest.approx(clean, abs=1e-6)


@given(st.floats(0.001, 0.999), st.floats(0.1, 3))
def test_edm_is_as_published(time, std):
    """Table 1 of Karras et al. 2022, in its own terms: sigma = t / (1 - t) and x / (1 - t)."""
    sigma = time / (1 - time)
    at = objective("edm", data_std=std).coefficients(torch.tensor([time], dtype=torch.float64))
    whole = sigma**2 + std**2
    assert at.scale.item() * (1 - time) == pytest.approx(1 / math.sqrt(whole))
    assert at.skip.item() * (1 - time) == pytest.approx(std**2 / whole)
    assert at.out.item() == pytest.approx(sigma * std / math.sqrt(whole))


@every
def test_inputs_and_answers_of_ddpm_and_edm_have_unit_variance(name, prediction):
    if name == "flow":
        pytest.skip("the straight path is not rescaled")
    std = 0.7 if name == "edm" else 1.0
    t = torch.linspace(0.01, 0.99, 50).double()
    at = objective(name, prediction, std).coefficients(t)
    seen = at.scale.square() * (((1 - t) * std).square() + t.square())
    asked = (at.data * std).square() + at.noise.square()
    torch.testing.assert_close(seen, torch.ones_like(t))
    torch.testing.assert_close(asked, torch.ones_like(t))


def test_min_snr_weights_are_as_published():
    """Table 1 of Hang et al. 2023: min(SNR, 5) over SNR for noise, over SNR + 1 for velocity, 1 times for data."""
    t = torch.tensor([0.05, 0.2, 0.5, 0.8]).double()
    ratio = ((1 - t) / t).square()
    cut = ratio.clamp(max=5)
    expected = {"noise": cut / ratio, "velocity": cut / (ratio + 1), "data": cut}
    for prediction, weight in expected.items():
        found = objective("ddpm", prediction, min_snr=5.0).weight(t)
        torch.testing.assert_close(found, weight, rtol=0.02, atol=0)
    assert torch.equal(objective("ddpm").weight(t), torch.ones_like(t))


def test_training_times_are_distributed_as_published():
    seeds = seeds_of(0, range(40_000))
    for name, mean, std in [("flow", 0.0, 1.0), ("edm", -1.2, 1.2)]:
        t = make_times(name)(seeds)
        ratio = (t / (1 - t)).log()
        assert ratio.mean().item() == pytest.approx(mean, abs=0.03)
        assert ratio.std().item() == pytest.approx(std, abs=0.03)
    angle = (make_times("ddpm")(seeds) / (1 - make_times("ddpm")(seeds))).atan() / (math.pi / 2)
    for drawn in (angle, Times("uniform")(seeds)):
        assert (drawn.sort().values - torch.linspace(0, 1, len(drawn))).abs().max() < 0.01
    assert make_times("edm", std=2.0) == Times("logit_normal", -1.2, 2.0)


def test_times_hang_on_each_items_own_seed():
    seeds = seeds_of(0, range(8))
    for name in ("flow", "edm", "ddpm"):
        together = make_times(name)(seeds)
        assert torch.equal(together[3:5], make_times(name)(seeds[3:5]))
        assert len(set(together.tolist())) == 8


def test_a_batch_is_mixed_by_its_own_times():
    clean, fresh = noise(seeds_of(0, range(3)), "a", (2, 4)), noise(seeds_of(0, range(3)), "b", (2, 4))
    mixed = mix(clean, torch.tensor([0.0, 0.5, 1.0]), fresh)
    assert torch.equal(mixed[0], clean[0])
    assert torch.equal(mixed[2], fresh[2])
    torch.testing.assert_close(mixed[1], (clean[1] + fresh[1]) / 2)
