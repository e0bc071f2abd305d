import pytest
import torch
from torch import nn

from miaobi.errors import CorruptFile
from miaobi.training.average import Average


def test_the_average_follows_its_recurrence():
    module = nn.Linear(2, 2)
    average = Average(module, 0.5)
    expected = module.weight.detach().clone()
    for updates in range(12):
        with torch.no_grad():
            module.weight.add_(1.0)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * module.weight.detach()
        average.update(updates)
    torch.testing.assert_close(average.state()["weight"], expected)


def test_live_weights_come_back_bit_for_bit_even_after_an_error():
    module = nn.Linear(3, 3)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.mul_(1.1)
    live = module.weight.detach().clone()

    def fail():
        assert torch.equal(module.weight, average.state()["weight"])
        assert not torch.equal(module.weight, live)
        raise RuntimeError

    with pytest.raises(RuntimeError), average.applied():
        fail()
    assert torch.equal(module.weight, live)


def test_buffers_are_the_modules_own():
    module = nn.BatchNorm1d(2)
    average = Average(module, 0.9)
    module(torch.randn(8, 2))
    live = module.running_mean.clone()
    with average.applied():
        assert torch.equal(module.running_mean, live)


def test_the_state_comes_back_and_a_strange_one_is_refused():
    module = nn.Linear(2, 2)
    average, other = Average(module, 0.9), Average(nn.Linear(2, 2), 0.9)
    other.load(average.state())
    assert all(torch.equal(value, other.state()[name]) for name, value in average.state().items())
    with pytest.raises(CorruptFile):
        average.load({"weight": torch.zeros(2, 2)})
    with pytest.raises(CorruptFile):
        average.load({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
