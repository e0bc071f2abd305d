"""What a score hangs on: against closed forms, the axioms, and a planted word."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.evaluation.understanding._gradients import gradient_x_input, integrated_gradients, slopes

WEIGHTS = torch.tensor([0.5, -2.0, 3.0, 0.0])


def linear(x):
    return x @ WEIGHTS + 1.5


def curved(x):
    return (x[:, 0] * x[:, 1]).tanh() + x[:, 2].square() * x[:, 3] + x.sin().sum(1)


def vectors(count):
    return st.lists(st.floats(-2, 2, width=32), min_size=count, max_size=count).map(torch.tensor)


@given(vectors(4), vectors(4))
def test_of_a_linear_score_both_are_weight_times_way(x, baseline):
    for found in (gradient_x_input(linear, x, baseline), integrated_gradients(linear, x, baseline)):
        torch.testing.assert_close(found, WEIGHTS * (x - baseline), rtol=1e-5, atol=1e-6)


@given(vectors(4), vectors(4))
def test_integrated_gradients_add_up_to_the_change(x, baseline):
    found = integrated_gradients(curved, x, baseline)
    change = curved(x[None]) - curved(baseline[None])
    torch.testing.assert_close(found.sum()[None], change, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("where", [0.003, 0.45, 0.9991])
def test_integrated_gradients_find_a_jump_anywhere_on_the_way(where):
    x = torch.tensor([1.0, 2.0])

    def jump(z):
        return 9 * torch.sigmoid(5000 * (z[:, 0] - where)) + 0.1 * z[:, 1]

    found = integrated_gradients(jump, x, torch.zeros(2))
    change = jump(x[None]) - jump(torch.zeros(1, 2))
    torch.testing.assert_close(found.sum()[None], change, rtol=0.01, atol=0.01)
    torch.testing.assert_close(found[1], torch.tensor(0.2))


def test_gradient_times_input_does_not_add_up_where_the_score_bends():
    x = torch.tensor([1.0, 1.0, 1.0, 1.0])
    simple = gradient_x_input(curved, x, torch.zeros(4)).sum()
    assert abs(simple - (curved(x[None]) - curved(torch.zeros(1, 4)))[0]) > 0.1


def test_integrated_gradients_of_a_square_are_its_closed_form():
    # d/dx of x^2 y along a straight way from 0: 2/3 x^2 y to x, 1/3 to y.
    x = torch.tensor([2.0, 3.0])
    found = integrated_gradients(lambda z: z[:, 0].square() * z[:, 1], x, torch.zeros(2))
    torch.testing.assert_close(found, torch.tensor([8.0, 4.0]))


def test_what_does_not_matter_gets_nothing():
    assert integrated_gradients(curved, torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4))[1:].abs().max() == 0


def test_rows_are_apart_and_no_graph_is_needed_outside():
    x = torch.randn(5, 4)
    with torch.no_grad():
        together = slopes(curved, x)
        alone = torch.cat([slopes(curved, row[None]) for row in x])
    assert not together.requires_grad
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 4, 4)])
def test_any_shape(shape):
    x = torch.randn(shape)
    found = integrated_gradients(lambda z: z.flatten(1).square().sum(1), x, torch.zeros(shape))
    torch.testing.assert_close(found, x.square())
