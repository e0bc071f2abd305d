"""The sequence VAE against densities that are known, and against the collapse that its options are there to prevent."""

import math
from dataclasses import replace

import pytest
import torch

from miaobi.errors import InvalidRecipe, RequestError, UnknownName, Unsupported
from miaobi.evaluation.metrics.posterior import active, information
from miaobi.families import Decoding, Latent, Likelihood, Sampling
from miaobi.families.sequence_vae import SequenceVAE
from miaobi.sampling.noise import derive, seeds_of
from miaobi.types import Batch, Field, Form, Spec
from tests.support.tensors import family_of

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=11, max_length=4, shared=True),
}
DECODERS = ["attentive_recurrent", "encoder_decoder"]
each = pytest.mark.parametrize("decoder", DECODERS)


def fresh(decoder="attentive_recurrent", target=TARGET, conditions=CONDITIONS, **options):
    network = {"decoder": {"name": decoder}}
    return family_of(
        "sequence_vae", {"latent": 3, **options}, target=target, conditions=conditions, network=network
    ).eval()


def family(decoder="attentive_recurrent", **options):
    built = fresh(decoder, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return built


def batch(rows=4):
    generator = torch.Generator().manual_seed(1)

    def draw(high, *shape):
        return torch.randint(high, shape, generator=generator)

    target = Field(draw(11, rows, 9), lengths=torch.tensor([9, 3, 0, 5])[:rows])
    title = Field(draw(11, rows, 4), lengths=torch.tensor([4, 2, 0, 1])[:rows])
    return Batch(target, {"label": Field(draw(3, rows)), "title": title}, ids=torch.arange(rows) + 1)


def row_of(items, row):
    return {key: field.select(slice(row, row + 1)) for key, field in items.conditions.items()}


def nats_of(built, items, z):
    """Of each item given its latent, position by position."""
    rows = []
    for row in range(len(items)):
        own = items.select(slice(row, row + 1))
        length = int(own.target.lengths[0])
        begin, end = built.layout.begin, built.layout.end
        tokens = torch.tensor([[begin, *own.target.values[0, :length].tolist(), end]])
        told = own.conditions | {"latent": Field(z[row : row + 1])}
        logits = built.decoder(tokens[:, :-1], told)[0, :, : built.layout.outputs.size]
        rows.append(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum"))
    return torch.stack(rows)


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Sampling, Likelihood, Latent, Decoding))


@each
def test_the_bound_is_that_of_its_parts(decoder):
    built, items = family(decoder, importance_samples=1), batch()
    posterior, z = built.posterior(items), built.posterior(items).draw(derive(items.ids, 0))
    normal, prior = (
        torch.distributions.Normal(posterior.mean, posterior.log_std.exp()),
        torch.distributions.Normal(0, 1),
    )
    found = built.log_likelihood(items, seeds=items.ids)
    expected = nats_of(built, items, z) - (prior.log_prob(z) - normal.log_prob(z)).sum(1)
    torch.testing.assert_close(found.nats, expected, rtol=1e-4, atol=1e-4)
    assert not found.exact
    assert found.predicted.tolist() == [10, 4, 1, 6]


def test_the_loss_sums_tokens_and_latents_alike():
    """A reconstruction that is a mean over tokens would weigh the divergence too much, and collapse."""
    built, items = family(condition_drop=0.0), batch()
    loss = built(items, "vae", items.ids)
    posterior = built.posterior(items)
    normal = torch.distributions.Normal(posterior.mean, posterior.log_std.exp())
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(loss.parts["divergence"], divergence)
    tokens = whole_head_nats(built, items, posterior.draw(items.ids))
    torch.testing.assert_close(loss.parts["reconstruction"], tokens, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + divergence)
    assert loss.count == 4


def whole_head_nats(built, items, z):
    """Over the whole head: in training the special tokens are among what has to be told apart."""
    hidden, targets, weight = built._predictions(items, z, None)
    nats = torch.nn.functional.cross_entropy((hidden @ built.decoder.head.T).mT, targets, reduction="none")
    return (nats * weight).sum()


def test_more_importance_samples_tighten_the_bound():
    items = batch()
    many = Batch(items.target.select(torch.arange(32) % 4), {}, ids=torch.arange(32))
    bounds = [
        family(importance_samples=count).log_likelihood(many, seeds=seeds_of(1, many.ids)).nats.mean().item()
        for count in (1, 8, 64)
    ]
    assert bounds[0] > bounds[1] > bounds[2]


