import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._shortcut import FINEST, Drawn, draw, from_halves, told, told_in
from miaobi.families.diffusion import Diffusion
from miaobi.models.construct import describe, rebuild
from miaobi.sampling import solvers
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Batch, Field, vector_spec
from tests.families.test_diffusion import SEEDS, stir, train
from tests.support.tensors import CONDITIONS, IMAGE, batch_of, family_of

SHORTCUT = {"shortcut": 0.5}
LABEL = {"label": CONDITIONS["label"]}


def ring(seed, count):
    """Eight narrow modes, far from any average of them."""
    ids = torch.arange(count)
    angle = ids % 8 * (math.pi / 4)
    values = 0.9 * torch.stack([angle.cos(), angle.sin()], 1) + 0.06 * noise(seeds_of(seed, ids), "values", (2,))
    return Batch(Field(values), ids=ids)


def energy_distance(left, right):
    between, within = torch.cdist(left, right).mean(), torch.cdist(left, left).mean() + torch.cdist(right, right).mean()
    return (2 * between - within).item()


def made(family, count=6, conditions=None, **controls):
    return family.sample(
        conditions or {}, controls=Diffusion.Controls(**controls), seeds=seeds_of(2, range(count))
    ).values


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**40), st.floats(0.05, 0.9))
def test_a_step_begins_where_steps_of_its_size_end_and_stays_on_the_path(seed, share):
    seeds = seeds_of(seed, range(2000))
    drawn = draw(seeds, share)
    assert abs(len(drawn.rows) / 2000 - share) < 0.06
    size = 2 * drawn.half
    assert set(size.tolist()) == {2.0**-level for level in range(7)}
    assert torch.equal(drawn.t / size, (drawn.t / size).round())
    assert (drawn.t - size).min() == 0
    assert drawn.t.max() == 1
    alone = draw(seeds[drawn.rows[3:4]], share)
    assert (alone.half, alone.t) == (drawn.half[3:4], drawn.t[3:4])


def test_the_finest_step_is_the_flow_itself():
    assert told(torch.tensor([1.0, 1 / 64, 1 / 128, 0.0])).tolist() == [1.0, 1 / 64, 0.0, 0.0]
    assert [told_in(steps) for steps in (1, 4, 64, 128, 777)] == [1.0, 1 / 4, 1 / 64, 0.0, 0.0]
    for steps in (3, 12, 127):
        with pytest.raises(InvalidRecipe, match="power of two"):
            told_in(steps)


def test_a_step_leads_where_its_halves_lead():
    """Of dx/dt = x the average velocity over a step has a closed form."""

    def average(x, t, size):
        return x * ((1 - torch.exp(-size)) / size)[:, None]

    x, t, half = torch.tensor([[1.0], [-2.0]]), torch.tensor([1.0, 0.5]), torch.tensor([0.5, 0.25])
    torch.testing.assert_close(from_halves(average, x, t, half), average(x, t, 2 * half))
    times = []
    from_halves(lambda x, t, size: times.append((t.tolist(), size.tolist())) or x, x, t, half / 64)
    assert times == [([1.0, 0.5], [0.0, 0.0]), ([1 - 1 / 128, 0.5 - 1 / 256], [0.0, 0.0])]
    assert half[0] / 64 == 1 / FINEST


def test_one_and_two_steps_come_closer_to_the_data_than_the_flows():
    held_out = ring(9, 1000).target.values
    distances = {}
    for share in (0.0, 0.25):
        torch.manual_seed(0)
        network = {"name": "mlp", "hidden": [64, 64, 64]}
        family = family_of("diffusion", {"shortcut": share}, target=vector_spec(2), network=network)
        train(family, ring(0, 256), 250, rate=5e-3)
        distances[share] = {
            steps: energy_distance(made(family, 1000, solver="euler", steps=steps), held_out) for steps in (1, 2, 128)
        }
    plain, short = distances[0.0], distances[0.25]
    assert short[1] < plain[1] / 5
    assert short[2] < plain[2] / 4
    assert short[128] < 2 * plain[128] + 0.01


