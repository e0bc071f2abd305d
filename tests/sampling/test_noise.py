import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.sampling.noise import derive, derive_one, integers, noise, seeds_of, uniform

numbers = st.integers(0, 2**62 - 1)


@given(numbers, st.lists(st.integers(0, 10**12), min_size=2, max_size=6), st.integers(1, 33))
@settings(max_examples=50, deadline=None)
def test_a_batch_equals_its_items_one_by_one(seed, items, count):
    seeds = seeds_of(seed, items)
    for draw in (noise, uniform):
        together = draw(seeds, "z", (count,))
        alone = torch.cat([draw(seeds[row : row + 1], "z", (count,)) for row in range(len(items))])
        assert torch.equal(together, alone)


def test_normals_have_the_moments_of_a_normal():
    z = noise(seeds_of(1, range(200)), "z", (1000,)).double()
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.02
    assert abs((z**4).mean() - 3) < 0.1
    assert abs((z[:-1] * z[1:]).mean()) < 0.01
    assert abs((z[:, :-1] * z[:, 1:]).mean()) < 0.01


def test_uniforms_stay_inside_the_open_interval_and_fill_it():
    u = uniform(seeds_of(2, range(100)), "u", (1000,))
    assert u.min() > 0
    assert u.max() < 1
    histogram = torch.histc(u, 10, 0, 1)
    assert (histogram - 10_000).abs().max() < 500


def test_the_largest_uniform_is_below_one(monkeypatch):
    monkeypatch.setattr("miaobi.sampling.noise._bits", lambda seeds, stream, count: torch.full((1, count), -1))
    assert float(uniform(torch.zeros(1, dtype=torch.int64), "u", (1,))) < 1


def test_integers_are_bounded_and_even():
    drawn = integers(seeds_of(3, range(1000)), "i", 7, (10,))
    counts = torch.bincount(drawn.flatten(), minlength=7)
    assert len(counts) == 7
    assert (counts - 10_000 / 7).abs().max() < 200


def test_streams_seeds_and_items_are_unrelated():
    seeds = seeds_of(0, range(50))
    draws = [
        noise(seeds, "a", (200,)),
        noise(seeds, "b", (200,)),
        noise(seeds, 0, (200,)),
        noise(seeds_of(1, range(50)), "a", (200,)),
        noise(derive(seeds, 1), "a", (200,)),
        noise(derive(seeds, 2), "a", (200,)),
    ]
    for i, left in enumerate(draws):
        for right in draws[i + 1 :]:
            assert abs((left * right).mean()) < 0.05


def test_more_numbers_start_with_the_same_ones():
    seeds = seeds_of(5, [1, 2])
    assert torch.equal(uniform(seeds, "u", (3,)), uniform(seeds, "u", (9,))[:, :3])


def test_derive_one_agrees_with_derive():
    assert derive_one(7, "init", 3) == int(derive(torch.tensor([7]), "init", 3)[0])
    assert derive_one(7, "init", 3) != derive_one(7, "init", 4)


def test_known_values_never_change():
    # A change here would silently change every recipe's result.
    assert derive_one(0, "init") == -347027657798435697
    known = torch.tensor([[-1.2421190, -0.2093579, 0.1989526], [0.6641349, 0.4871441, 1.6210220]])
    assert torch.allclose(noise(seeds_of(0, [0, 1]), "z", (3,)), known, atol=1e-6)


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(0, 2**62) | st.text(max_size=8), max_size=5))
@settings(max_examples=50, deadline=None)
def test_deriving_one_seed_equals_deriving_a_batch_of_one(seed, keys):
    assert derive_one(seed, *keys) == int(derive(torch.tensor([seed]), *keys)[0])
