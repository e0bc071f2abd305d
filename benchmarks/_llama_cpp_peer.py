"""llama.cpp (by xllamacpp) decoding a Llama of given weights: run by `token_decoding` in an environment of its own.

Usage: python _llama_cpp_peer.py WEIGHTS.safetensors SHAPE.json MODEL.gguf SLOTS THREADS. Weights are float32 under
transformers' names; they are written to MODEL.gguf in bfloat16. Every line read then starts one run, in which each slot
draws as many tokens as the context holds after one, answered by the number of tokens drawn in all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import xllamacpp
from safetensors.numpy import load_file

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHERS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def main() -> None:
    """Serve runs until there are no more lines."""
    weights, shape, model, slots, threads = sys.argv[1:]
    told = json.loads(Path(shape).read_text(encoding="utf-8"))
    _write(load_file(weights), told, Path(model))
    run = _decoding(Path(model), told, int(slots), int(threads))
    for _ in sys.stdin:
        print(run(), flush=True)


def _write(weights: dict[str, np.ndarray], told: dict[str, Any], path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(told["context"])
    writer.add_embedding_length(told["width"])
    writer.add_block_count(told["depth"])
    writer.add_feed_forward_length(told["inner"])
    writer.add_head_count(told["heads"])
    writer.add_head_count_kv(told["heads"])
    writer.add_rope_dimension_count(told["width"] // told["heads"])
    writer.add_rope_freq_base(told["rotary_base"])
    writer.add_layer_norm_rms_eps(told["eps"])
    writer.add_vocab_size(told["vocabulary"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{index}>" for index in range(told["vocabulary"])])
    writer.add_token_scores([0.0] * told["vocabulary"])
    writer.add_token_types([gguf.TokenType.NORMAL] * told["vocabulary"])
    for name, weight in weights.items():
        _tensor(writer, _named(name), _interleaved(name, weight, told["heads"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor(writer: gguf.GGUFWriter, name: str, weight: np.ndarray) -> None:
    if weight.ndim == 1:
        writer.add_tensor(name, weight)
        return
    kind = gguf.GGMLQuantizationType.BF16
    writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)


def _named(name: str) -> str:
    if name in _OTHERS:
        return _OTHERS[name]
    _, _, index, rest = name.split(".", 3)
    return f"blk.{index}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def _interleaved(name: str, weight: np.ndarray, heads: int) -> np.ndarray:
    """Rotary pairs lie side by side in this format, and half a head apart in transformers'."""
    if "q_proj" not in name and "k_proj" not in name:
        return weight
    halves = weight.reshape(heads, 2, -1, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _decoding(model: Path, told: dict[str, Any], slots: int, threads: int) -> Callable[[], int]:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel, params.n_ctx = slots, slots * told["context"]
    params.n_batch = params.n_ubatch = 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    server = xllamacpp.Server(params)
    drawn = told["context"] - 2
    request = {
        "prompt": [0],
        "n_predict": drawn,
        "temperature": 1.0,
        "samplers": ["temperature"],
        "ignore_eos": True,
        "cache_prompt": False,
    }
    pool = ThreadPoolExecutor(slots)

    def run() -> int:
        answers = pool.map(lambda index: server.handle_completions({**request, "seed": index}), range(slots))
        return sum(_count(answer) for answer in answers)

    return run


def _count(answer: Any) -> int:
    told = json.loads(answer) if isinstance(answer, str) else answer
    return int(told["usage"]["completion_tokens"] if "usage" in told else told["tokens_predicted"])


if __name__ == "__main__":
    main()
