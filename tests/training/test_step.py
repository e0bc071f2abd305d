from dataclasses import replace

import pytest
import torch
from torch import nn

from miaobi.recipe import TrainSettings
from miaobi.training import optimisers
from miaobi.training.processes import Processes
from miaobi.training.step import PhaseRunner
from tests.support.toys import Toy, batch_of

ALONE = Processes()
# Where the toys are, with a GPU or without.
ALONE.device = torch.device("cpu")


def runner(toy, name="sgd", **train):
    settings = TrainSettings(**{"batch_size": 8, "learning_rate": 0.01, "optimiser": {"name": name}, **train})
    return PhaseRunner(toy, optimisers.build(toy, toy.phases(), settings), ALONE, settings, seed=3)


def turn(chosen, phase=0, step=0, repeat=0, scale=1.0, count=8):
    return chosen.run(chosen.family.phases()[phase], batch_of(count), step=step, repeat=repeat, scale=scale)


def moved(toy, before):
    return {key for key, value in toy.state_dict().items() if not torch.equal(value, before[key])}


def snapshot(toy):
    return {key: value.clone() for key, value in toy.state_dict().items()}


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_equals_the_large_batch(parts, clip):
    whole, micro = Toy(), Toy()
    left, right = turn(runner(whole, clip=clip)), turn(runner(micro, clip=clip, accumulate=parts))
    assert len(micro.seen) == parts * len(whole.seen)
    torch.testing.assert_close(left.norm, right.norm)
    torch.testing.assert_close(left.parts["loss"], right.parts["loss"])
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(value, micro.state_dict()[key])


def test_gradients_are_divided_once_by_the_summed_count():
    toy, by_hand = Toy(), Toy()
    chosen = runner(toy, clip=None, accumulate=2, optimiser={"name": "sgd", "momentum": 0.0})
    turn(chosen)
    _, _, first = toy.seen[0]
    _, _, second = toy.seen[1]
    by_hand(batch_of(8), "one", torch.tensor(first + second)).total.backward()
    for key, parameter in by_hand.first.named_parameters():
        expected = parameter.detach() - 0.01 * parameter.grad / 8
        torch.testing.assert_close(toy.first.get_parameter(key).detach(), expected)


def test_clipping_bounds_the_whole_gradient_of_the_turn():
    toy = Toy()
    before = snapshot(toy)
    outcome = turn(runner(toy, clip=0.1, optimiser={"name": "sgd", "momentum": 0.0}))
    assert outcome.norm > 0.1
    change = torch.cat([(value - before[key]).flatten() for key, value in toy.state_dict().items() if key != "turns"])
    assert change.norm() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_a_phase_moves_its_own_modules_and_leaves_no_gradient():
    toy = Toy()
    chosen = runner(toy)
    for phase, module in enumerate(("first", "second")):
        before = snapshot(toy)
        turn(chosen, phase)
        assert {key.partition(".")[0] for key in moved(toy, before)} == {module, "turns"}
        assert all(parameter.grad is None for parameter in toy.parameters())


def test_frozen_parameters_stay():
    toy = Toy()
    before = snapshot(toy)
    turn(runner(toy, freeze=["first.0.*"]))
    assert moved(toy, before) == {"first.1.weight", "first.1.bias", "turns"}


def test_seeds_depend_on_step_phase_repeat_and_item_and_on_nothing_else():
    def seeds(**keys):
        toy = Toy()
        turn(runner(toy), **keys)
        return toy.seen[0][2]

    base = seeds()
    assert base == seeds()
    assert len(set(base)) == 8
    others = [seeds(step=1), seeds(repeat=1), seeds(phase=1)]
    assert all(not set(base) & set(other) for other in others)
    assert seeds(count=3) == base[:3]


def test_dropout_depends_on_the_step_and_not_on_the_global_generator():
    def weights(step, seed):
        toy = Toy()
        toy.first.insert(1, nn.Dropout(0.5))
        chosen = runner(toy)
        torch.manual_seed(seed)
        turn(chosen, step=step)
        return toy.first[0].weight.detach()

    assert torch.equal(weights(0, seed=1), weights(0, seed=2))
    assert not torch.equal(weights(0, seed=1), weights(1, seed=1))


def test_statistics_are_summed_over_micro_batches():
    toy = Toy()
    turn(runner(toy, accumulate=4))
    assert toy.turns == 8


def test_an_empty_loss_moves_nothing():
    class Silent(Toy):
        def forward(self, batch, phase, seeds):
            loss = super().forward(batch, phase, seeds)
            return replace(loss, total=0 * loss.total, count=0.0)

    toy = Silent()
    before = snapshot(toy)
    turn(runner(toy, optimiser={"name": "sgd", "momentum": 0.0}))
    assert moved(toy, before) == {"turns"}


def test_a_rate_of_nothing_moves_nothing():
    toy = Toy()
    before = snapshot(toy)
    turn(runner(toy, name="adamw"), scale=0.0)
    assert moved(toy, before) == {"turns"}
