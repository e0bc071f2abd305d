import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families.style_gan import StyleGAN
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Field, Form, Spec, vector_spec
from tests.support.tensors import CONDITIONS, SPACES, batch_of, family_of, freeze_but

NETWORK = {"generator": {"name": "stylegan"}, "discriminator": {"name": "convolutional"}}
SEEDS = seeds_of(1, range(6))
PICTURE = Spec(Form.TENSOR, 1, (16, 16))


def build(target=PICTURE, conditions=None, **options):
    family = family_of("style_gan", {"latent": 8, **options}, target=target, conditions=conditions, network=NETWORK)
    with torch.no_grad():
        for name, parameter in family.generator.named_parameters():
            if name.endswith("strength"):
                parameter.fill_(0.3)
    return family


def step(family, phase, batch):
    freeze_but(family, phase.modules)
    loss = family(batch, phase.name, seeds_of(1, batch.ids))
    loss.total.backward()
    return loss


def drawn(family, seeds=SEEDS, conditions=None, **controls):
    return family.sample(conditions or {}, controls=StyleGAN.Controls(**controls), seeds=seeds).values


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_phase_trains_exactly_its_modules(space):
    target = Spec(Form.TENSOR, 2, space)
    family = build(target, CONDITIONS)
    batch = batch_of(target, CONDITIONS)
    for phase in family.phases():
        assert torch.isfinite(step(family, phase, batch).total)
        touched = {name.split(".")[0] for name, p in family.named_parameters() if p.grad is not None}
        assert touched == set(phase.modules)
    assert drawn(family, conditions=batch.conditions).shape == batch.target.values.shape


def test_micro_batches_add_up_in_losses_and_statistics():
    family = build()
    batch = batch_of(family.target)
    for phase in family.phases():
        whole = family(batch, phase.name, SEEDS)
        cuts = (slice(0, 4), slice(4, 6))
        parts = [family(batch.select(cut), phase.name, SEEDS[cut]) for cut in cuts]
        torch.testing.assert_close(sum(part.total for part in parts), whole.total, rtol=1e-4, atol=1e-4)
        for key, value in whole.statistics.items():
            torch.testing.assert_close(sum(part.statistics[key] for part in parts), value, rtol=1e-4, atol=1e-4)


def test_truncation_draws_styles_to_the_running_mean():
    family = build()
    family.mean_style.copy_(torch.linspace(-1, 1, len(family.mean_style)))
    styles = {
        psi: family.styles({}, controls=StyleGAN.Controls(truncation=psi), seeds=SEEDS).values for psi in (0, 0.5, 1)
    }
    assert torch.equal(styles[0], family.mean_style.expand_as(styles[0]))
    torch.testing.assert_close(styles[0.5], (styles[0] + styles[1]) / 2)
    same = drawn(family, truncation=0, noise=False)
    torch.testing.assert_close(same, same[:1].expand_as(same))


def test_the_mean_style_is_learnt_in_the_generators_turn():
    family = build()
    batch = batch_of(family.target)
    with torch.no_grad():
        mean = family.generator.map(family.latents(SEEDS)).mean(0)
    statistics = family(batch, "generator", SEEDS).statistics
    for _ in range(2000):
        family.after_phase("generator", statistics)
    torch.testing.assert_close(family.mean_style, mean, rtol=1e-3, atol=1e-3)
    assert "mean_style" in family.state_dict()


def test_mixing_takes_the_fine_styles_of_a_second_seed():
    family = build()
    own = family.styles({}, seeds=SEEDS).values
    other = family.styles({}, seeds=seeds_of(7, [0])).values
    mixed = family.styles({}, controls=StyleGAN.Controls(mixing=7, crossover=0.4), seeds=SEEDS).values
    kept = round(0.4 * family.generator.layers)
    assert 0 < kept < family.generator.layers
    torch.testing.assert_close(mixed[:, :kept], own[:, :kept])
    torch.testing.assert_close(mixed[:, kept:], other[:, kept:].expand_as(mixed[:, kept:]))
    assert torch.equal(drawn(family, mixing=7, crossover=1.0), drawn(family))


