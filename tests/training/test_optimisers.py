import pytest
import torch

from miaobi.errors import CorruptFile, InvalidRecipe, UnknownName
from miaobi.recipe import OptimiserSettings, TrainSettings
from miaobi.training.optimisers import build, hidden_matrices, rate_of
from miaobi.types import Phase
from tests.support.toys import Toy, batch_of

NAMES = ["adamw", "adam", "sgd", "muon"]


def settings(name="adamw", **train):
    return TrainSettings(optimiser=OptimiserSettings(name=name, weight_decay=0.01), **train)


def made(toy, name="adamw", **train):
    return build(toy, toy.phases(), settings(name, **train))


def take_step(toy, optimiser, count=1):
    for turn in range(count):
        toy(batch_of(4), "one", torch.arange(4)).total.backward()
        optimiser.step(1 / (1 + turn))


def test_equal_sets_of_modules_share_an_optimiser():
    toy = Toy()
    sets = [("first",), ("first",), ("second", "first"), ("first", "second")]
    phases = [Phase(f"phase{index}", modules) for index, modules in enumerate(sets)]
    built = build(toy, phases, settings())
    assert set(built) == {frozenset({"first"}), frozenset({"first", "second"})}


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on_bit_for_bit(name):
    left, right = Toy(), Toy()
    key = frozenset({"first"})
    one, two = made(left, name)[key], made(right, name)[key]
    take_step(left, one, 3)
    right.load_state_dict(left.state_dict())
    two.load({key: tensor.clone() for key, tensor in one.state().items()})
    assert one.state().keys() == two.state().keys() != set()
    for toy, optimiser in ((left, one), (right, two)):
        take_step(toy, optimiser, 2)
    assert all(torch.equal(left.state_dict()[key], right.state_dict()[key]) for key in left.state_dict())
    assert all(torch.equal(one.state()[key], two.state()[key]) for key in one.state())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_of_the_set_moves_and_no_other(name):
    toy = Toy()
    before = {key: value.clone() for key, value in toy.state_dict().items()}
    take_step(toy, made(toy, name)[frozenset({"first"})])
    moved = {key for key, value in toy.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {f"first.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")}


def test_state_is_kept_by_parameter_name():
    toy = Toy()
    optimiser = made(toy)[frozenset({"first"})]
    take_step(toy, optimiser)
    assert "first.0.weight/exp_avg" in optimiser.state()
    with pytest.raises(CorruptFile, match="does not fit"):
        optimiser.load({"third.weight/exp_avg": torch.zeros(2)})


def test_vectors_are_not_decayed():
    groups = made(Toy())[frozenset({"first"})].groups()
    decays = {name: group["weight_decay"] for group in groups for name in group["parameters"]}
    assert decays == {"first.0.weight": 0.01, "first.1.weight": 0.01, "first.0.bias": 0.0, "first.1.bias": 0.0}


def test_frozen_patterns_take_parameters_out():
    toy = Toy()
    named = made(toy, freeze=["first.0.*"])[frozenset({"first"})].named
    assert set(named) == {"first.1.weight", "first.1.bias"}
    with pytest.raises(InvalidRecipe, match="matches no parameter"):
        made(toy, freeze=["frist.*"])
    with pytest.raises(InvalidRecipe, match="nothing is left"):
        made(toy, freeze=["first.*"])


def test_a_phase_may_have_its_own_rate():
    toy = Toy()
    train = settings(learning_rate=1e-3, phase_learning_rate={"two": 1e-4})
    assert [rate_of(phase, train) for phase in toy.phases()] == [1.0, pytest.approx(0.1)]
    with pytest.raises(UnknownName, match="one, two"):
        made(toy, phase_learning_rate={"three": 1e-4})


def test_muon_takes_hidden_matrices_only():
    toy = Toy()
    toy.embedding = torch.nn.Embedding(5, 3)
    toy.head = torch.nn.Linear(3, 7)
    assert hidden_matrices(toy) == {"first.0.weight", "first.1.weight", "second.weight"}
