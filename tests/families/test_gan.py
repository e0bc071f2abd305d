from dataclasses import replace

import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families.gan import GAN
from miaobi.sampling.noise import seeds_of
from miaobi.types import Field, Form, Spec
from tests.support.tensors import CONDITIONS, IMAGE, SPACES, batch_of, family_of, freeze_but

LOSSES = ["relativistic", "non_saturating", "least_squares", "hinge", "wasserstein_gp"]


def step(family, batch, phase):
    freeze_but(family, phase.modules)
    loss = family(batch, phase.name, seeds_of(1, batch.ids))
    loss.total.backward()
    return loss


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_every_loss_trains_exactly_its_phases_modules(loss, network):
    family = family_of("gan", {"loss": loss, "latent": 4}, conditions=CONDITIONS, network=network)
    batch = batch_of(conditions=CONDITIONS)
    for phase in family.phases():
        result = step(family, batch, phase)
        assert torch.isfinite(result.total)
        assert result.count == len(batch)
        touched = {name.split(".")[0] for name, p in family.named_parameters() if p.grad is not None}
        assert touched == set(phase.modules)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_sound_images_and_video_with_label_and_text(space, network):
    target = Spec(Form.TENSOR, 2, space)
    family = family_of("gan", {"latent": 4}, target=target, conditions=CONDITIONS, network=network)
    batch = batch_of(target, CONDITIONS)
    for phase in family.phases():
        assert torch.isfinite(step(family, batch, phase).total)
    seeds = seeds_of(0, range(6))
    made = family.sample(batch.conditions, seeds=seeds).values
    assert made.shape == batch.target.values.shape
    assert not made.requires_grad


@pytest.mark.parametrize("loss", LOSSES)
def test_micro_batches_add_up(loss):
    family = family_of("gan", {"loss": loss, "latent": 4}, conditions=CONDITIONS, network="convolutional")
    batch = batch_of(conditions=CONDITIONS)
    seeds = seeds_of(1, batch.ids)
    for phase in family.phases():
        whole = family(batch, phase.name, seeds).total
        cuts = (slice(0, 4), slice(4, 6))
        parts = [family(batch.select(cut), phase.name, seeds[cut]).total for cut in cuts]
        torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-4)


def test_penalties_come_with_the_loss_or_as_asked():
    def on(**options):
        return family_of("gan", options).double_backward

    assert all([on(), on(loss="wasserstein_gp"), on(loss="hinge", r1=0.5)])
    assert not any([on(loss="hinge"), on(r1=0, r2=0)])


def test_a_rare_penalty_weighs_as_much_as_a_constant_one():
    options = {"latent": 4, "r1": 2.0, "r2": 3.0}
    constant, rare = (family_of("gan", {**options, "penalty_interval": every}) for every in (1, 4))
    batch, seeds = batch_of(), seeds_of(1, range(6))
    together = constant(batch, "discriminator", seeds).total
    apart = rare(batch, "discriminator", seeds).total + rare(batch, "penalty", seeds).total / 4
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    assert [(p.name, p.interval, p.modules) for p in rare.phases()] == [
        ("discriminator", 1, ("discriminator",)),
        ("penalty", 4, ("discriminator",)),
        ("generator", 1, ("generator",)),
    ]


def test_r1_reads_data_and_r2_samples():
    batch, seeds = batch_of(), seeds_of(1, range(6))
    other = batch_of()
    other.target.values.neg_()
    for weights, depends in (({"r1": 1.0, "r2": 0.0}, True), ({"r1": 0.0, "r2": 1.0}, False)):
        family = family_of("gan", {"latent": 4, **weights})
        penalties = [family(b, "penalty", seeds).parts["penalty"] for b in (batch, other)]
        assert (not torch.equal(*penalties)) == depends


def test_discriminator_steps_follow_the_loss():
    assert family_of("gan", {"loss": "wasserstein_gp"}).phases()[0].repeat == 5
    assert family_of("gan").phases()[0].repeat == 1
    assert family_of("gan", {"discriminator_steps": 3}).phases()[0].repeat == 3


def test_truncation_shrinks_the_latent():
    family = family_of("gan", {"latent": 16})
    seeds = seeds_of(0, range(64))
    spread = [
        family.sample({}, controls=GAN.Controls(truncation=psi), seeds=seeds).values.std(0).mean() for psi in (1, 0.3)
    ]
    assert spread[1] < 0.6 * spread[0]


def test_the_condition_reaches_both_sides():
    family = family_of("gan", {"latent": 4, "condition_drop": 0}, conditions=CONDITIONS)
    batch = batch_of(conditions=CONDITIONS)
    other = {**batch.conditions, "label": Field((batch.conditions["label"].values + 1) % 3)}
    z = torch.randn(6, 4)
    for network, x in ((family.generator, z), (family.discriminator, batch.target.values)):
        assert not torch.allclose(network(x, batch.conditions), network(x, other))