def test_beta_warmup_and_free_bits_weigh_the_divergence():
    items = batch()

    def loss(steps=0, **options):
        built = family(condition_drop=0.0, **options)
        for _ in range(steps):
            built.after_phase("vae", built(items, "vae", items.ids).statistics)
        return built(items, "vae", items.ids)

    plain = loss()
    fit, divergence = plain.parts["reconstruction"], plain.parts["divergence"]
    torch.testing.assert_close(loss(beta=2.0).total, fit + 2 * divergence)
    torch.testing.assert_close(loss(warmup=4).total, fit)
    torch.testing.assert_close(loss(warmup=4, steps=1).total, fit + divergence / 4)
    torch.testing.assert_close(loss(warmup=4, steps=6).total, plain.total)
    torch.testing.assert_close(loss(free_bits=50.0).total, fit + 4 * 3 * 50.0)


def test_words_are_hidden_in_training_alone_and_never_the_begin_token():
    built, items, seen = family(word_dropout=0.5, condition_drop=0.0), batch(), []
    built.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    built(items, "vae", items.ids)
    built(items, "vae", items.ids + 9)
    built.log_likelihood(items, seeds=items.ids)
    shown = built.layout.sequence(replace(items, conditions={}))[0][:, :-1]
    assert not torch.equal(seen[0], seen[1])
    for tokens in seen[:2]:
        gone = tokens == built.hidden_word
        assert torch.equal(tokens[~gone], shown[~gone])
        assert not gone[:, 0].any()
        assert 0.2 < gone[:, 1:].float().mean() < 0.8
    assert torch.equal(seen[2], shown)
    alone = items.select(slice(1, 2))
    built(alone, "vae", alone.ids)
    assert torch.equal(seen[-1][0], seen[0][1, : seen[-1].shape[1]])


def test_the_decoder_reads_the_posterior_through_reparameterisation():
    built, items = family(beta=0.0, condition_drop=0.0), batch()
    built(items, "vae", items.ids).total.backward()
    means, widths = built.encoder.head.linear.weight.grad.chunk(2, 0)
    assert means.abs().sum() > 0
    assert widths.abs().sum() > 0


@each
@pytest.mark.parametrize("options", [{}, {"guidance": 2.0}, {"beams": 3, "latent_temperature": 0.5}])
def test_samples_of_a_batch_are_those_of_its_items(decoder, options):
    built, items = family(decoder), batch()
    controls = built.Controls(**options)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    for row in range(4):
        alone = built.sample(row_of(items, row), controls=controls, seeds=items.ids[row : row + 1])
        assert torch.equal(alone.values[0], made.values[row, : made.lengths[row]])


def test_samples_know_their_probability_given_their_latents():
    built, items = family(), batch()
    made = built.sample(items.conditions, seeds=items.ids)
    ended = made.lengths < TARGET.max_length
    assert ended.any()
    z = built.prior.draw(items.ids, 1.0)
    nats = nats_of(built, replace(items, target=made.field()), z)
    torch.testing.assert_close(-made.log_probs[ended], nats[ended], rtol=1e-3, atol=1e-3)


def test_a_latent_is_decoded_the_same_way_every_time_unless_it_is_asked_otherwise():
    built, items = family(), batch()
    z = built.encode(items)
    assert z.values.shape == (4, 3)
    assert torch.equal(z.values, built.encode(items).values)
    assert not torch.equal(z.values, built.encode(items, seeds=items.ids).values)
    first, second = (built.decode(z, items.conditions, seeds=items.ids + shift) for shift in (0, 7))
    assert torch.equal(first.values, second.values)
    drawn = built.decode(z, items.conditions, controls=built.Controls(), seeds=items.ids)
    assert not torch.equal(first.values[:, : drawn.values.shape[1]], drawn.values[:, : first.values.shape[1]])


def test_the_latent_temperature_scales_what_is_drawn_from_the_prior():
    built = family(conditions={})
    still = built.sample({}, controls=built.Controls(temperature=0, latent_temperature=0), seeds=torch.arange(6))
    assert (still.values == still.values[:1]).all()
    moving = built.sample({}, controls=built.Controls(temperature=0), seeds=torch.arange(6))
    assert not (moving.values == moving.values[:1]).all()