def test_the_network_is_told_without_the_recipe_saying_so_and_loads_again():
    for network in ("mlp", "unet", "dit"):
        family = family_of("diffusion", SHORTCUT, network=network)
        assert family.denoiser.config.step
        assert not family_of("diffusion", network=network).denoiser.config.step
        again = rebuild(Diffusion, describe(stir(family)), {})
        again.load_state_dict(family.state_dict())
        assert torch.equal(made(again.eval(), steps=2), made(family, steps=2))
    scalar = family_of("diffusion", SHORTCUT, target=vector_spec(1))
    assert made(scalar, steps=1).shape == (6, 1)
    with pytest.raises(Unsupported, match=r"inputs time, step(?s:.)*unet"):
        family_of("diffusion", SHORTCUT, network="convolutional")


@pytest.mark.parametrize("network", ["mlp", "unet", "dit"])
def test_the_loss_is_the_sum_of_its_items_with_a_gradient_for_every_parameter(network):
    torch.manual_seed(0)
    family = stir(family_of("diffusion", {"shortcut": 0.4}, conditions=CONDITIONS, network=network))
    batch, chosen = batch_of(conditions=CONDITIONS), draw(SEEDS, 0.4).rows
    assert 0 < len(chosen) < 6
    whole = family(batch, "denoise", SEEDS)
    parts = [family(batch.select(slice(row, row + 1)), "denoise", SEEDS[row : row + 1]) for row in range(6)]
    for name in ("error", "shortcut_error"):
        torch.testing.assert_close(sum(part.parts[name] for part in parts), whole.parts[name])
    assert 0 < whole.parts["shortcut_error"] < whole.parts["error"]
    with torch.autocast("cpu", torch.bfloat16):
        family(batch, "denoise", SEEDS).total.backward()
    rough = {name: p.grad for name, p in family.named_parameters()}
    family.zero_grad(set_to_none=True)
    whole.total.backward()
    for name, parameter in family.named_parameters():
        assert parameter.grad is not None
        assert (rough[name] - parameter.grad).norm() <= 0.2 * parameter.grad.norm() + 1e-3, name


def test_targets_are_two_half_steps_of_the_network_itself_and_carry_no_gradient():
    family = family_of("diffusion", SHORTCUT, target=vector_spec(3))
    batch, drawn = batch_of(vector_spec(3)), draw(SEEDS, 0.5)
    assert 0 < len(drawn.rows) < 6
    asked = []

    def network(x, conditions, time, step):
        asked.append((time, step, torch.is_grad_enabled()))
        return x * (1 - torch.exp(-step))[:, None] / step[:, None].clamp(min=1e-9)

    family.denoiser.forward = network
    loss = family(batch, "denoise", SEEDS)
    (t, step, learns), *halves = sorted(asked, key=lambda call: not call[2])
    assert learns
    assert [tuple(half[0].tolist()) for half in halves] == [
        tuple(drawn.t.tolist()),
        tuple((drawn.t - drawn.half).tolist()),
    ]
    assert not any(half[2] for half in halves)
    assert torch.equal(t[drawn.rows], drawn.t)
    assert torch.equal(step[drawn.rows], 2 * drawn.half)
    # This network is consistent where its halves are not told to be the flow's.
    assert (drawn.half > 1 / FINEST).all()
    assert loss.parts["shortcut_error"] < 1e-9
    assert loss.parts["error"] > 0.01