def test_a_tiny_gan_learns_two_clusters():
    torch.manual_seed(0)
    target = Spec(Form.TENSOR, 2)
    options = {"latent": 4, "r1": 0.1, "r2": 0.1, "penalty_interval": 1}
    family = family_of("gan", options, target=target).train()
    rates = {"lr": 3e-3, "betas": (0.0, 0.99)}
    optimisers = {p.name: torch.optim.Adam(getattr(family, p.name).parameters(), **rates) for p in family.phases()}
    centres = torch.tensor([[0.7, 0.7], [-0.7, -0.7]])
    for count in range(250):
        data = centres[torch.arange(64) % 2] + 0.05 * torch.randn(64, 2)
        batch = batch_of(target, rows=64)
        batch.target.values.copy_(data)
        for phase in family.phases():
            freeze_but(family, phase.modules)
            (family(batch, phase.name, seeds_of(count, batch.ids)).total / 64).backward()
            optimisers[phase.name].step()
    made = family.eval().sample({}, seeds=seeds_of(9, range(400))).values
    near = torch.cdist(made, centres) < 0.35
    assert near.any(1).float().mean() > 0.6
    assert near.float().mean(0).min() > 0.15


def halves(name, rows=32):
    """Pictures bright on one side, the condition ``name`` saying which; and the same with the condition swapped."""
    side = torch.arange(rows) % 2
    bright = torch.ones(rows, 1, 8, 8)
    bright[..., 4:] = -1
    batch = batch_of(conditions={name: CONDITIONS[name]}, rows=rows)
    batch.target.values.copy_(bright * (0.8 - 1.6 * side[:, None, None, None]) + 0.1 * torch.randn(rows, 1, 8, 8))
    titles = torch.tensor([[1, 2, 0, 0, 0], [3, 2, 0, 0, 0]])
    fields = {"label": lambda s: Field(s), "title": lambda s: Field(titles[s], lengths=torch.full((rows,), 2))}
    return replace(batch, conditions={name: fields[name](side)}), {name: fields[name](1 - side)}


def sides(pictures):
    """1 where the right half is brighter."""
    return (pictures[..., 4:].mean((1, 2, 3)) > pictures[..., :4].mean((1, 2, 3))).long()


@pytest.mark.parametrize(("name", "judge"), [("label", "convolutional"), ("title", "mlp")])
def test_samples_follow_a_condition_by_projection(name, judge):
    """Only the discriminator's inner product can have taught the generator what the condition means."""
    torch.manual_seed(0)
    options = {"latent": 4, "r1": 0.1, "r2": 0.1, "condition_drop": 0}
    network = {"generator": {"name": "mlp"}, "discriminator": {"name": judge, "projection": True}}
    family = family_of("gan", options, conditions={name: CONDITIONS[name]}, network=network).train()
    rates = {"lr": 3e-3, "betas": (0.0, 0.99)}
    parts = ("generator", "discriminator")
    optimisers = {(part,): torch.optim.Adam(getattr(family, part).parameters(), **rates) for part in parts}
    for count in range(60 if judge == "convolutional" else 90):
        batch, _ = halves(name)
        for phase in family.phases():
            if phase.active(count):
                freeze_but(family, phase.modules)
                (family(batch, phase.name, seeds_of(count, batch.ids)).total / 32).backward()
                optimisers[phase.modules].step()
    batch, swapped = halves(name)
    seeds = seeds_of(9, batch.ids)
    wanted = sides(batch.target.values)
    family.eval()
    for conditions, want in ((batch.conditions, wanted), (swapped, 1 - wanted)):
        assert (sides(family.sample(conditions, seeds=seeds).values) == want).float().mean() > 0.9


def test_augmentation_reaches_data_and_samples_alike_and_adapts():
    policy = {"policy": ["cutout"], "adaptive": 0.6, "ramp": 100, "probability": 0.5}
    family = family_of("gan", {"latent": 4, "augment": policy}, network="convolutional")
    seen = []
    family.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch, seeds = batch_of(rows=64), seeds_of(1, range(64))
    loss = family(batch, "discriminator", seeds)
    plain = torch.cat([batch.target.values, family._make({}, seeds)])
    shares = [(a != b).flatten(1).any(1).float().mean() for a, b in zip(seen[0].chunk(2), plain.chunk(2), strict=True)]
    assert all(share == pytest.approx(0.5, abs=0.2) for share in shares)
    sure = {"confidence": loss.statistics["items"], "items": loss.statistics["items"]}
    for _ in range(20):
        family.after_phase("discriminator", sure)
    assert family.augmentation.probability == pytest.approx(0.8)
    assert "augmentation.probability" in family.state_dict()


def test_a_generators_noise_inputs_get_noise_from_the_seeds():
    network = {"generator": {"name": "stylegan"}, "discriminator": {"name": "mlp"}}
    family = family_of("gan", {"latent": 4}, network=network)
    seen = []
    family.generator.register_forward_pre_hook(lambda _, inputs, given: seen.append(given["noise"]), with_kwargs=True)
    family.sample({}, seeds=seeds_of(0, range(4)))
    family.sample({}, seeds=seeds_of(0, [2]))
    assert seen[0].keys() == family.generator.noises.keys()
    assert all(torch.equal(seen[0][key][2:3], seen[1][key]) for key in seen[0])
    assert all(not torch.equal(drawn[0], drawn[1]) for drawn in seen[0].values())


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="tokens"):
        GAN.ports(GAN.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), {})
    with pytest.raises(Unsupported, match="prefix"):
        family_of("gan").sample({}, prefix=Field(torch.zeros(1, 1)), seeds=seeds_of(0, [0]))
    with pytest.raises(InvalidRecipe, match="relativistic"):
        GAN.Config.parse({"loss": "minimax"})
    with pytest.raises(InvalidRecipe, match="truncation"):
        GAN.Controls.parse({"truncation": 0})
    assert IMAGE.form in GAN.targets
