"""A stage that starts from another one: a classifier from a masked language model, through the one trainer."""

import pytest
import torch

from miaobi import evaluation, load, training
from miaobi.errors import Unsupported
from miaobi.generation import generate
from miaobi.training.checkpoint import Checkpoints
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines
from tests.support.worlds import write_lines

TRAIN = {"steps": 4, "batch_size": 8, "evaluate_every": 4, "threads": 1, "precision": "float32", "ema": None}


def recipe(folder, **dynasty):
    return {
        "modality": {"name": "text", "max_length": 80},
        "data": {"source": str(write_lines(folder / "lines.jsonl", 200)), "content": "text"},
        "model": {"family": "masked_lm", "size": "tiny"},
        "train": {**TRAIN, "tracking": []},
        "stages": {
            "reading": {},
            "kinds": {
                "modality": "label",
                "data": {"content": "kind", "condition": {"text": {"modality": {"name": "text", "max_length": 80}}}},
                "model": {"family": "classifier", "start": "stage:reading", **dynasty},
                # So small a rate that what was taken is still to be seen at the end.
                "train": {"learning_rate": 1e-9},
            },
        },
    }


def notices(run):
    return [line["notice"] for line in read_lines(RunFolder(run).metrics) if "notice" in line]


def test_a_classifier_starts_from_the_stage_before_and_says_so_once(tmp_path):
    training.train(recipe(tmp_path), run=tmp_path / "run", progress=False)
    reading, kinds = (load(tmp_path / "run" / "stages" / name).family for name in ("reading", "kinds"))
    for name, tensor in reading.network.state_dict().items():
        if name != "lm_head.weight":
            torch.testing.assert_close(kinds.network.state_dict()[name], tensor, rtol=0, atol=1e-6)
    said = notices(tmp_path / "run" / "stages" / "kinds")
    assert len(said) == 1
    assert said[0].startswith("started from run:")
    assert "new: network.output" in said[0]
    training.train(recipe(tmp_path), run=tmp_path / "run", resume=True, progress=False)
    assert notices(tmp_path / "run" / "stages" / "kinds") == said
    assert Checkpoints(RunFolder(tmp_path / "run" / "stages" / "kinds").checkpoints).steps()[-1] == 4

    model = load(tmp_path / "run")
    assert generate(model, conditions={"text": "a short line"})[0].text in ("long", "short")
    scores = evaluation.evaluate(model)
    assert {"accuracy", "macro_f1", "bits_per_event"} <= set(scores)
    assert scores["accuracy"].floor is not None


def test_a_network_of_another_width_cannot_start_from_it(tmp_path):
    wide = {"network": {"name": "encoder", "width": 32, "heads": 2, "qk_norm": False}}
    with pytest.raises(Unsupported, match="nothing of the model to start from fits"):
        training.train(recipe(tmp_path, **wide), run=tmp_path / "run", progress=False)
