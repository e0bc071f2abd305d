import functools
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi import load, training
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.generation.latents import encode, interpolate, reconstruct, slerp, traverse
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Form
from tests.support.worlds import recipe

A, B = (np.full((8, 8, 1), level, np.uint8) for level in (20, 220))


@functools.cache
def model(name="vae", form=Form.TENSOR):
    folder = Path(tempfile.mkdtemp())
    settings = recipe(name, form, folder, steps=8, evaluate_every=8)
    return load(training.train(settings, run=folder / "run", progress=False).run)


def test_a_walk_starts_and_ends_at_the_reconstructions():
    made = interpolate(model(), A, B, n=5)
    first, last = reconstruct(model(), [A, B])
    assert len(made) == 5
    assert np.abs(made[0].astype(int) - first).max() <= 1
    assert np.abs(made[-1].astype(int) - last).max() <= 1


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 40))
def test_the_walk_goes_evenly_from_one_length_to_the_other(seed, n, size):
    a, b = noise(seeds_of(seed, range(2)), "ends", (size,))
    path = slerp(a, 2 * b, torch.linspace(0, 1, n))
    torch.testing.assert_close(path[0], a, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(path[-1], 2 * b, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        path.norm(dim=1), torch.linspace(float(a.norm()), float(2 * b.norm()), n), rtol=1e-3, atol=1e-4
    )


def test_a_quarter_of_a_circle_is_halved():
    middle = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5]))[0]
    torch.testing.assert_close(middle, torch.full((2,), math.sqrt(0.5)))


def test_one_number_is_moved_and_the_others_stay():
    z = encode(model(), [A])
    made = traverse(model(), A, 3, span=(-2.0, 2.0), n=4)
    assert len(made) == 4
    assert any(not np.array_equal(made[0], one) for one in made[1:])
    with pytest.raises(InvalidRecipe, match=f"0 to {z[0].numel() - 1}"):
        traverse(model(), A, z[0].numel())


def test_sequences_are_walked_through_too():
    sequences = model("sequence_vae", Form.TOKENS)
    first, last = "a line about something", "another line about it"
    made = interpolate(sequences, first, last, n=3)
    assert [made[0], made[-1]] == reconstruct(sequences, [first, last])
    assert all(isinstance(one, str) and "\0" not in one for one in made)
    assert len(traverse(sequences, first, 2, n=2)) == 2


def test_what_cannot_work_is_refused():
    with pytest.raises(InvalidRecipe, match="2 to"):
        interpolate(model(), A, B, n=1)
    with pytest.raises(Unsupported, match="Latent"):
        reconstruct(model("gan"), [A])
