import math

import pytest
import torch

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families.discrete import Discrete
from miaobi.sampling.noise import seeds_of
from miaobi.types import Field, Form, Spec
from tests.support.tensors import CONDITIONS, IMAGE, SPACES, batch_of, family_of, freeze_but

SEEDS = seeds_of(1, range(6))
SMALL = {"levels": [5, 5], "factor": 2}
VECTOR = {"quantiser": "vector", "codes": 24, "code_width": 4, "factor": 2}
QUANTISERS = pytest.mark.parametrize("options", [SMALL, VECTOR], ids=["finite scalar", "vector"])
ADVERSARIAL = {**SMALL, "adversarial": 0.1, "adversarial_from": 5, "critic_width": 4}


def steps(family, batch, count, rate=3e-3):
    """A plain training loop over the first phase; the last loss an item."""
    modules = family.phases()[0].modules
    optimiser = torch.optim.Adam([p for name in modules for p in family.get_submodule(name).parameters()], rate)
    for step in range(count):
        loss = family(batch, family.phases()[0].name, seeds_of(step, batch.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
        family.after_phase(family.phases()[0].name, loss.statistics)
    return loss.total.item() / len(batch)


@pytest.mark.parametrize("space", [*SPACES.values(), (28, 28)], ids=str)
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_sound_images_and_video_at_every_factor(space, factor, network):
    target = Spec(Form.TENSOR, 2, space)
    family = family_of("discrete", {**SMALL, "factor": factor}, target=target, conditions=CONDITIONS, network=network)
    batch = batch_of(target, CONDITIONS)
    freeze_but(family, family.phases()[0].modules)
    family(batch, "autoencoder", SEEDS).total.backward()
    assert all(p.grad is not None for p in family.parameters())
    coarse = tuple(math.ceil(extent / factor) for extent in space)
    specs = family.representations()
    assert specs["latents"] == Spec(Form.TENSOR, 2, coarse)
    assert specs["codes"] == Spec(Form.TOKENS, vocabulary=25, max_length=math.prod(coarse), fixed=True)
    for kind in specs:
        found = family.represent(batch, kind)
        assert family.restore(found, kind, seeds=SEEDS).values.shape == batch.target.values.shape
    assert family.sample(batch.conditions, seeds=SEEDS).values.shape == batch.target.values.shape


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "discretised_logistic"])
@QUANTISERS
def test_every_likelihood_and_quantiser_adds_up_over_micro_batches(options, likelihood):
    left, right = (family_of("discrete", {**options, "likelihood": likelihood, "detail": 0.5}) for _ in range(2))
    batch = batch_of()
    whole = left(batch, "autoencoder", SEEDS)
    parts = [right(batch.select(cut), "autoencoder", SEEDS[cut]) for cut in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    left.after_phase("autoencoder", whole.statistics)
    right.after_phase("autoencoder", {key: sum(part.statistics[key] for part in parts) for key in whole.statistics})
    assert left.quantiser.use.sum() > 0
    for key, buffer in left.named_buffers():
        torch.testing.assert_close(right.get_buffer(key), buffer, rtol=1e-3, atol=1e-4)


@QUANTISERS
def test_codes_are_the_latents_in_raster_order(options):
    family, batch = family_of("discrete", options), batch_of()
    codes, latents = family.represent(batch, "codes").values, family.represent(batch, "latents").values
    assert torch.equal(family.quantiser.lookup(codes.view(6, 4, 4)), latents)
    assert codes[:, 5].tolist() == family.quantiser.assign(latents)[:, 1, 1].tolist()
    assert torch.equal(latents, family.encode(batch).values)
    back = [family.restore(family.represent(batch, kind), kind, seeds=SEEDS).values for kind in ("codes", "latents")]
    assert torch.equal(*back)
    assert latents.abs().max() <= 1


@QUANTISERS
def test_decoding_takes_the_nearest_code(options):
    """What is between codes, the decoder has never seen."""
    family, batch = family_of("discrete", options), batch_of()
    z = family.encode(batch)
    near = Field(z.values + 0.02 * torch.randn(z.values.shape, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(family.decode(z, {}, seeds=SEEDS).values, family.decode(near, {}, seeds=SEEDS).values)


@QUANTISERS
def test_it_overfits_and_reports_its_codes(options):
    torch.manual_seed(0)
    family, batch = family_of("discrete", options), batch_of()
    before = family.log_likelihood(batch, seeds=SEEDS).nats.mean()
    first, last = steps(family, batch, 1), steps(family, batch, 100)
    assert last < 0.8 * first
    assert family.log_likelihood(batch, seeds=SEEDS).nats.mean() < before
    parts = family(batch, "autoencoder", SEEDS).parts
    chosen = len(family.represent(batch, "codes").values.unique())
    total = family.quantiser.codes
    assert 0 < parts["code_use"] / 6 <= 1
    assert chosen / total <= parts["code_use"] / 6 + 1e-6
    assert 1 < parts["code_perplexity"] / 6 <= total


def test_commitment_draws_the_encoder_to_its_codes():
    torch.manual_seed(0)
    batch, distances = batch_of(), []
    for weight in (0.0, 20.0):
        family = family_of("discrete", {**VECTOR, "commitment": weight})
        steps(family, batch, 40)
        distances.append(family.quantiser(family.encoder(batch.target.values), SEEDS).commitment.mean().item())
    assert distances[1] < 0.5 * distances[0]


def test_the_bound_is_the_codes_and_the_item_given_them():
    family, batch = family_of("discrete", SMALL), batch_of()
    steps(family, batch, 10)
    codes = family.represent(batch, "codes").values
    shares = family.quantiser.shares()
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    outputs = family.decoder(family.encode(batch).values)
    given = family.likelihood.log_prob(outputs, batch.target.values, SEEDS)
    found = family.log_likelihood(batch, seeds=SEEDS)
    torch.testing.assert_close(found.nats, -given - shares[codes].log().sum(1))
    assert not found.exact
    assert found.predicted.tolist() == [IMAGE.size] * 6


def test_the_bound_is_above_the_likelihood_that_a_sum_over_all_codes_gives():
    target = Spec(Form.TENSOR, 2)
    family = family_of("discrete", {"levels": [3, 2], "likelihood": "gaussian"}, target=target)
    batch = batch_of(target)
    steps(family, batch, 30)
    every = family.quantiser.lookup(torch.arange(6))
    joint = [
        family.likelihood.log_prob(family.decoder(z[None]).expand(6, -1), batch.target.values, SEEDS) + share.log()
        for z, share in zip(every, family.quantiser.shares(), strict=True)
    ]
    exact = -torch.logsumexp(torch.stack(joint), 0)
    assert (family.log_likelihood(batch, seeds=SEEDS).nats >= exact - 1e-4).all()


def test_samples_have_the_codes_frequencies():
    family = family_of("discrete", SMALL)
    family.quantiser.observe({"codes": torch.eye(25)[3] * 60 + torch.eye(25)[7] * 40})
    read = []
    family.decoder.register_forward_hook(lambda module, inputs, out: read.append(family.quantiser.assign(inputs[0])))
    seeds = seeds_of(0, range(400))
    family.sample({}, seeds=seeds)
    counts = torch.bincount(read[0].flatten(), minlength=25) / read[0].numel()
    torch.testing.assert_close(counts, family.quantiser.shares(), atol=0.02, rtol=0)
    family.sample({}, controls=Discrete.Controls(temperature=0.02), seeds=seeds)
    assert read[1].unique().tolist() == [3]
    drawn = family.sample({}, controls=Discrete.Controls(mean=False), seeds=seeds).values
    assert not torch.equal(drawn, family.sample({}, seeds=seeds).values)


def test_a_critic_has_turns_of_its_own_once_it_starts():
    family = family_of("discrete", ADVERSARIAL)
    assert [[p.name for p in family.phases() if p.active(step)] for step in (4, 5)] == [
        ["autoencoder"],
        ["adversarial", "critic"],
    ]
    batch = batch_of()
    for phase, others in (("adversarial", ("critic",)), ("critic", ("encoder", "decoder", "likelihood"))):
        chosen = next(p for p in family.phases() if p.name == phase)
        freeze_but(family, chosen.modules)
        loss = family(batch, phase, SEEDS)
        loss.total.backward()
        assert all(p.grad is not None for name in chosen.modules for p in family.get_submodule(name).parameters())
        assert all(p.grad is None for name in others for p in family.get_submodule(name).parameters())
        family.after_phase(phase, loss.statistics)
    assert family_of("discrete", SMALL).critic is None


def test_a_critic_adds_its_weighted_say():
    family, batch = family_of("discrete", ADVERSARIAL), batch_of()
    plain, adversarial = (family(batch, phase, SEEDS) for phase in ("autoencoder", "adversarial"))
    made = family.decode(family.encode(batch), {}, seeds=SEEDS).values
    expected = 0.1 * IMAGE.size * family.critic.fooled(made).sum()
    torch.testing.assert_close(adversarial.total - plain.total, expected, rtol=1e-3, atol=1e-2)


def test_what_it_cannot_do_is_refused():
    family = family_of("discrete", SMALL)
    with pytest.raises(Unsupported, match="autoregressive"):
        Discrete.ports(Discrete.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), {})
    with pytest.raises(Unsupported, match="patches"):
        Discrete.ports(Discrete.Config(adversarial=1.0), Spec(Form.TENSOR, 3), {})
    with pytest.raises(Unsupported, match="prefix"):
        family.sample({}, prefix=Field(torch.zeros(1, 1)), seeds=SEEDS)
    with pytest.raises(UnknownName, match="codes, latents"):
        family.represent(batch_of(), "embeddings")
    with pytest.raises(Unsupported, match="one code a position"):
        family.restore(Field(torch.zeros(2, 5, dtype=torch.int64)), "codes", seeds=SEEDS[:2])
    with pytest.raises(Unsupported, match="0 to 24"):
        family.restore(Field(torch.full((2, 16), 25)), "codes", seeds=SEEDS[:2])
    with pytest.raises(InvalidRecipe, match="did you mean levels"):
        Discrete.Config.parse({"level": [3]})
    with pytest.raises(InvalidRecipe, match="codes"):
        Discrete.Config.parse({"levels": [64] * 4})
