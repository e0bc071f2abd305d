"""GGUF files: read once, exactly, and refused where a part is missing."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from miaobi import modalities
from miaobi.errors import CorruptFile, MiaobiError, SaveFailed, Unsupported
from miaobi.modalities import _gguf
from miaobi.modalities._public_files import locate
from tests.support import public

gguf = pytest.importorskip("gguf", reason="the extra starter is not installed")

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def write(path, model, kind="qwen3", quantised=False):
    """A file of ``model`` as llama.cpp has them."""
    config, engine = model.config, public.tokenizer(kind)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    said = json.loads(engine.to_str())["model"]
    words = sorted(said["vocab"], key=said["vocab"].get)
    special = [word in public.SPECIAL.values() for word in words]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words)
    writer.add_token_types([3 if one else 1 for one in special])
    writer.add_token_merges([" ".join(pair) for pair in said["merges"]])
    writer.add_bos_token_id(engine.token_to_id("<s>"))
    writer.add_eos_token_id(engine.token_to_id("</s>"))
    for name, tensor in model.state_dict().items():
        for theirs, ours in {**_NAMES, "q_norm": "attn_q_norm", "k_norm": "attn_k_norm", "self_attn.": ""}.items():
            name = name.replace(theirs, ours)
        array = tensor.float().numpy()
        if quantised and array.ndim == 2 and "embd" not in name:
            kind_of = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind_of), raw_dtype=kind_of)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_becomes_the_folder_that_it_says(tmp_path):
    model = public.model("qwen3", head_dim=128)
    files = locate(str(write(tmp_path / "m.gguf", model)))
    found = load_file(files.folder / "model.safetensors")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    assert files.json("config.json")["model_type"] == "qwen3"
    text = modalities.create({"name": "text", "tokenizer": files.reference, "max_length": 9})
    text.fit(["a"])
    engine = public.tokenizer("qwen3")
    assert text.encode("for each name").tolist() == engine.encode("for each name").ids
    assert (text.tokenizer.begin, text.tokenizer.end) == (engine.token_to_id("<s>"), engine.token_to_id("</s>"))


def test_every_quantised_value_is_exact(tmp_path):
    model = public.model("qwen3", head_dim=128)
    files = locate(str(write(tmp_path / "m.gguf", model, quantised=True)))
    found = load_file(files.folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    array = model.state_dict()[name].numpy()
    kind = gguf.GGMLQuantizationType.Q8_0
    expected = gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind)
    np.testing.assert_array_equal(found[name].numpy(), expected)
    assert not np.array_equal(expected, array)


def test_it_is_converted_once(tmp_path, monkeypatch):
    path = write(tmp_path / "m.gguf", public.model("qwen3", head_dim=128))
    first = locate(str(path))
    monkeypatch.setattr(_gguf, "_publish", lambda *_: pytest.fail("it was converted again"))
    assert locate(str(path)).folder == first.folder
    copied = tmp_path / "copy.gguf"
    copied.write_bytes(path.read_bytes())
    assert locate(str(copied)).folder == first.folder, "it is known by what is in it"


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.02, 0.2, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_short_is_refused(share, tmp_path):
    whole = write(tmp_path / "m.gguf", public.model("qwen3", head_dim=128)).read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CorruptFile, match="cut short"):
        locate(str(path))
    assert not list((tmp_path / "cache" / "public").glob("[0-9a-f]*")), "nothing is left behind"


def test_what_is_no_model_of_transformers_is_refused(tmp_path):
    with pytest.raises(MiaobiError) as caught:
        locate(str(write(tmp_path / "m.gguf", public.model("qwen3", head_dim=128), kind="starcoder9")))
    assert isinstance(caught.value, Unsupported | CorruptFile)


def test_a_disk_without_room_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    path = write(tmp_path / "m.gguf", public.model("qwen3", head_dim=128))
    monkeypatch.setattr(_gguf.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 20})())
    with pytest.raises(SaveFailed, match="no room"):
        locate(str(path))
