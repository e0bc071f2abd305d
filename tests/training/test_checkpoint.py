import json
import subprocess
import sys
import textwrap

import pytest
import torch

from miaobi.errors import CorruptFile, SaveFailed
from miaobi.training.checkpoint import Checkpoint, Checkpoints


def checkpoint(step, best=None, size=10):
    state = {"run": {"step": step, "best": {"step": best} if best else None}}
    return Checkpoint({"w": torch.full((size,), float(step))}, {}, {"m/w/x": torch.ones(2)}, state)


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def test_what_was_saved_comes_back(checkpoints):
    checkpoints.save(7, checkpoint(7))
    found = checkpoints.latest()
    assert torch.equal(found.weights["w"], torch.full((10,), 7.0))
    assert found.average == {}
    assert found.optimiser.keys() == {"m/w/x"}
    assert found.state["run"]["step"] == 7


def test_nothing_saved_is_nothing_found(checkpoints):
    assert checkpoints.latest() is None


def test_the_last_two_and_the_best_of_each_are_kept(checkpoints):
    for step, best in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5)]:
        checkpoints.save(step, checkpoint(step, best))
    assert checkpoints.steps() == [2, 4, 5]
    checkpoints.save(6, checkpoint(6, 5))
    assert checkpoints.steps() == [5, 6]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "altered", "removed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(checkpoints, name, harm):
    checkpoints.save(1, checkpoint(1))
    checkpoints.save(2, checkpoint(2))
    path = checkpoints.path(2) / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(data[:-3] if harm == "cut" else data)
    with pytest.warns(UserWarning, match=r"step-00000002.*before it"):
        assert checkpoints.latest().state["run"]["step"] == 1


def test_nothing_but_damage_is_an_error(checkpoints):
    checkpoints.save(1, checkpoint(1))
    (checkpoints.path(1) / "state.json").write_text("{}")
    with pytest.warns(UserWarning, match="cut short"), pytest.raises(CorruptFile, match="another folder"):
        checkpoints.latest()


def test_saving_a_step_again_replaces_it(checkpoints):
    checkpoints.save(1, checkpoint(1))
    checkpoints.save(1, checkpoint(1, size=3))
    assert len(checkpoints.latest().weights["w"]) == 3
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_what_a_killed_process_left_is_swept(checkpoints):
    checkpoints.save(1, checkpoint(1))
    (checkpoints.folder / ".step-00000002-1").mkdir()
    assert checkpoints.steps() == [1]
    checkpoints.save(2, checkpoint(2))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000001", "step-00000002"]


def test_later_steps_are_forgotten(checkpoints):
    checkpoints.save(1, checkpoint(1))
    checkpoints.save(2, checkpoint(2))
    checkpoints.forget_after(1)
    assert checkpoints.steps() == [1]


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """A real write error: the process may write no file larger than 64 KiB."""
    script = f"""
        import resource, signal
        import torch
        from pathlib import Path
        from miaobi.errors import SaveFailed
        from miaobi.training.checkpoint import Checkpoint, Checkpoints
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        checkpoints = Checkpoints(Path({str(tmp_path)!r}) / "checkpoints")
        checkpoints.save(1, Checkpoint({{"w": torch.ones(10)}}, {{}}, {{}}, {{}}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        try:
            checkpoints.save(2, Checkpoint({{"w": torch.ones(1 << 20)}}, {{}}, {{}}, {{}}))
        except SaveFailed as error:
            print(error.message)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert "could not save the checkpoint of step 2" in done.stdout, done.stderr
    assert "free some disk space" in done.stdout
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]
    assert torch.equal(checkpoints.latest().weights["w"], torch.ones(10))


def test_an_unwritable_folder_is_a_save_that_failed(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(SaveFailed, match="step 3"):
        Checkpoints(tmp_path / "checkpoints").save(3, checkpoint(3))


def test_nothing_is_pickled(checkpoints):
    checkpoints.save(1, checkpoint(1))
    names = {path.name for path in checkpoints.path(1).iterdir()}
    tensors = {"weights.safetensors", "average.safetensors", "optimiser.safetensors"}
    assert names == tensors | {"state.json", "manifest.json"}
    for name in names - tensors:
        json.loads((checkpoints.path(1) / name).read_text())
