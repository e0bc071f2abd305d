import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._augmentation import Augmentation, AugmentSettings, check
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec, vector_spec

ALL = ("flip", "colour", "translation", "cutout")
SPACES = [(32,), (7, 10), (3, 8, 8), (1, 1), (2,)]


def augmentation(*policy, **options):
    return Augmentation(AugmentSettings(policy=policy, **options))


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_items_are_augmented_one_by_one_and_twice_differentiably(name, space):
    torch.manual_seed(0)
    x, seeds = torch.randn(5, 2, *space, requires_grad=True), seeds_of(3, range(5))
    made = augmentation(name)
    together = made(x, seeds)
    assert together.shape == x.shape
    alone = torch.cat([made(x[row : row + 1], seeds[row : row + 1]) for row in range(5)])
    torch.testing.assert_close(together, alone)
    (slope,) = torch.autograd.grad(together.square().sum(), x, create_graph=True)
    assert torch.isfinite(torch.autograd.grad(slope.square().sum(), x)[0]).all()


@pytest.mark.parametrize("name", ALL)
def test_each_does_something_and_only_as_often_as_asked(name):
    x, seeds = torch.rand(400, 3, 16, 16) - 0.5, seeds_of(0, range(400))
    changed = [(augmentation(name, probability=p)(x, seeds) != x).flatten(1).any(1).float().mean() for p in (0, 0.3, 1)]
    reach = 0.5 if name == "flip" else 1.0
    assert changed[0] == 0
    assert changed[1] == pytest.approx(0.3 * reach, abs=0.1)
    assert changed[2] == pytest.approx(reach, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_translation_moves_and_cutout_covers(height, width, seed):
    x = torch.arange(1.0, height * width + 1).reshape(1, 1, height, width)
    seeds = seeds_of(seed, [0])
    moved = augmentation("translation")(x, seeds)
    rows, columns = moved[0, 0].nonzero().unbind(1)
    offsets = x[0, 0].flatten()[moved[moved > 0].long() - 1]
    assert torch.equal(offsets, moved[moved > 0])
    source = moved[0, 0][rows, columns].long() - 1
    assert len({(int(a), int(b)) for a, b in zip(rows - source // width, columns - source % width, strict=True)}) == 1
    cut = augmentation("cutout")(x, seeds)
    assert torch.equal(cut[cut > 0], x[cut > 0])
    assert (cut == 0).sum() <= round(height / 2) * round(width / 2)


def test_frames_of_a_video_move_together():
    x = torch.rand(8, 1, 5, 16, 16) + 1
    for name in ("translation", "cutout"):
        gone = augmentation(name)(x, seeds_of(0, range(8))) == 0
        assert gone.any()
        assert torch.equal(gone[:, :, :1].expand_as(gone), gone)


def test_the_adaptive_probability_follows_confidence_and_stays_in_range():
    made = augmentation("cutout", adaptive=0.6, ramp=100)
    assert made.probability == 0
    count = torch.tensor(10.0)
    for _ in range(50):
        made.adapt(10 * torch.tensor(1.0), count)
    assert made.probability == pytest.approx(0.8)
    for _ in range(3):
        made.adapt(-10 * torch.tensor(1.0), count)
    assert 0 < made.probability < 0.8 - 0.05
    for _ in range(50):
        made.adapt(-10 * torch.tensor(1.0), count)
    assert made.probability == 0
    assert set(made.state_dict()) == {"probability", "confidence"}


def test_a_fixed_probability_does_not_adapt():
    made = augmentation("cutout", probability=0.5)
    made.adapt(torch.tensor(10.0), torch.tensor(10.0))
    assert made.probability == 0.5


def test_what_cannot_be_augmented_is_refused():
    check(AugmentSettings(), vector_spec(3))
    check(AugmentSettings(policy=ALL), Spec(Form.TENSOR, 1, (8,)))
    with pytest.raises(Unsupported, match="flat"):
        check(AugmentSettings(policy=("flip",)), vector_spec(3))
    with pytest.raises(InvalidRecipe, match="rotation"):
        AugmentSettings.parse({"policy": ["rotation"]})