def test_guidance_leaves_the_latent_alone():
    """Without its conditions the other side still reads the latent: at guidance 0 the conditions say nothing."""
    built, items = family(), batch()
    controls = built.Controls(guidance=0, temperature=0)
    absent = {key: replace(f, present=torch.zeros(4, dtype=torch.bool)) for key, f in items.conditions.items()}
    left, right = (
        built.decode(built.encode(items), c, controls=controls, seeds=items.ids) for c in (items.conditions, absent)
    )
    assert torch.equal(left.values, right.values)
    other = built.decode(Field(-3 * built.encode(items).values), absent, controls=controls, seeds=items.ids)
    assert other.values.shape != left.values.shape or not torch.equal(other.values, left.values)


def test_the_engine_draws_what_sampling_draws():
    built, items = family(), batch()
    controls = built.Controls(max_length=7)
    engine = built.engine(4)
    numbers = [engine.add(row_of(items, row), controls=controls, seed=int(items.ids[row])) for row in range(4)]
    drawn = {number: [] for number in numbers}
    while len(engine):
        for token in engine.step():
            if token.token != built.layout.end:
                drawn[token.id].append(token.token)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    assert [made.values[row, : made.lengths[row]].tolist() for row in range(4)] == [drawn[n] for n in numbers]


@pytest.mark.parametrize("prior", ["mixture", "flow"])
def test_learned_priors_are_learned_and_drawn_from(prior):
    built, items = family(prior=prior, components=3), batch()
    built(items, "vae", items.ids).total.backward()
    assert all(p.grad is not None for p in built.prior.parameters())
    assert torch.isfinite(built.log_likelihood(items, seeds=items.ids).nats).all()
    assert torch.isfinite(built.divergence(items, seeds=items.ids)).all()
    assert len(built.sample(items.conditions, seeds=items.ids).values) == 4


THEMES = Spec(Form.TOKENS, vocabulary=24, max_length=6)


def themed(rows, generator):
    """Six tokens, each one of the three of the item's theme, of eight: whoever sees one token knows the theme."""
    theme = torch.randint(8, (rows, 1), generator=generator)
    return Batch(Field(3 * theme + torch.randint(3, (rows, 6), generator=generator)), ids=torch.arange(rows))


def trained(**options):
    network = {"encoder": {"name": "mlp", "norm": "layer"}}
    built = family_of("sequence_vae", {"latent": 4, **options}, target=THEMES, network=network)
    optimiser = torch.optim.Adam(built.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for step in range(80):
        items = themed(16, generator)
        loss = built(items, "vae", seeds_of(step, items.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        torch.nn.utils.clip_grad_norm_(built.parameters(), 1.0)
        optimiser.step()
        built.after_phase("vae", loss.statistics)
    items = themed(200, generator)
    return built.eval(), built.posterior(items), seeds_of(0, items.ids)


@torch.no_grad()
def test_free_bits_and_hidden_words_keep_the_latent_from_the_collapse_that_comes_without_them():
    with torch.enable_grad():
        kept, posterior, seeds = trained(free_bits=0.5, word_dropout=0.5)
    assert active(posterior.mean) == 4
    assert kept.active_units() == 4
    assert information(posterior, seeds).mean() > 0.5 * math.log(8)
    with torch.enable_grad():
        lost, posterior, seeds = trained()
    assert active(posterior.mean) == 0
    assert lost.active_units() == 0
    assert abs(information(posterior, seeds).mean()) < 0.05


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="stream"):
        SequenceVAE.ports(SequenceVAE.Config(), replace(TARGET, stream=True), {})
    with pytest.raises(Unsupported, match="another name"):
        SequenceVAE.ports(SequenceVAE.Config(), TARGET, {"latent": CONDITIONS["label"]})
    with pytest.raises(Unsupported, match="encoder_decoder or attentive_recurrent"):
        SequenceVAE(SequenceVAE.Config(), {"decoder": torch.nn.Identity()}, {}, TARGET, {})
    items = batch()
    packed = replace(items, target=replace(items.target, segments=torch.zeros(4, 9, dtype=torch.int64)))
    with pytest.raises(Unsupported, match="one item a row"):
        family()(packed, "vae", items.ids)
    with pytest.raises(UnknownName, match="did you mean title"):
        family().sample({"titel": batch().conditions["title"]}, seeds=torch.arange(4))
    with pytest.raises(RequestError, match="nothing to sample"):
        family().sample({}, seeds=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InvalidRecipe, match="did you mean word_dropout"):
        SequenceVAE.Config.parse({"word_droput": 0.3})
