"""Two processes on one machine train a run of stages together: the first writes, the other waits for it."""

import json
import subprocess
import sys

import pytest

from miaobi import load
from miaobi.recipe import Recipe
from miaobi.training import stages
from miaobi.training.run_folder import RunFolder
from tests.conftest import ROOT
from tests.training.test_staged_runs import BASE, LATENT
from tests.training.test_stages import BASE as PLAIN
from tests.training.test_stages import delivered

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from miaobi.training import train
done = train(json.loads(sys.argv[1]), run=sys.argv[2], progress=False)
assert done.model.joinpath("model.json").exists()
"""


@pytest.mark.parametrize("writes", [True, False])
def test_only_the_process_that_writes_writes_and_all_wait_between_stages(tmp_path, monkeypatch, writes):
    events = []

    class Two:
        def __init__(self):
            self.writes = writes

        def agree(self, value):
            events.append("wait")

    def train(recipe, place):
        events.append(place.name)
        return delivered(recipe, place)

    monkeypatch.setattr(stages, "Processes", Two)
    stages.run(Recipe.load(PLAIN), RunFolder(tmp_path), train)
    assert events == ["wait", "codes", "wait", "prior", "wait"]
    written = {"recipe.yaml", "lineage.json", "model", "report.html"} if writes else set()
    assert {path.name for path in tmp_path.iterdir()} == {"stages", *written}


def test_two_processes_train_stages(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    recipe = {**BASE, **LATENT, "train": {**BASE["train"], "tracking": []}}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), json.dumps(recipe), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert load(tmp_path / "run").parts.keys() == {"codec"}
    lineage = json.loads((tmp_path / "run" / "lineage.json").read_text())
    assert list(lineage["result"]) == ["codec", "prior"]