def test_euler_is_told_its_step_and_every_other_solver_follows_the_flow():
    family = stir(family_of("diffusion", SHORTCUT, target=vector_spec(3)))
    forward, seen = family.denoiser.forward, []

    def network(x, conditions, time, step):
        seen.append((round(time[0].item(), 4), step[0].item()))
        return forward(x, conditions, time=time, step=step)

    family.denoiser.forward = network
    few = made(family, steps=2)
    assert seen == [(1.0, 0.5), (0.5, 0.5)]
    assert torch.equal(few, made(family, steps=2, solver="euler"))
    batch = batch_of(vector_spec(3))
    seen.clear()
    controls = Diffusion.Controls(steps=2, repeats=2)
    family.edit(batch, torch.ones(6, 1, dtype=torch.bool), controls=controls, seeds=SEEDS)
    assert {step for _, step in seen} == {0.5}
    for solver in set(solvers.names()) - {"euler"}:
        seen.clear()
        made(family, steps=3, solver=solver)
        assert {step for _, step in seen} == {0.0}
    seen.clear()
    made(family, steps=128)
    family.denoising_error(batch, 0.5, SEEDS)
    family.log_likelihood(batch, seeds=SEEDS)
    assert {step for _, step in seen} == {0.0}


def test_only_the_step_that_ends_at_the_data_is_kept_within_its_range():
    family = family_of("diffusion", SHORTCUT, target=IMAGE)
    family.denoiser.forward = lambda x, conditions, time, step: x - 3
    x = torch.zeros(2, *IMAGE.space)[:, None]
    with torch.no_grad():
        denoise = family._denoise({}, Diffusion.Controls(steps=2))
        assert denoise(x, 1.0).max() == 3
        assert denoise(x, 0.5).max() == 1
        assert family._denoise({}, Diffusion.Controls(steps=2, solver="heun"))(x, 1.0).max() == 1
    assert made(family, steps=4).abs().max() <= 1


def test_guidance_is_learnt_at_the_finest_step_or_given_when_sampling():
    free_of_it, baked = (
        stir(
            family_of(
                "diffusion", {"shortcut": 0.9, "shortcut_guidance": g}, target=vector_spec(3), conditions=LABEL, seed=1
            )
        )
        for g in (1.0, 3.0)
    )
    batch = batch_of(vector_spec(3), LABEL)
    x, rows = noise(SEEDS, "x", (3,)), torch.arange(6)
    finest, larger = (
        [f._from_halves(x, batch.conditions, _drawn(rows, half)) for f in (free_of_it, baked)] for half in (128, 4)
    )
    assert (finest[0] - finest[1]).abs().max() > 1e-3
    assert torch.equal(*larger)
    told_, guided = (made(free_of_it, conditions=batch.conditions, steps=2, guidance=g) for g in (1.0, 3.0))
    assert (told_ - guided).abs().max() > 1e-3
    with pytest.raises(InvalidRecipe, match="already"):
        made(baked, conditions=batch.conditions, steps=2, guidance=2.0)
    assert made(baked, conditions=batch.conditions, solver="heun", guidance=2.0).shape == (6, 3)


def _drawn(rows, parts):
    return Drawn(rows, torch.full((len(rows),), 1 / parts), torch.ones(len(rows)))


def test_what_shortcuts_are_not_of_is_refused():
    for options, message in (
        ({"objective": "edm"}, "objective: flow"),
        ({"objective": "ddpm"}, "objective: flow"),
        ({"prediction": "data"}, "objective: flow"),
        ({"min_snr": 5.0}, "leave it out"),
        ({"shortcut": 0.0, "shortcut_guidance": 2.0}, "set shortcut"),
    ):
        with pytest.raises(InvalidRecipe, match=message):
            Diffusion.Config.parse({**SHORTCUT, **options})
    with pytest.raises(InvalidRecipe, match="no conditions"):
        family_of("diffusion", {**SHORTCUT, "shortcut_guidance": 2.0})
    family = family_of("diffusion", SHORTCUT)
    with pytest.raises(InvalidRecipe, match="power of two"):
        made(family, steps=3)
    with pytest.raises(InvalidRecipe, match="even steps"):
        made(family, steps=4, grid="karras")
    with pytest.raises(Unsupported, match="step: true"):
        made(family_of("diffusion", SHORTCUT, network={"name": "unet", "step": False}), steps=1)
