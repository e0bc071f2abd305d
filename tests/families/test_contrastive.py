import math
from dataclasses import replace

import pytest
import torch

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families import Embedding, Representing, Sampling
from miaobi.families.contrastive import Contrastive
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec, vector_spec
from tests.support.tensors import CONDITIONS, IMAGE, SPACES, batch_of, family_of, freeze_but

SEEDS = seeds_of(1, range(6))
TITLE = {"title": CONDITIONS["title"]}
LABEL = {"label": Spec(Form.LABEL, vocabulary=6)}
EVERY = {**LABEL, **TITLE, "sound": Spec(Form.TENSOR, 1, (16,))}


def made(options=None, conditions=TITLE, **more):
    return family_of("contrastive", {"width": 8, **(options or {})}, conditions=conditions, **more)


def batch(conditions=TITLE, target=IMAGE, rows=6):
    fields = batch_of(target, {k: v for k, v in conditions.items() if v.form is not Form.TENSOR}, rows)
    sounds = {
        name: Field(torch.linspace(-1, 1, rows * spec.size).view(rows, spec.channels, *spec.space))
        for name, spec in conditions.items()
        if spec.form is Form.TENSOR
    }
    return replace(fields, conditions={**fields.conditions, **sounds})


def fixed(family, targets, conditions):
    """The family with embeddings of ours."""
    family._of_target = lambda batch: targets
    family._of_condition = lambda batch: conditions
    return family


def loss_of(family, given=None):
    return family(given or batch(), "contrastive", SEEDS)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("condition", EVERY)
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_sound_images_and_video_with_every_form_of_condition(space, condition, loss):
    target, conditions = Spec(Form.TENSOR, 2, space), {condition: EVERY[condition]}
    family = made({"loss": loss}, conditions, target=target)
    freeze_but(family, family.phases()[0].modules)
    given = batch(conditions, target)
    found = loss_of(family, given)
    found.total.backward()
    assert all(p.grad is not None for p in family.parameters())
    assert found.count == 6
    for side in ("target", condition):
        vectors = family.embed(given, side)
        assert vectors.shape == (6, 8)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(6))


def test_softmax_is_the_mean_cross_entropy_of_both_directions():
    targets, told = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    family = fixed(made(), targets, told)
    logits = targets @ told.T / 0.07
    own = torch.arange(6)
    expected = sum(torch.nn.functional.cross_entropy(way, own, reduction="sum") for way in (logits, logits.T)) / 2
    torch.testing.assert_close(loss_of(family).total, expected)


def test_smoothing_is_what_torch_calls_label_smoothing():
    targets, told = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    family = fixed(made({"smoothing": 0.3}), targets, told)
    logits = targets @ told.T / 0.07
    # Torch spreads the share over all six, the own one among them.
    expected = sum(
        torch.nn.functional.cross_entropy(way, torch.arange(6), reduction="sum", label_smoothing=0.3 * 6 / 5)
        for way in (logits, logits.T)
    )
    torch.testing.assert_close(loss_of(family).total, expected / 2)


def test_sigmoid_is_a_logistic_loss_of_every_comparison():
    targets, told = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    family = fixed(made({"loss": "sigmoid"}), targets, told)
    logits = 10 * targets @ told.T - 10
    signs = 2 * torch.eye(6) - 1
    torch.testing.assert_close(loss_of(family).total, -torch.nn.functional.logsigmoid(signs * logits).sum())


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_equal_captions_and_absent_ones_are_no_mistakes(loss):
    targets, told = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    kinds, there = torch.tensor([0, 1, 2, 3, 1, 4]), torch.tensor([True] * 5 + [False])
    family = fixed(made({"loss": loss}, LABEL), targets, told)
    given = Batch(batch().target, {"label": Field(kinds, present=there)}, ids=torch.arange(6))
    whole = loss_of(family, given)
    assert whole.count == 5

    def moved(row, column):
        change = torch.zeros(6, 6)
        change[row, column] = 0.1
        family.temperature.forward = lambda a, b: (a @ b.T) * 10 + change
        return loss_of(family, given).total - base.total

    family.temperature.forward = lambda a, b: (a @ b.T) * 10
    base = loss_of(family, given)
    assert moved(0, 1) > 0
    assert moved(1, 1) < 0
    for row, column in ((1, 4), (4, 1), (0, 5), (5, 0), (5, 5)):
        assert moved(row, column) == 0


