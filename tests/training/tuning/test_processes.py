"""Several processes on one study, some of them killed: no trial is lost, none is run twice."""

import collections
import json
import multiprocessing
import os
import signal
import time

import pytest
from optuna.trial import TrialState

from miaobi.training.tuning.journal import Journal
from tests.training.tuning.stand_ins import EVALUATIONS, course, searched, study_in

# A server that has imported torch forks a fresh process in milliseconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["miaobi.training", "miaobi.training.tuning.searching"])
COUNT = 12


@pytest.fixture
def started():
    """Start a process that searches; whoever is left at the end is killed."""
    processes = []

    def start(root, seconds, **tune):
        process = _PROCESSES.Process(target=searched, args=(root, COUNT, seconds), kwargs=tune)
        process.start()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.join()


def steps_of(root):
    """Steps done by trial."""
    return {path.parent.name: path.read_text().splitlines() for path in (root / "trials").glob("*/steps.txt")}


def wait_for(condition):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 60, "the search did not get there"
        time.sleep(0.005)


def told(root):
    """How often each trial was finished, by the journal's own lines."""
    lines = [json.loads(line) for line in (root / "journal.jsonl").read_text().splitlines()]
    return collections.Counter(line["trial_id"] for line in lines if line["op_code"] == 6)


def check_whole(root, count=COUNT):
    """Exactly ``count`` trials, each finished once, each step of each computed once."""
    trials = study_in(root).trials()
    assert [trial.number for trial in trials] == list(range(count))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert told(root) == dict.fromkeys(range(count), 1)
    steps = steps_of(root)
    assert sorted(steps) == [f"{number:04d}" for number in range(count)]
    for trial in trials:
        found = [int(line.split()[0]) for line in steps[f"{trial.number:04d}"]]
        assert found == list(range(1, trial.user_attrs["steps"] + 1))


def test_two_processes_and_one_killed_lose_no_trial_and_run_none_twice(tmp_path, started):
    first, second = started(tmp_path, 0.02), started(tmp_path, 0.02)
    # Killed in the middle of a trial that it works on itself.
    wait_for(lambda: len(steps_of(tmp_path)) >= 4)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second.join(60)
    assert second.exitcode == 0
    check_whole(tmp_path)
    starts = {path.parent.name: path.read_text().splitlines() for path in tmp_path.glob("trials/*/starts.txt")}
    workers = {line.split()[0] for lines in starts.values() for line in lines}
    assert workers == {str(first.pid), str(second.pid)}, "both took part"
    again = {name: lines for name, lines in starts.items() if len(lines) > 1}
    assert len(again) <= 1, "only what the killed one worked on was taken up"
    for lines in again.values():
        assert len({line.split()[1] for line in lines}) == 1, "with the same parameters"


def test_a_trial_left_behind_is_waited_for_and_taken_up(tmp_path, started):
    """A process that finds nothing else to do outlives the one that holds the last trial."""
    slow = started(tmp_path, 0.5, pruner="none")
    wait_for(lambda: steps_of(tmp_path))
    quick = started(tmp_path, 0.0, pruner="none")
    wait_for(lambda: len(steps_of(tmp_path)) == COUNT and sum(told(tmp_path).values()) >= COUNT - 1)
    assert quick.is_alive(), "it waits"
    os.kill(slow.pid, signal.SIGKILL)
    quick.join(60)
    assert quick.exitcode == 0
    check_whole(tmp_path)
    assert all(len(steps) == EVALUATIONS for steps in steps_of(tmp_path).values())


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_process_killed_again_and_again_ends_as_if_left_alone(sampler, tmp_path, started):
    whole = course(searched(tmp_path / "whole", COUNT, sampler=sampler))
    for after in (2, 5, 10):
        process = started(tmp_path / "killed", 0.01, sampler=sampler)
        wait_for(lambda after=after: len(steps_of(tmp_path / "killed")) >= after)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert course(searched(tmp_path / "killed", COUNT, sampler=sampler)) == whole
    check_whole(tmp_path / "killed")


def test_a_line_that_was_cut_short_is_dropped_and_the_study_goes_on(tmp_path):
    searched(tmp_path, 2)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes()
    with journal.open("ab") as stream:
        stream.write(lines.splitlines()[1][:40])
    assert len(study_in(tmp_path).trials()) == 2
    searched(tmp_path, 4)
    check_whole(tmp_path, 4)
    assert journal.read_bytes().startswith(lines)


def test_readers_see_what_others_appended_from_any_line_on(tmp_path):
    writer, reader = Journal(tmp_path / "a" / "journal.jsonl"), Journal(tmp_path / "a" / "journal.jsonl")
    assert list(reader.read_logs(0)) == []
    writer.append_logs([{"n": 0}, {"n": 1}])
    assert list(reader.read_logs(1)) == [{"n": 1}]
    writer.append_logs([{"n": 2}])
    assert list(reader.read_logs(2)) == [{"n": 2}]
    assert list(Journal(tmp_path / "a" / "journal.jsonl").read_logs(2)) == [{"n": 2}]
    assert [line["n"] for line in reader.read_logs(0)] == [0, 1, 2]


def test_nothing_of_a_study_is_pickled(tmp_path):
    # Optuna unpickles the snapshots of a backend that has some.
    assert not hasattr(Journal(tmp_path / "j"), "load_snapshot")
    searched(tmp_path, 3)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.read_text(encoding="utf-8")
