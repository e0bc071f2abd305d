"""Bad input gets a clear error, says what to do, and loses nothing."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miaobi import training
from miaobi.data import prepare
from miaobi.errors import CorruptFile, DataError, InvalidRecipe, MiaobiError, RunFolderError, SaveFailed, UnknownName
from miaobi.recipe import Recipe
from miaobi.types import Form
from tests.support.worlds import recipe

TEXT = {"modality": "text", "data": {"source": "?"}, "model": {"family": "autoregressive", "size": "tiny"}}
IMAGE = {"modality": "image", "data": {"source": "?"}, "model": {"family": "vae", "size": "tiny"}}
QUICK = {"steps": 4, "batch_size": 4, "precision": "float32", "threads": 1, "evaluate_every": 2, "tracking": []}


def prepared(base, source, **data):
    return prepare(Recipe.load({**base, "data": {"source": str(source), **data}}))


def lines_file(path, count=60):
    path.write_text("\n".join(json.dumps({"text": f"line number {i} of a small book"}) for i in range(count)))
    return path


def pictures(folder, count=12):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def huge_png(path, side=20_000):
    """A PNG whose header promises side x side pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"modality": "txet"}, UnknownName, "did you mean text"),
        ({"model": {"family": "autoregresive"}}, UnknownName, "did you mean autoregressive"),
        ({"model": {"family": "vae"}}, MiaobiError, "does not model"),
        (
            {"model": {"family": "autoregressive", "network": {"name": "trnsformer"}}},
            UnknownName,
            "did you mean transformer",
        ),
        (
            {"model": {"family": "autoregressive", "network": {"name": "lstm", "widht": 3}}},
            InvalidRecipe,
            "unknown key",
        ),
        ({"model": {"family": "autoregressive", "options": {"smothing": 3}}}, InvalidRecipe, "unknown key"),
        ({"modality": {"name": "text", "tokeniser": "bpe"}}, InvalidRecipe, "did you mean tokenizer"),
        ({"train": {"steps": "many"}}, InvalidRecipe, "'many'"),
        ({"evaluate": {"metrics": ["divrsity"]}}, UnknownName, "did you mean"),
        ({"evaluate": {"options": {"translation": {"source": "titel"}}}}, InvalidRecipe, "not a text condition.*titel"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_any_work(tmp_path, change, kind, words):
    source = lines_file(tmp_path / "lines.jsonl")
    data = {**TEXT, "data": {"source": str(source)}, **change}
    with pytest.raises(kind, match=words):
        training.train(data, run=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    "name", ["absent.jsonl", "absent_folder/", "catalog:tang-poemz", "empty.jsonl", "empty_folder"]
)
def test_no_data_says_what_to_do(tmp_path, name):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "empty_folder").mkdir()
    source = name if ":" in name else tmp_path / name
    with pytest.raises(MiaobiError, match="what to do") as caught:
        prepared(TEXT, source)
    assert caught.value.exit_status == 2


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    source = lines_file(tmp_path / "lines.jsonl")
    with pytest.raises(MiaobiError, match="text"):
        prepared(TEXT, source, content="txet")


def test_bad_pictures_are_skipped_and_named(tmp_path):
    folder = pictures(tmp_path / "pictures", 40)
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not a picture")
    huge_png(folder / "bomb.png")
    (folder / "notes.txt").write_text("a note")
    Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8)).save(folder / "dot.png")
    data = prepared(IMAGE, folder)
    text = json.dumps(data.report.to_json())
    for name in ("cut.png", "text.png", "bomb.png"):
        assert name in text
    assert len(data.train) + len(data.validation) + len(data.test) == 41


def test_too_many_bad_files_stop(tmp_path):
    folder = pictures(tmp_path / "pictures", 6)
    for index in range(6):
        (folder / f"bad{index}.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"bad0\.png"):
        prepared(IMAGE, folder)


def test_a_cut_midi_file_is_named(tmp_path):
    from miaobi.errors import UnreadableItem
    from miaobi.modalities import create

    path = tmp_path / "cut.mid"
    path.write_bytes(b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x01\xe0MTrk\x00\x00\x10\x00\x00")
    with pytest.raises(UnreadableItem):
        create("music").read(path)


def test_broken_text_is_skipped_by_line_and_empty_items_too(tmp_path):
    path = lines_file(tmp_path / "lines.jsonl", 100)
    with path.open("ab") as stream:
        stream.write(b'\n{"text": "\xff\xfe broken"}\n{"text": ""}\n{"text": 3\n')
    report = prepared(TEXT, path).report.to_json()
    text = json.dumps(report)
    assert "101" in text
    assert "103" in text


def test_one_line_of_fifty_megabytes(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("All work and no play makes a dull day. " * (50_000_000 // 39))
    recipe_of = {
        **TEXT,
        "modality": {"name": "text", "context": 64},
        "data": {"source": str(path), "split": {"by": "position", "test": 0}},
    }
    data = prepare(Recipe.load(recipe_of))
    assert len(data.train) > 100_000
    assert data.train.batch([0]).target.values.shape == (1, 65)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    settings = recipe("autoregressive", Form.TOKENS, folder, **{**QUICK, "steps": 6})
    training.train(settings, run=folder / "run", progress=False)
    return folder / "run", settings


def copy(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_used_run_folder_is_refused(run):
    with pytest.raises(RunFolderError, match="resume"):
        training.train(run[1], run=run[0], progress=False)


def test_a_resume_with_a_changed_recipe_is_refused_with_the_differences(run, tmp_path):
    changed = {**run[1], "train": {**run[1]["train"], "learning_rate": 0.5}}
    with pytest.raises(RunFolderError, match="learning_rate"):
        training.train(changed, run=copy(run[0], tmp_path), resume=True, progress=False)


def test_a_model_cut_short_is_refused(run, tmp_path):
    from miaobi import load

    weights = copy(run[0], tmp_path) / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="cut short"):
        load(tmp_path / "run")


def test_a_model_from_a_newer_version_is_refused(run, tmp_path):
    from miaobi import load

    path = copy(run[0], tmp_path) / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 10**6}))
    with pytest.raises(RunFolderError, match="newer version"):
        load(tmp_path / "run")


FULL_DISK = """
import json, resource, signal, sys
from miaobi import training
from miaobi.errors import SaveFailed
run, recipe = sys.argv[1], json.loads(sys.argv[2])
training.train(recipe, run=run, progress=False)
recipe["train"]["steps"] = 6
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    training.train(recipe, run=run + "-full", progress=False)
except SaveFailed as error:
    print("refused:", error)
"""


def test_a_full_disk_while_saving_is_reported(tmp_path):
    settings = recipe("autoregressive", Form.TOKENS, tmp_path, **QUICK)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "run"), json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert "refused:" in done.stdout, done.stderr[-2000:]
    assert SaveFailed.exit_status == 1