def test_padding_does_not_make_captions_different_and_length_does():
    values = torch.tensor([[1, 2, 0], [1, 2, 0], [1, 2, 0], [3, 0, 0]])
    targets = torch.eye(4, 8)
    family = fixed(made(), targets, targets)
    given = Batch(
        Field(torch.zeros(4, 1, 8, 8)),
        {"title": Field(values, lengths=torch.tensor([2, 2, 3, 1]))},
        ids=torch.arange(4),
    )
    others = loss_of(family, given).total / 4
    # Rows 0 and 1 are one caption: they are compared with two others each, rows 2 and 3 with all three.
    scale = 1 / 0.07
    one = [math.log(1 + count * math.exp(-scale)) for count in (2, 2, 3, 3)]
    torch.testing.assert_close(others, torch.tensor(sum(one) / 4), atol=1e-6, rtol=1e-3)


def test_the_temperature_is_learned_and_stays_in_bounds():
    family = made()
    loss_of(family).total.backward()
    assert family.temperature.log_scale.grad.abs() > 0
    for value, bound in ((9.0, 100.0), (-3.0, 1.0)):
        with torch.no_grad():
            family.temperature.log_scale.fill_(value)
            family.after_phase("contrastive", {})
        assert family.temperature.scale().item() == pytest.approx(bound, rel=1e-5)


def test_captions_differ_from_the_first_step():
    """With a constant input of one the mean cosine between captions starts at 0.9997, and training stands still."""
    torch.manual_seed(0)
    conditions = {"title": Spec(Form.TOKENS, vocabulary=1000, max_length=5)}
    family = family_of("contrastive", {"width": 32}, conditions=conditions, network={"name": "mlp"})
    field = Field(torch.randint(1000, (20, 5)), lengths=torch.full((20,), 5))
    vectors = family.embed(Batch(Field(torch.zeros(20, 1, 8, 8)), {"title": field}), "title")
    near = vectors @ vectors.T
    assert near[~torch.eye(20, dtype=torch.bool)].mean() < 0.97


def test_it_represents_targets_with_unit_variance_and_cannot_restore_them():
    family = made()
    assert isinstance(family, Representing)
    assert isinstance(family, Embedding)
    assert not isinstance(family, Sampling)
    assert family.representations() == {"embeddings": vector_spec(8)}
    found = family.represent(batch(), "embeddings")
    torch.testing.assert_close(found.values.square().mean(1), torch.ones(6))
    with pytest.raises(Unsupported, match="no way back"):
        family.restore(found, "embeddings", seeds=SEEDS)
    with pytest.raises(UnknownName, match="embeddings"):
        family.represent(batch(), "latents")
    with pytest.raises(UnknownName, match="title"):
        family.embed(batch(), "label")


def test_an_embedding_does_not_depend_on_the_batch():
    family, given = made(), batch()
    for side in ("target", "title"):
        alone = torch.cat([family.embed(given.select(slice(row, row + 1)), side) for row in range(6)])
        torch.testing.assert_close(family.embed(given, side), alone)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_it_learns_which_belongs_to_which(loss):
    torch.manual_seed(0)
    family = made({"loss": loss}).train()
    given = batch()
    optimiser = torch.optim.Adam(family.parameters(), lr=5e-3)
    for step in range(80):
        found = family(given, "contrastive", seeds_of(step, given.ids))
        optimiser.zero_grad()
        (found.total / found.count).backward()
        optimiser.step()
        with torch.no_grad():
            family.after_phase("contrastive", found.statistics)
    near = family.embed(given) @ family.embed(given, "title").T
    assert near.argmax(1).tolist() == list(range(6))
    assert found.parts["accuracy"] == 6


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="exactly one"):
        made(conditions={})
    with pytest.raises(Unsupported, match="exactly one"):
        made(conditions=CONDITIONS)
    with pytest.raises(Unsupported, match="condition"):
        Contrastive.ports(Contrastive.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), TITLE)
    with pytest.raises(InvalidRecipe, match="did you mean width"):
        Contrastive.Config.parse({"widht": 3})
