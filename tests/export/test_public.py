"""Public models export: as published, with an adapter merged into them, and as an adapter alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import miaobi
from miaobi.errors import SaveFailed, Unsupported
from miaobi.export import source_of
from tests.export.models import TEXTS
from tests.export.public_models import adapted, folder

transformers = pytest.importorskip("transformers", reason="public models need transformers: pip install '.[starter]'")
LORA = {"name": "lora", "rank": 2}
PROMPT = {"name": "prompt", "tokens": 3}
PREFIX = {"name": "prefix", "tokens": 3}


@pytest.fixture(params=["llama", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture
def place(tmp_path, kind):
    return folder(kind, tmp_path / "base")


def opened(path="out"):
    return transformers.AutoModelForCausalLM.from_pretrained(path).eval()


def test_a_public_model_comes_out_as_it_was(place, kind):
    made = miaobi.export(str(place), format="transformers", out="out", texts=TEXTS)
    assert made.checks["chat_template"] is True
    base, ours = opened(place), opened()
    assert type(ours) is type(base)
    rows = len(source_of(miaobi.load(str(place))).network.head)
    expected = base.state_dict()
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, expected[name][: len(weight)]), name
    assert (ours.config.bos_token_id, ours.config.eos_token_id) == (0, 1)
    said = json.loads(Path("out/generation_config.json").read_text())
    assert said["temperature"] == 0.6
    assert said.get("suppress_tokens", []) == list(range(source_of(miaobi.load(str(place))).tokenizer.size, rows))
    tokenizer = transformers.AutoTokenizer.from_pretrained("out")
    told = transformers.AutoTokenizer.from_pretrained(place)
    messages = [{"role": "user", "content": "春眠"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == told.apply_chat_template(messages, tokenize=False)


@pytest.mark.parametrize("format_", ["gguf", "onnx"])
def test_a_public_llama_in_the_other_formats(tmp_path, format_):
    pytest.importorskip("xllamacpp" if format_ == "gguf" else "onnxscript", reason="pip install 'miaobi[export]'")
    place = folder("llama", tmp_path / "base")
    made = miaobi.export(str(place), format=format_, out="out", texts=TEXTS[:2])
    assert made.checks["greedy_tokens"] > 0
    assert made.checks["chat_template"] is True
    if format_ == "onnx":
        ours, told = (transformers.AutoTokenizer.from_pretrained(path) for path in ("out", place))
        messages = [{"role": "user", "content": "春眠"}]
        assert ours.apply_chat_template(messages) == told.apply_chat_template(messages)


@pytest.mark.parametrize("format_", ["gguf", "onnx"])
def test_another_architecture_is_refused_with_the_reason(tmp_path, format_):
    place = folder("gpt2", tmp_path / "base")
    with pytest.raises(Unsupported, match=r"Llama and Qwen3 only.*gpt2.*export it as transformers"):
        miaobi.export(str(place), format=format_, out="out", texts=TEXTS)
    assert not Path("out").exists()


def test_a_low_rank_adapter_is_merged_and_the_base_untouched(place):
    pytest.importorskip("peft", reason="adapters need peft: pip install 'miaobi[tuning]'")
    model = adapted(place, LORA)
    network = model.family.network
    before = {name: tensor.clone() for name, tensor in network.base.tensors.items()}
    made = miaobi.export(model, format="transformers", out="out", texts=TEXTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.base.tensors.items())
    tokens = torch.tensor([[5, 9, 40, 7]])
    with torch.no_grad():
        ours = network(tokens)
        torch.testing.assert_close(opened()(tokens).logits[..., : ours.shape[-1]], ours, rtol=0, atol=1e-4)
        assert (opened(place)(tokens).logits[..., : ours.shape[-1]] - ours).abs().max() > 0.01
    assert not any("adapter" in name for name in made.files)
    assert json.loads(Path("out/export.json").read_text())["prompt"] == "<|im_start|>user\n{title}<|im_end|>\n{text}"


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("adapter", [LORA, PROMPT, PREFIX], ids=lambda adapter: adapter["name"])
def test_an_adapter_alone_is_opened_by_peft(place, adapter):
    peft = pytest.importorskip("peft", reason="adapters need peft: pip install 'miaobi[tuning]'")
    model = adapted(place, adapter)
    made = miaobi.export(model, format="transformers", out="out", texts=TEXTS, merge=False)
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(made.files)
    assert "model.safetensors" not in made.files
    assert made.checks["greedy_tokens"] > 0
    found = peft.PeftModel.from_pretrained(opened(place), "out").eval()
    tokens = torch.tensor([[5, 9, 40, 7]])
    with torch.no_grad():
        ours = model.family.network(tokens)
        theirs = found(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        torch.testing.assert_close(theirs[:, -4:, : ours.shape[-1]], ours, rtol=0, atol=1e-4)


def test_what_cannot_be_merged_or_written_alone_is_refused(place):
    pytest.importorskip("peft", reason="adapters need peft: pip install 'miaobi[tuning]'")
    with pytest.raises(Unsupported, match=r"virtual tokens.*merge: false"):
        miaobi.export(adapted(place, PREFIX), format="transformers", out="out", texts=TEXTS)
    with pytest.raises(Unsupported, match="no adapter to write alone"):
        miaobi.export(str(place), format="transformers", out="out", texts=TEXTS, merge=False)
    assert not Path("out").exists()


def test_a_full_disk_is_told_before_anything_is_written_by_the_size_of_the_merged_model(place):
    pytest.importorskip("peft", reason="adapters need peft: pip install 'miaobi[tuning]'")
    model = adapted(place, LORA)
    weights = 4 * sum(tensor.numel() for tensor in model.family.network.base.tensors.values())
    beside = 16 << 20
    with pytest.raises(SaveFailed, match="no room"):
        miaobi.export(model, format="transformers", out="a/out", texts=TEXTS, free=lambda _: weights + beside - 1)
    assert list(Path("a").iterdir()) == []
    miaobi.export(model, format="transformers", out="a/out", texts=TEXTS, free=lambda _: weights + beside)
