from __future__ import annotations

import json

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.sampling import pace
from miaobi.sampling.pace import Measured, Pace, Record


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Network(torch.nn.Module):
    """Its steps take `plain` seconds, or `fast` ones once compiling has taken `cost`."""

    def __init__(self, clock: Clock, plain: float = 1.0, fast: float = 0.5, cost: float = 100.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.clock, self.plain, self.fast, self.cost = clock, plain, fast, cost
        self.compiled: set[bool] = set()
        self.broken = False

    def compile_steps(self, cache, rows):
        self.clock.now += self.cost
        if self.broken:
            raise Unsupported("the decoding step could not be compiled", given="no compiler")
        self.compiled.add(rows > 1)

    def steps_compiled(self, cache, rows):
        return (rows > 1) in self.compiled

    def drop_steps(self, cache, rows):
        self.compiled.discard(rows > 1)

    def step(self, tokens, cache):
        self.clock.now += self.fast if self.steps_compiled(cache, len(tokens)) else self.plain
        return torch.zeros(len(tokens), 2)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "decoding.json")


def steps(network, paced, count, left=None, compiling=None, rows=4):
    """How many steps were made before the first compiled one."""
    before = 0
    for done in range(count):
        before += not network.compiled
        remaining = count - done if left is None else left
        paced.step(network, torch.zeros(rows, dtype=torch.int64), None, remaining, compiling)
    return before


def test_a_job_that_is_sure_to_be_long_is_compiled_at_once(clock, record):
    network = Network(clock)
    assert steps(network, Pace(network, record=record), 1000) < 10


def test_a_job_too_short_to_pay_back_is_not(clock, record):
    network = Network(clock)
    steps(network, Pace(network, record=record), 100)
    assert not network.compiled


def test_of_a_future_that_is_not_known_no_more_is_lost_than_compiling_costs(clock, record):
    network = Network(clock)
    record.put(Pace(network, record=record)._key(True), Measured(1.0, 0.5, 100.0))
    waited = steps(network, Pace(network, record=record), 1000, left=1)
    assert 200 <= waited <= 260


def test_what_was_measured_is_known_to_the_next_process(clock, record):
    network = Network(clock)
    steps(network, Pace(network, record=record), 1000)
    (found,) = json.loads(record.path.read_text(encoding="utf-8")).values()
    assert found == {"plain": 1.0, "compiled": 0.5, "cost": 100.0}


def test_compiling_that_does_not_help_is_undone_and_not_tried_again(clock, record):
    network = Network(clock, fast=1.1)
    paced = Pace(network, record=record)
    steps(network, paced, 1000)
    assert not network.compiled
    later = Network(clock, fast=1.1)
    steps(later, Pace(later, record=record), 1000)
    assert not later.compiled
    assert clock.now < 2300


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 3}'])
def test_a_record_that_cannot_be_read_counts_as_empty(record, text):
    record.path.write_text(text, encoding="utf-8")
    assert record.get("x") == Measured()
    record.put("y", Measured(1.0, 0.5, 3.0))
    assert record.get("y") == Measured(1.0, 0.5, 3.0)


def test_one_row_and_several_are_weighed_apart(clock, record):
    network = Network(clock)
    paced = Pace(network, record=record)
    steps(network, paced, 1000, rows=4)
    assert network.compiled == {True}
    steps(network, paced, 20, rows=1)
    assert network.compiled == {True}


def test_asked_for_it_is_compiled_before_the_first_step_and_otherwise_never(clock, record):
    network = Network(clock)
    paced = Pace(network, record=record)
    steps(network, paced, 5000, compiling=False)
    assert not network.compiled
    assert steps(network, paced, 1, compiling=True) == 1
    assert network.compiled


def test_without_a_compiler_it_says_so_once_and_goes_on(clock, record):
    network = Network(clock)
    network.broken = True
    paced = Pace(network, record=record)
    with pytest.warns(UserWarning, match="goes on uncompiled.*no compiler") as said:
        steps(network, paced, 2000)
    assert len(said) == 1
