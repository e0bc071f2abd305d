from dataclasses import replace

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.families._rebuilding import difference, half
from miaobi.families.fast_gan import FastGAN
from miaobi.networks._spectral import SpectralConvolution
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Field, Form, Spec, vector_spec
from tests.support.tensors import CONDITIONS, SPACES, batch_of, family_of, freeze_but

SEEDS = seeds_of(1, range(6))
PICTURE = Spec(Form.TENSOR, 3, (16, 16))


def build(target=PICTURE, conditions=None, **options):
    return family_of("fast_gan", {"latent": 8, **options}, target=target, conditions=conditions, network="fastgan")


def step(family, phase, batch):
    freeze_but(family, phase.modules)
    loss = family(batch, phase.name, seeds_of(1, batch.ids))
    loss.total.backward()
    return loss


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_phase_trains_exactly_its_modules(space):
    target = Spec(Form.TENSOR, 2, space)
    family = build(target, CONDITIONS)
    batch = batch_of(target, CONDITIONS)
    assert [phase.modules for phase in family.phases()] == [("discriminator", "decoder"), ("generator",)]
    for phase in family.phases():
        assert torch.isfinite(step(family, phase, batch).total)
        touched = {name.split(".")[0] for name, p in family.named_parameters() if p.grad is not None}
        assert touched == set(phase.modules)
    assert family.sample(batch.conditions, seeds=SEEDS).values.shape == batch.target.values.shape


def test_micro_batches_add_up_while_training():
    family = build().train()
    batch = batch_of(PICTURE)
    for phase in family.phases():
        whole = family(batch, phase.name, SEEDS).total
        cuts = (slice(0, 4), slice(4, 6))
        parts = [family(batch.select(cut), phase.name, SEEDS[cut]).total for cut in cuts]
        torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-4)


def test_it_is_the_paper_by_default():
    family = build()
    assert family.config.loss == "hinge"
    assert set(family.config.augment.policy) == {"colour", "translation", "cutout"}
    assert not family.double_backward
    assert build(r1=1.0).phases()[1].modules == ("discriminator", "decoder")


def test_the_discriminator_sees_nothing_unaugmented():
    family = build()
    seen = []
    family.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    family.discriminator.examiner.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = batch_of(PICTURE)
    for phase in ("discriminator", "generator"):
        family(batch, phase, SEEDS)
    fakes = family._make({}, SEEDS)
    plain = [*batch.target.values, *fakes]
    assert len(seen) >= 2
    assert not any(torch.equal(row, one) for x in seen for row in x for one in plain)


def test_only_data_is_rebuilt():
    family = build()
    batch = batch_of(PICTURE)
    other = replace(batch, target=Field(-batch.target.values))
    rebuilt = [family(b, "discriminator", SEEDS).parts["reconstruction"] for b in (batch, other)]
    assert not torch.equal(*rebuilt)
    with torch.no_grad():
        for parameter in family.generator.parameters():
            parameter.mul_(2)
    assert torch.equal(family(batch, "discriminator", SEEDS).parts["reconstruction"], rebuilt[0])
    without = build(reconstruction=0)(batch, "discriminator", SEEDS)
    assert "reconstruction" not in without.parts


def test_features_learn_to_rebuild():
    torch.manual_seed(0)
    family = build().train()
    freeze_but(family, ("discriminator", "decoder"))
    batch = batch_of(PICTURE)
    batch.target.values.copy_(noise(SEEDS, "smooth", (3, 1, 1)).tanh().expand(6, 3, 16, 16))
    parameters = [p for p in family.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    apart = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = family(batch, "discriminator", SEEDS)
        loss.total.backward()
        optimiser.step()
        apart.append(float(loss.parts["reconstruction"]))
    assert apart[-1] < 0.7 * apart[0]


def test_spectral_norms_are_one_and_stay_so():
    family = build()
    parts = [m for m in family.discriminator.modules() if isinstance(m, SpectralConvolution)]
    assert parts
    with torch.no_grad():
        for part in parts:
            part.weight.mul_(3).add_(torch.randn(part.weight.shape) * 0.1)
    for _ in range(100):
        family.after_phase("discriminator", {"confidence": torch.zeros(()), "items": torch.ones(())})
    for part in parts:
        matrix = part.weight.flatten(1)
        torch.testing.assert_close((part.left @ matrix).norm(), torch.linalg.matrix_norm(matrix, 2), rtol=2e-2, atol=0)


def test_halves_and_differences():
    x = torch.arange(35.0).reshape(1, 1, 5, 7)
    high = torch.tensor([[True, False]])
    assert torch.equal(half(x, high), x[:, :, 2:, :4])
    assert difference(x, x) == 0
    assert difference(x[..., :4, :4], x[..., :4, :4] + 2) == pytest.approx(2.0)
    # Detail that averages out counts at the finest scale only.
    rough = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)
    assert difference(rough, torch.zeros_like(rough)) == pytest.approx(1 / 3)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="features"):
        family_of("fast_gan", network="convolutional")
    with pytest.raises(Unsupported, match="flat"):
        build(vector_spec(3))
    with pytest.raises(Unsupported, match="tokens"):
        FastGAN.ports(FastGAN.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), {})
