import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.families._quantisers import FiniteScalarQuantiser, VectorQuantiser
from miaobi.sampling.noise import seeds_of

LEVELS = st.lists(st.integers(2, 9), min_size=1, max_size=4)
SHAPES = [(), (6,), (3, 5), (2, 3, 2)]


def vectors(rows, width, space, seed=0):
    return torch.randn(rows, width, *space, generator=torch.Generator().manual_seed(seed))


def quantisers():
    torch.manual_seed(0)
    return [FiniteScalarQuantiser([8, 5, 3]), VectorQuantiser(20, 3)]


@settings(max_examples=40, deadline=None)
@given(levels=LEVELS)
def test_every_finite_scalar_code_has_its_own_vector_and_comes_back(levels):
    quantiser = FiniteScalarQuantiser(levels)
    codes = torch.arange(math.prod(levels))
    values = quantiser.lookup(codes)
    assert values.shape == (len(codes), len(levels))
    assert values.min() == -1
    assert values.max() == 1
    assert torch.equal(quantiser.assign(values), codes)
    assert len(values.unique(dim=0)) == len(codes)


@settings(max_examples=40, deadline=None)
@given(level=st.integers(2, 9), z=st.floats(-8, 8))
def test_finite_scalars_are_rounded_to_the_nearest_level(level, z):
    quantiser = FiniteScalarQuantiser([level])
    found = quantiser(torch.tensor([[z]]), seeds_of(0, [0])).values.item()
    grid = [2 * digit / (level - 1) - 1 for digit in range(level)]
    assert abs(found - math.tanh(z)) == pytest.approx(min(abs(g - math.tanh(z)) for g in grid), abs=1e-5)


@pytest.mark.parametrize("space", SHAPES, ids=str)
@pytest.mark.parametrize("index", [0, 1], ids=["finite scalar", "vector"])
def test_quantising_twice_changes_nothing_and_gradients_pass_through(index, space):
    quantiser = quantisers()[index]
    z = vectors(4, 3, space).requires_grad_()
    found = quantiser(z, seeds_of(0, range(4)))
    assert found.values.shape == z.shape
    assert found.codes.shape == (4, *space)
    assert found.values.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(found.values.detach(), quantiser.lookup(found.codes))
    assert torch.equal(quantiser.assign(quantiser.lookup(found.codes)), found.codes)
    found.values.sum().backward()
    through, z.grad = z.grad, None
    quantiser.bound(z).sum().backward()
    torch.testing.assert_close(through, z.grad)
    assert found.statistics["codes"].sum() == 4 * math.prod(space)


def test_the_nearest_vector_is_found_in_any_blocks(monkeypatch):
    monkeypatch.setattr("miaobi.families._quantisers._MOST_NUMBERS", 50)
    quantiser = quantisers()[1]
    values = quantiser.bound(vectors(5, 3, (4,)))
    flat = values.movedim(1, -1).reshape(-1, 3)
    assert torch.equal(quantiser.assign(values).flatten(), torch.cdist(flat, quantiser.codebook).argmin(1))


@pytest.mark.parametrize("index", [0, 1], ids=["finite scalar", "vector"])
def test_statistics_of_micro_batches_add_up_to_those_of_the_batch(index):
    quantiser, seeds = quantisers()[index], seeds_of(1, range(12))
    z = vectors(12, 3, (3, 3))
    whole = quantiser(z, seeds).statistics
    parts = [quantiser(z[cut], seeds[cut]).statistics for cut in (slice(0, 5), slice(5, 12))]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value)


def clusters(seed, count=16, spread=0.05):
    generator = torch.Generator().manual_seed(7)
    centres = torch.nn.functional.normalize(torch.randn(count, 8, generator=generator), dim=1)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(count, (64, 4), generator=generator)
    return (centres[chosen] + spread * torch.randn(64, 4, 8, generator=generator)).movedim(2, 1)


def followed(quantiser, steps):
    for step in range(steps):
        quantiser.observe(quantiser(clusters(step), seeds_of(step, range(64))).statistics)
    return quantiser


def test_a_codebook_finds_the_datas_clusters():
    torch.manual_seed(0)
    quantiser = VectorQuantiser(64, 8)
    before = quantiser(clusters(1000), seeds_of(0, range(64))).commitment.mean()
    followed(quantiser, 200)
    after = quantiser(clusters(1000), seeds_of(0, range(64))).commitment.mean()
    assert after < 0.05 * before
    torch.testing.assert_close(quantiser.codebook.norm(dim=1), torch.ones(64))


def test_dead_codes_move_to_where_vectors_are():
    """A codebook that starts in one point would use one code for ever."""
    torch.manual_seed(0)
    quantiser = VectorQuantiser(32, 8)
    quantiser.codebook.copy_(torch.nn.functional.normalize(torch.ones(32, 8), dim=1))
    assert len(quantiser(clusters(0), seeds_of(0, range(64))).codes.unique()) == 1
    followed(quantiser, 20)
    assert len(quantiser(clusters(0), seeds_of(0, range(64))).codes.unique()) > 16
    assert quantiser.used() > 0.9


def test_a_dead_code_is_moved_to_one_vector_rather_than_to_a_mean():
    torch.manual_seed(0)
    quantiser = VectorQuantiser(8, 8)
    z = clusters(0, spread=0.0)
    statistics = quantiser(z, seeds_of(0, range(64))).statistics
    candidates, weights = statistics["candidates"].split([8, 1], 1)
    near = (candidates / weights) @ quantiser.bound(z).movedim(1, -1).reshape(-1, 8).T
    assert (near.max(1).values > 0.9).float().mean() > 0.8


def test_a_codebook_is_the_same_for_the_same_seeds():
    books = []
    for _ in range(2):
        torch.manual_seed(0)
        books.append(followed(VectorQuantiser(32, 8), 5).codebook)
    assert torch.equal(*books)


def test_use_and_perplexity_by_hand():
    quantiser = FiniteScalarQuantiser([4])
    assert quantiser.used() == 0
    assert torch.equal(quantiser.shares(), torch.full((4,), 0.25))
    for _ in range(3):
        quantiser.observe({"codes": torch.tensor([5.0, 5.0, 0.0, 0.0])})
    assert quantiser.used() == 0.5
    assert quantiser.perplexity().item() == pytest.approx(2)
    torch.testing.assert_close(quantiser.shares(), torch.tensor([0.4975, 0.4975, 0.0025, 0.0025]))
    for _ in range(200):
        quantiser.observe({"codes": torch.tensor([0.0, 0.0, 0.0, 10.0])})
    assert quantiser.used() == 0.75
    for _ in range(600):
        quantiser.observe({"codes": torch.tensor([0.0, 0.0, 0.0, 10.0])})
    assert quantiser.used() == 0.25


def test_what_is_no_number_gets_a_code_and_stays_no_number():
    """So that the loss tells the guards, who go back, instead of an index that ends the run."""
    for quantiser in quantisers():
        z = vectors(2, 3, (4,))
        z[0, 0, 0] = math.nan
        found = quantiser(z, seeds_of(0, range(2)))
        assert found.codes.min() >= 0
        assert found.codes.max() < quantiser.codes
        assert found.values[0].isnan().any()
