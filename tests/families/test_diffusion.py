import math
from dataclasses import replace

import pytest
import torch

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families import Editing, Likelihood, Sampling
from miaobi.families.diffusion import Diffusion
from miaobi.sampling import solvers
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Batch, Field, Form, Spec, vector_spec
from tests.support.tensors import CONDITIONS, IMAGE, SPACES, batch_of, family_of, freeze_but

SEEDS = seeds_of(1, range(6))
OBJECTIVES = [
    {"objective": "flow"},
    {"objective": "flow", "prediction": "data", "times": "uniform"},
    {"objective": "flow", "prediction": "noise", "time_mean": 0.5},
    {"objective": "edm", "data_std": 0.6},
    {"objective": "ddpm", "min_snr": 5.0},
    {"objective": "ddpm", "prediction": "noise"},
]
MLP = {"name": "mlp", "time": True}


def stir(family, size=0.05):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return family.eval()


def train(family, batch, steps, rate=3e-3):
    family.train()
    optimiser = torch.optim.Adam(family.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        loss = family(batch, "denoise", seeds_of(step, batch.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
        losses.append(loss.total.item() / loss.count)
    family.eval()
    return losses


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_sound_images_and_video_with_label_and_text(space, network):
    target = Spec(Form.TENSOR, 2, space)
    family = family_of("diffusion", target=target, conditions=CONDITIONS, network=network)
    batch = batch_of(target, CONDITIONS)
    freeze_but(family, family.phases()[0].modules)
    family(batch, "denoise", SEEDS).total.backward()
    assert all(p.grad is not None for p in family.parameters())
    controls = Diffusion.Controls(steps=2, guidance=2.0)
    assert family.sample(batch.conditions, controls=controls, seeds=SEEDS).values.shape == batch.target.values.shape
    mask = torch.zeros(6, 1, *space, dtype=torch.bool)
    edited = family.edit(batch, mask, controls=controls, seeds=SEEDS)
    assert torch.equal(edited.values, batch.target.values)


@pytest.mark.parametrize("options", OBJECTIVES, ids=str)
def test_every_objective_overfits_and_its_samples_find_the_item(options):
    torch.manual_seed(0)
    target = vector_spec(4)
    family = family_of("diffusion", options, target=target, network=MLP)
    item = torch.tensor([0.9, -0.9, 0.3, -0.2])
    batch = Batch(Field(item.expand(64, 4).contiguous()), ids=torch.arange(64))
    losses = train(family, batch, 200)
    assert sum(losses[-20:]) < 0.35 * sum(losses[:20])
    made = family.sample({}, seeds=SEEDS).values
    assert (made - item).abs().mean() < 0.2


def test_a_flow_of_flat_vectors_learns_a_mixture():
    torch.manual_seed(0)
    family = family_of("diffusion", {"objective": "flow"}, target=vector_spec(2), network="mlp")
    ids = torch.arange(512)
    side = (ids % 2 * 2 - 1).float()
    values = torch.stack([0.8 * side, -0.5 * side], 1) + 0.1 * noise(seeds_of(0, ids), "values", (2,))
    train(family, Batch(Field(values), ids=ids), 300)
    made = family.sample({}, seeds=seeds_of(2, range(1000))).values
    right = made[:, 0] > 0
    assert 0.4 < right.float().mean() < 0.6
    for where, sign in ((right, 1), (~right, -1)):
        assert (made[where].mean(0) - sign * torch.tensor([0.8, -0.5])).abs().max() < 0.08
        assert 0.05 < made[where].std(0).max() < 0.2
    nats = family.log_likelihood(Batch(Field(values[:200]), ids=ids[:200]), seeds=seeds_of(3, ids[:200]))
    entropy = math.log(2) + math.log(2 * math.pi * math.e * 0.01)
    assert nats.nats.mean().item() == pytest.approx(entropy, abs=0.4)
    assert not nats.exact


def test_the_loss_adds_up_over_items_and_ignores_what_weighs_nothing():
    family = stir(family_of("diffusion", {"objective": "edm"}))
    batch = batch_of()
    whole = family(batch, "denoise", SEEDS)
    parts = [family(batch.select(cut), "denoise", SEEDS[cut]) for cut in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total)
    weight = torch.ones(6, 8, 8)
    weighed = replace(batch, target=replace(batch.target, weight=weight))
    torch.testing.assert_close(family(weighed, "denoise", SEEDS).total, whole.total)
    weight[:, :, 4:] = 0
    assert family(weighed, "denoise", SEEDS).total != whole.total


def test_the_error_of_the_velocity_is_in_the_same_terms_for_every_objective():
    batch = batch_of()
    clean, fresh = batch.target.values, noise(SEEDS, "noise", (1, 8, 8))
    for options in OBJECTIVES:
        family = family_of("diffusion", options)
        answer = {}

        def perfect(x, conditions, time, family=family, answer=answer):
            at = family.objective.coefficients(time)
            answer["t"] = time[0].item()
            return at.data.view(-1, 1, 1, 1) * clean + at.noise.view(-1, 1, 1, 1) * fresh

        family.denoiser.forward = perfect
        for t in (0.1, 0.5, 0.8):
            assert family.denoising_error(batch, t, SEEDS).max() < 2e-4
            assert answer["t"] == pytest.approx(t)
    family = family_of("diffusion", {"prediction": "data"})
    family.denoiser.forward = lambda x, conditions, time: torch.zeros_like(x)
    expected = (clean / 0.5).square().flatten(1).mean(1)
    torch.testing.assert_close(family.denoising_error(batch, 0.5, SEEDS), expected)


def test_guidance_goes_from_without_conditions_through_with_them_and_beyond():
    family = stir(family_of("diffusion", target=vector_spec(5), conditions=CONDITIONS))
    conditions = batch_of(vector_spec(5), CONDITIONS).conditions
    x = noise(SEEDS, "x", (5,))

    def at(t=0.5, **controls):
        with torch.no_grad():
            return family._denoise(conditions, Diffusion.Controls(**controls))(x, t)

    gone = {k: replace(f, present=torch.zeros(6, dtype=torch.bool)) for k, f in conditions.items()}
    free = family._denoise(gone, Diffusion.Controls())(x, 0.5)
    told = at()
    assert (told - free).abs().max() > 1e-3
    torch.testing.assert_close(at(guidance=0), free)
    torch.testing.assert_close(at(guidance=3), free + 3 * (told - free))
    torch.testing.assert_close(at(guidance=3, guidance_interval=(0.6, 0.9)), told)
    absent = {"label": conditions["label"]}
    assert family.sample(absent, controls=Diffusion.Controls(guidance=2.0), seeds=SEEDS).values.shape == (6, 5)


@pytest.mark.parametrize("solver", solvers.names())
@pytest.mark.parametrize("grid", [None, "uniform", "karras", "cosine"])
def test_every_solver_and_grid_samples_and_a_batch_equals_its_items(solver, grid):
    family = stir(family_of("diffusion", {"objective": "edm"}))
    controls = Diffusion.Controls(solver=solver, grid=grid, steps=4)
    together = family.sample({}, controls=controls, seeds=SEEDS).values
    assert together.abs().max() <= 1
    alone = torch.cat([family.sample({}, controls=controls, seeds=SEEDS[i : i + 1]).values for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.flatten(1).std(0).max() > 0.01


def test_controls_change_samples():
    family = stir(family_of("diffusion"))

    def made(**controls):
        return family.sample({}, controls=Diffusion.Controls(**controls), seeds=SEEDS).values

    heun = made()
    assert torch.equal(heun, made(solver="heun", steps=8, grid="uniform"))
    others = [{"steps": 3}, {"solver": "euler"}, {"grid": "karras"}, {"solver": "ddim", "eta": 0.5}]
    assert all(not torch.equal(heun, made(**other)) for other in others)
    assert torch.equal(made(solver="dpm-solver"), made(solver="dpm_solver"))


def test_only_quantised_data_is_known_to_end():
    for target, largest in ((Spec(Form.TENSOR, 1, (8, 8)), 2.0), (IMAGE, 1.0)):
        family = family_of("diffusion", {"prediction": "data"}, target=target)
        family.denoiser.forward = lambda x, conditions, time: torch.full_like(x, 2.0)
        assert family.sample({}, seeds=SEEDS).values.max() == largest


@pytest.mark.parametrize("controls", [{}, {"repeats": 3}, {"solver": "ddim", "eta": 1.0}, {"solver": "dpm_solver"}])
def test_an_edit_changes_what_the_mask_says_and_nothing_else(controls):
    family = stir(family_of("diffusion"))
    batch = batch_of()
    mask = torch.zeros(6, 8, 8, dtype=torch.bool)
    mask[:, 2:6, 2:6] = True
    controls = Diffusion.Controls(steps=3, **controls)
    out = family.edit(batch, mask, controls=controls, seeds=SEEDS).values
    kept = ~mask[:, None]
    assert torch.equal(out[kept], batch.target.values[kept])
    assert (out[~kept] - batch.target.values[~kept]).abs().mean() > 0.05
    alone = family.edit(batch.select(slice(2, 3)), mask[2:3], controls=controls, seeds=SEEDS[2:3]).values
    torch.testing.assert_close(out[2:3], alone, rtol=1e-4, atol=1e-5)


def test_an_edit_agrees_with_what_it_keeps():
    """Two coordinates that always agree: given one, the edit finds the other, most often where steps are repeated."""
    torch.manual_seed(0)
    family = family_of("diffusion", target=vector_spec(2), network="mlp")
    ids = torch.arange(512)
    side = (ids % 2 * 2 - 1).float()[:, None].expand(-1, 2)
    batch = Batch(Field(side + 0.05 * noise(seeds_of(0, ids), "values", (2,))), ids=ids)
    train(family, batch, 300)
    some = batch.select(slice(0, 200))
    mask = torch.tensor([[False, True]]).expand(200, 2)
    agreed = []
    for repeats in (1, 6):
        controls = Diffusion.Controls(repeats=repeats)
        made = family.edit(some, mask, controls=controls, seeds=seeds_of(1, range(200))).values
        agreed.append((made[:, 1].sign() == some.target.values[:, 0].sign()).float().mean().item())
    assert agreed[1] > max(0.9, agreed[0] - 0.02)


def test_likelihoods_are_of_the_quantised_data():
    options, target = {"likelihood_steps": 48}, Spec(Form.TENSOR, 1, levels=4)
    family = stir(family_of("diffusion", options, target=target, network=MLP), 0.1)
    free = stir(family_of("diffusion", options, target=replace(target, levels=0), network=MLP), 0.1)
    for one in (family, free):
        # Random weights on fast waves of time are rougher than anything that is learnt.
        one.denoiser.time.frequencies.clamp_(max=5)
    centres = torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0])
    rows = Batch(Field(centres.repeat_interleave(128)[:, None]), ids=torch.arange(512))
    bound = family.log_likelihood(rows, seeds=seeds_of(0, rows.ids))
    # Averaged over draws of where in its bin an item is, the densities give the bin's whole probability.
    masses = (-bound.nats).exp().view(4, 128).mean(1)
    samples = free.sample({}, controls=Diffusion.Controls(steps=48), seeds=seeds_of(0, range(4000))).values
    shares = ((samples - centres).abs() < 1 / 3).float().mean(0)
    torch.testing.assert_close(masses, shares, rtol=0.05, atol=0.02)
    assert shares.max() < 0.6
    assert bound.predicted.tolist() == [1] * 512


def test_sampling_may_use_less_precise_arithmetic():
    family = stir(family_of("diffusion"))
    exact = family.sample({}, seeds=SEEDS).values
    family.precision = torch.bfloat16
    rough = family.sample({}, seeds=SEEDS).values
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.05


def test_abilities():
    family = family_of("diffusion")
    assert all(isinstance(family, ability) for ability in (Sampling, Likelihood, Editing))


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="autoregressive"):
        Diffusion.ports(Diffusion.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), {})
    with pytest.raises(Unsupported, match="edit with a mask"):
        family_of("diffusion").sample({}, prefix=Field(torch.zeros(1, 1)), seeds=SEEDS)
    with pytest.raises(InvalidRecipe, match="nothing to guide by"):
        family_of("diffusion").sample({}, controls=Diffusion.Controls(guidance=2.0), seeds=SEEDS)
    with pytest.raises(UnknownName, match="did you mean heun"):
        Diffusion.Controls.parse({"solver": "huen"})
    with pytest.raises(InvalidRecipe, match="use ddim"):
        Diffusion.Controls.parse({"eta": 0.5})
    with pytest.raises(InvalidRecipe, match="leave prediction out"):
        Diffusion.Config.parse({"objective": "edm", "prediction": "noise"})
    with pytest.raises(InvalidRecipe, match="logit_normal"):
        Diffusion.Config.parse({"objective": "ddpm", "time_mean": 0.5})
