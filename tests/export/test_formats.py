"""Every format computes what the network computes, and a planted mistake is refused and removed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import miaobi
from miaobi.errors import ExportFailed, Unsupported
from miaobi.export import export_source, find, names, source_of
from miaobi.export._inputs import inputs_of
from tests.export.models import SHAPES, TEXTS, label_modality, model, text_modality

NEEDED = {
    "transformers": ("transformers",),
    "gguf": ("gguf", "xllamacpp"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
FORMATS = [("transformers", {}), ("onnx", {}), ("gguf", {}), ("gguf", {"type": "q8_0"})]
# Tracing takes seconds: a graph is made of each kind once.
TRACED = {"qwen3-untied-wide-head", "llama-untied-one-key", "conditions"}
CASES = [(name, options, shape) for name, options in FORMATS for shape in SHAPES if name != "onnx" or shape in TRACED]
LAYOUTS = ["conditions", "bpe", "stream", "bpe-stream"]
LAID_OUT = [(name, kind) for name in NEEDED for kind in LAYOUTS if name != "onnx" or kind in TRACED]
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def need(name: str) -> None:
    for package in NEEDED[name]:
        pytest.importorskip(package, reason=f"exporting {name} needs {package}: pip install 'miaobi[export]'")


def write(source, chosen, out="out"):
    built = model()
    return export_source(source, chosen, Path(out), inputs_of(built, source_of(built), TEXTS))


def build(name, **options):
    kind = find(name)
    return kind(kind.Config.parse(options, "option"))


def test_every_format_is_tested():
    assert sorted(NEEDED) == names()


@pytest.mark.parametrize(("name", "options", "shape"), CASES)
def test_every_shape_of_network_comes_out_as_it_is(name, options, shape):
    need(name)
    made = miaobi.export(model(**SHAPES[shape]), format=name, out="out", texts=TEXTS, **options)
    found = made.checks.get("largest_logit_difference", made.checks.get("largest_log_probability_difference"))
    assert 0 < found <= made.checks["tolerance"]
    assert made.checks["greedy_tokens"] >= 64
    assert made.checks["texts_with_equal_ids"] == len(TEXTS) + 1
    assert made.files == sorted(path.name for path in Path("out").iterdir())
    assert json.loads(Path("out/export.json").read_text())["checks"] == made.checks


@pytest.mark.parametrize("name", list(NEEDED))
def test_ten_million_parameters_in_each_format(name):
    need(name)
    built = model(scale=0.05, width=320, depth=8, heads=5, key_heads=5, inner=864)
    assert 9e6 < sum(weight.numel() for weight in built.family.parameters()) < 11e6
    checks = miaobi.export(built, format=name, out="out", texts=TEXTS[:2]).checks
    assert checks["tolerance"] == {"transformers": 1e-4, "onnx": 1e-3, "gguf": 0.05}[name]
    assert checks["greedy_tokens"] > 64


@pytest.mark.parametrize(("name", "kind"), LAID_OUT)
def test_layouts_and_tokenizers_come_out_as_they_are(name, kind):
    need(name)
    text = text_modality("bpe" if "bpe" in kind else "character", stream="stream" in kind)
    given = {"title": text, "kind": label_modality(), "other": text_modality()} if kind == "conditions" else {}
    built = model(text, given)
    made = miaobi.export(built, format=name, out="out", texts=() if given else TEXTS)
    assert made.checks["inputs"].startswith("6 samples of the model itself" if given else "5 texts that were given")
    told = json.loads(Path("out/export.json").read_text())
    assert (told["begin"] is None) == ("stream" in kind)
    if given:
        assert told["prompt"] == "<|kind|>{kind}<|other|>{other}<|title|>{title}<|begin|>{text}"
        assert told["conditions"]["kind"]["tokens"] == {"<|kind=song|>": "song", "<|kind=tang|>": "tang"}
        assert "`<|kind=tang|>`" in Path("out/README.md").read_text()


def test_a_prompt_written_as_described_is_the_models_own_sequence():
    need("transformers")
    from transformers import AutoTokenizer

    from miaobi.types import Batch, Field

    text = text_modality()
    built = model(text, {"kind": label_modality(), "title": text})
    miaobi.export(built, format="transformers", out="out")
    title, target = (text.collate([text.encode(part)]) for part in ("春眠", "不覺曉"))
    batch = Batch(target, {"kind": Field(torch.tensor([1])), "title": title})
    ours = source_of(built).layout.sequence(batch)[0][0].tolist()
    prompt = "<|kind|><|kind=tang|><|title|>春眠<|begin|>不覺曉<|end|>"
    assert AutoTokenizer.from_pretrained("out")(prompt).input_ids == ours


def test_what_is_never_drawn_is_suppressed_by_transformers():
    need("transformers")
    from transformers import GenerationConfig

    source = source_of(model())
    write(source, build("transformers"))
    assert GenerationConfig.from_pretrained("out").suppress_tokens == [0, source.begin]


@pytest.mark.parametrize("name", ["transformers", "gguf"])
def test_a_chat_template_goes_with_the_tokenizer(name):
    need(name)
    made = write(replace(source_of(model()), chat_template=TEMPLATE), build(name))
    assert made.checks["chat_template"] is True


def test_a_tokenizer_that_llama_cpp_has_not_is_told(tmp_path):
    need("gguf")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[unk]", *sorted({word for text in TEXTS for word in text.split()})]
    engine = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[unk]"))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.save(str(tmp_path / "tokenizer.json"))
    built = model(text_modality(str(tmp_path / "tokenizer.json")))
    checks = miaobi.export(built, format="gguf", out="out", texts=TEXTS).checks
    assert "give it token ids" in checks["text"]
    assert checks["greedy_tokens"] >= 64


def edited(name, change):
    """A format whose files are changed after they are written."""
    kind = find(name)

    class Edited(kind):
        def write(self, source, folder):
            super().write(source, folder)
            change(folder)

    return Edited(kind.Config())


def config(**values):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def tensors(change):
    def edit(folder):
        from safetensors.numpy import load_file, save_file

        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return edit


def permute(found):
    name = "model.layers.1.self_attn.q_proj.weight"
    return found | {name: np.ascontiguousarray(found[name].reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64))}


def unlike_head(found):
    return found | {"lm_head.weight": found["model.embed_tokens.weight"] * np.float32(1.001)}


def untie(folder):
    config(tie_word_embeddings=False)(folder)
    tensors(unlike_head)(folder)


MISTAKES = {
    "permuted queries": tensors(permute),
    "untied head": untie,
    "eps": config(rms_norm_eps=1e-5),
    "rotary base": config(rope_parameters={"rope_type": "default", "rope_theta": 20000.0}),
}


def refused(source, chosen, match="too large"):
    with pytest.raises(ExportFailed, match=match):
        write(source, chosen, "folder/out")
    assert list(Path("folder").iterdir()) == [], "nothing is left of a refused export"


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
def test_transformers_with_a_planted_mistake_is_refused(mistake, qk_norm):
    need("transformers")
    refused(source_of(model(qk_norm=qk_norm)), edited("transformers", MISTAKES[mistake]))


def test_transformers_with_another_end_or_tokenizer_is_refused():
    need("transformers")
    refused(source_of(model()), edited("transformers", config(eos_token_id=3)), "another eos_token_id")

    def swap(folder):
        path = folder / "tokenizer.json"
        told = json.loads(path.read_text())
        words = told["model"]["vocab"]
        words["t"], words["e"] = words["e"], words["t"]
        path.write_text(json.dumps(told))

    refused(source_of(model()), edited("transformers", swap), "tokenizer gives other ids")


@pytest.mark.parametrize("mistake", ["permuted queries", "add_rope_freq_base", "add_layer_norm_rms_eps", "head"])
def test_gguf_with_a_planted_mistake_is_refused(mistake, monkeypatch):
    need("gguf")
    import gguf

    from miaobi.export import gguf as ours

    if mistake == "permuted queries":
        monkeypatch.setattr(ours, "arranged", lambda source, name, weight: weight.numpy())
    elif mistake == "head":
        monkeypatch.setitem(ours._OTHERS, "lm_head.weight", "output.bias")
    else:
        said, wrong = getattr(gguf.GGUFWriter, mistake), {"add_rope_freq_base": 1e5, "add_layer_norm_rms_eps": 1e-2}
        monkeypatch.setattr(gguf.GGUFWriter, mistake, lambda self, _: said(self, wrong[mistake]))
    match = "cannot read" if mistake == "head" else "too large"
    refused(source_of(model(qk_norm=False, tied=mistake != "head")), build("gguf"), match)


@pytest.mark.parametrize("mistake", ["rotary base", "sight of what follows"])
def test_onnx_with_a_planted_mistake_is_refused(mistake, monkeypatch):
    need("onnx")
    from miaobi.export import onnx as ours

    if mistake == "rotary base":
        tables = ours.Tables
        monkeypatch.setattr(ours, "Tables", lambda positions, width, base, dtype: tables(positions, width, 2e4, dtype))
    else:
        attend = torch.nn.functional.scaled_dot_product_attention
        monkeypatch.setattr(
            torch.nn.functional, "scaled_dot_product_attention", lambda *given, is_causal, **k: attend(*given, **k)
        )
    refused(source_of(model()), build("onnx"))


def test_a_width_that_llamas_configuration_cannot_say_is_refused():
    need("transformers")
    with pytest.raises(Unsupported, match="heads divide"):
        write(source_of(model(qk_norm=False, width=66, head_width=16)), build("transformers"))
    assert not Path("out").exists()
