import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.families.gaussian import Gaussian
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Batch, Field, Form, Spec

SPACE = (3, 4)
PLAIN = Spec(Form.TENSOR, channels=1, space=SPACE)
LABEL = {"label": Spec(Form.LABEL, vocabulary=3)}


def build(target=PLAIN, conditions=LABEL, **options):
    return Gaussian(Gaussian.Config(**options), {}, {}, target, conditions)


def data(count=2000, seed=0):
    """Two of three classes, of correlated numbers with means of their own."""
    seeds = seeds_of(seed, range(count))
    mix = noise(seeds_of(9, range(12)), "mix", (12,)) / 8
    labels = torch.arange(count) % 2
    x = noise(seeds, "x", (12,)) @ mix.T + (labels[:, None] - 0.5) * torch.linspace(-1, 1, 12)
    return x.reshape(count, 1, *SPACE), labels


def batch(x, labels, present=None):
    return Batch(Field(x), {"label": Field(labels, present=present)}, ids=torch.arange(len(x)) + 1)


def fitted(parts=1, **options):
    family = build(**options)
    x, labels = data()
    for rows in torch.arange(len(x)).chunk(parts):
        family.observe(batch(x[rows], labels[rows]))
    return family


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_samples_have_the_moments_of_their_class(covariance):
    family = fitted(covariance=covariance, ridge=1e-6)
    x, labels = data()
    told = {"label": Field(torch.ones(4000, dtype=torch.int64))}
    drawn = family.sample(told, seeds=seeds_of(1, range(4000))).values.flatten(1)
    real = x.flatten(1)[labels == 1]
    torch.testing.assert_close(drawn.mean(0), real.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0), real.var(0), atol=0.03, rtol=0.15)
    if covariance == "full":
        torch.testing.assert_close(drawn.T.cov(), real.T.cov(), atol=0.04, rtol=0)


def test_the_likelihood_is_that_of_the_normal_with_the_same_moments():
    family = fitted(ridge=1e-6)
    x, labels = data(40, seed=2)
    seen, kinds = data()
    nats = family.log_likelihood(batch(x, labels), seeds=seeds_of(0, range(40)))
    assert nats.exact
    flat = seen.flatten(1)
    centred = flat - torch.stack([flat[kinds == k].mean(0) for k in (0, 1)])[kinds]
    normal = torch.distributions.MultivariateNormal(
        torch.stack([flat[kinds == k].mean(0) for k in (0, 1)])[labels], centred.T @ centred / len(flat)
    )
    torch.testing.assert_close(nats.nats, -normal.log_prob(x.flatten(1)), atol=0.05, rtol=1e-3)


def test_batches_add_up():
    whole, parts = fitted(), fitted(parts=7)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(tensor, parts.state_dict()[name])


def test_an_absent_or_unseen_label_means_all_items():
    family = fitted()
    x, labels = data(10, seed=3)
    seeds = seeds_of(0, range(10))
    absent = family.log_likelihood(batch(x, labels, torch.zeros(10, dtype=torch.bool)), seeds=seeds).nats
    unseen = family.log_likelihood(batch(x, torch.full((10,), 2)), seeds=seeds).nats
    torch.testing.assert_close(absent, unseen)
    assert absent.mean() > family.log_likelihood(batch(x, labels), seeds=seeds).nats.mean()


def test_quantised_data_has_a_bound_and_clamped_samples():
    spec = Spec(Form.TENSOR, channels=1, space=SPACE, levels=256)
    family = build(spec, {})
    x = data()[0].clamp(-1, 1).mul(127.5).round().div(127.5)
    family.observe(Batch(Field(x), ids=torch.arange(len(x))))
    assert not family.log_likelihood(Batch(Field(x[:4])), seeds=seeds_of(0, range(4))).exact
    assert family.sample({}, seeds=seeds_of(0, range(50))).values.abs().max() <= 1


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_before_any_item_it_is_the_unit_normal(covariance):
    drawn = build(covariance=covariance).sample({}, seeds=seeds_of(0, range(4000))).values
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02


def test_what_it_cannot_model_is_refused():
    with pytest.raises(Unsupported, match="one label"):
        Gaussian.ports(Gaussian.Config(), PLAIN, {"title": Spec(Form.TOKENS, vocabulary=3, max_length=2)})
    with pytest.raises(Unsupported, match="diagonal"):
        Gaussian.ports(Gaussian.Config(covariance="full"), Spec(Form.TENSOR, 3, (64, 64)), {})
    assert not build(Spec(Form.TENSOR, 3, (64, 64))).full


def test_unconditional_pays_no_regard_to_conditions():
    blind, seeds = fitted(unconditional=True), seeds_of(1, range(5))
    told = blind.sample({"label": Field(torch.tensor([0, 1, 0, 1, 0]))}, seeds=seeds)
    assert torch.equal(told.values, blind.sample({}, seeds=seeds).values)
    build(conditions={"title": Spec(Form.TOKENS, vocabulary=4, max_length=3)}, unconditional=True)
    with pytest.raises(Unsupported, match="takes one label"):
        Gaussian.ports(Gaussian.Config(), PLAIN, {"title": Spec(Form.TOKENS, vocabulary=4, max_length=3)})
