"""Memory that is free is given back, and not asked for again at every step."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from miaobi.training import memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how large a process is")
def test_freed_memory_in_gaps_goes_back_to_the_system():
    if memory._trimmer() is None:
        pytest.skip("the C library has no malloc_trim")
    many = [np.ones(12_000) for _ in range(3000)]
    # What is kept in between stops the library from giving back by itself.
    kept = many[::50]
    del many
    before = memory.resident()
    memory.give_back()
    assert memory.resident() < before - 100 * 2**20
    assert all(part.sum() == 12_000 for part in kept)


@pytest.fixture
def process(monkeypatch):
    """A process of ``size`` bytes, of which ``needed`` are in use."""

    class Process:
        size, needed, given, now = 0, 0, 0, 0.0

        def give_back(self):
            self.given += 1
            self.size = self.needed

    made = Process()
    monkeypatch.setattr(memory, "resident", lambda: made.size)
    monkeypatch.setattr(memory, "give_back", made.give_back)
    monkeypatch.setattr(memory.time, "monotonic", lambda: made.now)
    return made


def test_a_process_within_its_estimate_is_left_alone(process):
    process.size = 100
    hoard = memory.Hoard(100)
    for process.now in range(10):
        hoard.watch()
    assert process.given == 0


def test_one_that_outgrew_it_gives_back_each_time_it_did(process):
    process.needed = 90
    hoard = memory.Hoard(100)
    for process.now, process.size in enumerate((101, 95, 130, 90)):
        hoard.watch()
    assert process.given == 2


def test_what_is_needed_all_the_time_is_not_given_back_again_and_again(process):
    process.size = process.needed = 200
    hoard = memory.Hoard(100)
    for process.now in range(1, 10):
        hoard.watch()
    assert process.given == 1


def test_looks_are_rare_and_nothing_is_done_without_a_limit(process):
    process.size, process.needed = 200, 10
    memory.Hoard(None).watch()
    hoard = memory.Hoard(100)
    for _ in range(5):
        hoard.watch()
        process.size = 200
    assert process.given == 1