def test_training_mixes_as_many_items_as_asked():
    seeds = seeds_of(0, range(400))
    for share in (0.0, 0.5, 1.0):
        family = build(mixing=share)
        with torch.no_grad():
            styles = family._mixed({}, seeds)
        mixed = (styles[:, 0] != styles[:, -1]).any(1).float().mean()
        assert mixed == pytest.approx(share, abs=0.1)


def test_noise_comes_from_the_seeds_or_is_fixed():
    family = build()
    styles = family.styles({}, seeds=SEEDS[:1]).values.expand(6, -1, -1)
    fixed, fresh = (
        family.decode(Field(styles), {}, controls=StyleGAN.Controls(noise=on), seeds=SEEDS).values
        for on in (False, True)
    )
    torch.testing.assert_close(fixed, fixed[:1].expand_as(fixed))
    assert all(not torch.allclose(fresh[row], fresh[row + 1]) for row in range(5))
    torch.testing.assert_close(drawn(family)[2:3], drawn(family, SEEDS[2:3]), rtol=1e-4, atol=1e-5)


def test_between_two_styles_lies_a_path():
    family = build()
    first, last = family.styles({}, seeds=SEEDS[:2]).values.split(1)
    seeds = SEEDS[:1].expand(9)
    walk = torch.lerp(first, last, torch.linspace(0, 1, 9)[:, None, None])
    made = family.decode(Field(walk), {}, controls=StyleGAN.Controls(noise=False), seeds=seeds).values
    jumps = (made[1:] - made[:-1]).flatten(1).norm(dim=1)
    assert (jumps > 0).all()
    assert jumps.max() < 0.5 * (made[-1] - made[0]).norm()


def test_path_lengths_are_held_at_their_running_mean():
    family = build()
    batch = batch_of(family.target)
    first = family(batch, "path_length", SEEDS)
    assert first.total == 0
    family.after_phase("path_length", first.statistics)
    length = first.statistics["paths"] / 6
    torch.testing.assert_close(family.mean_path, length)
    again = family(batch, "path_length", SEEDS)
    assert again.total > 0
    family.after_phase("path_length", {"paths": 12 * length, "items": torch.tensor(6.0)})
    torch.testing.assert_close(family.mean_path, 1.01 * length)


def test_path_lengths_are_slopes_of_the_generator():
    """Against finite differences along every coordinate of every layer's style."""
    family, seeds = build(mixing=0.0), SEEDS[:1]
    path = family(batch_of(family.target, rows=1), "path_length", seeds).statistics["paths"]
    projection = noise(seeds, "projection", (1, 16, 16)) / 16
    styles = family.styles({}, seeds=seeds).values
    count, reach = styles.numel(), 1e-2
    moved = styles + reach * torch.cat([torch.eye(count), -torch.eye(count)]).view(-1, *styles.shape[1:])
    with torch.no_grad():
        made = family.generator.synthesise(moved, family._noises(seeds)["noise"])
    ends = (made * projection).flatten(1).sum(1)
    slopes = ((ends[:count] - ends[count:]) / (2 * reach)).view_as(styles)
    torch.testing.assert_close(path, slopes.square().sum(2).mean(1).sqrt().sum(), rtol=2e-2, atol=1e-5)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="stylegan"):
        family_of("style_gan", network="mlp")
    with pytest.raises(Unsupported, match="prefix"):
        build().sample({}, prefix=Field(torch.zeros(1, 1)), seeds=SEEDS)
    with pytest.raises(Unsupported, match="flat"):
        family_of("style_gan", target=vector_spec(3), network=NETWORK)
    with pytest.raises(InvalidRecipe, match="mixing"):
        StyleGAN.Config.parse({"mixing": 2})
    assert not build(path_length=0, r1=0, r2=0).double_backward
    assert build(r1=0, r2=0).double_backward
