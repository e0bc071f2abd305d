"""One file for llama.cpp (Gerganov 2023): architecture llama, or qwen3 where queries and keys are normalised."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.export._base import Format
from miaobi.export._compare import GREEDY, compare_greedy, compare_texts, largest, near_tie, require_equal, room, within
from miaobi.export._gguf_vocabulary import Vocabulary, vocabulary_of
from miaobi.export._inputs import Inputs
from miaobi.export._llama_cpp import LlamaCpp
from miaobi.export._source import Exportable, require_transformer
from miaobi.modalities._characters import Characters
from miaobi.modalities._subwords import Subwords
from miaobi.types import Settings

_FILE = "model.gguf"
_TOLERANCES = {"f16": 0.05, "q8_0": 0.5}
_PARTS = 4
_BLOCK = 32
"""Numbers that share a scale in q8_0: a row that they do not divide stays f16."""
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHERS = {
    "embed_tokens.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


class Gguf(Format):
    """``model.gguf`` with its tokenizer; norms stay float32."""

    class Config(Settings):
        """How weights are stored."""

        type: Literal["f16", "q8_0"] = Value("f16", description="16-bit floats, or 8-bit integers in blocks of 32")

    packages: ClassVar[tuple[str, ...]] = ("gguf", "xllamacpp")

    def size(self, source: Exportable) -> int:
        bytes_each = {"f16": 2.0, "q8_0": 34 / 32}
        return sum(
            int(weight.numel() * (4 if weight.ndim == 1 else bytes_each[self._kind(weight)]))
            for weight in require_transformer(source).state_dict().values()
        )

    def write(self, source: Exportable, folder: Path) -> None:
        import gguf

        writer = gguf.GGUFWriter(folder / _FILE, _architecture(source))
        try:
            self._say(writer, source)
            _say_tokenizer(writer, source, vocabulary_of(source))
            for name, weight in source.network.state_dict().items():
                self._tensor(writer, named(name), arranged(source, name, weight))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()

    def check(self, source: Exportable, folder: Path, inputs: Inputs) -> dict[str, Any]:
        prompts, stop = inputs.prompts(), stop_of(source)
        never = source.suppressed if source.end == stop else sorted({*source.suppressed, stop})
        counts = [room(source, prompt) for prompt in prompts]
        longest = max(map(len, inputs.sequences)) + GREEDY
        opened = LlamaCpp(folder / _FILE, min(source.limit, longest))
        drawn = [
            opened.draw(prompt, count, never) if count > 0 else []
            for prompt, count in zip(prompts, counts, strict=True)
        ]
        tolerance = _TOLERANCES[self.config.type]
        worst = largest([_difference(source, opened, sequence) for sequence in inputs.sequences])
        return {
            "type": self.config.type,
            **within("log_probability", worst, tolerance),
            **compare_greedy(source, prompts, drawn, near_tie(worst, tolerance), never),
            **_compare_tokenizer(source, opened, inputs),
            **_compare_roles(source, folder / _FILE),
        }

    def _kind(self, weight: Tensor | np.ndarray) -> str:
        return "q8_0" if self.config.type == "q8_0" and weight.shape[-1] % _BLOCK == 0 else "f16"

    def _say(self, writer: Any, source: Exportable) -> None:
        """The network's shape."""
        import gguf

        own = require_transformer(source).config
        writer.add_name("miaobi")
        writer.add_context_length(source.limit)
        writer.add_embedding_length(own.width)
        writer.add_block_count(own.depth)
        writer.add_feed_forward_length(own.inner_size)
        writer.add_head_count(own.heads)
        writer.add_head_count_kv(own.key_count)
        writer.add_key_length(own.head_size)
        writer.add_value_length(own.head_size)
        writer.add_rope_dimension_count(own.head_size)
        writer.add_rope_freq_base(own.rotary_base)
        writer.add_layer_norm_rms_eps(own.eps)
        writer.add_vocab_size(source.vocabulary)
        kinds = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
        writer.add_file_type(kinds[self.config.type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    def _tensor(self, writer: Any, name: str, weight: np.ndarray) -> None:
        import gguf

        if weight.ndim == 1:
            writer.add_tensor(name, weight)
            return
        kind = gguf.GGMLQuantizationType[self._kind(weight).upper()]
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)


def named(name: str) -> str:
    """A parameter's name in the file."""
    if name in _OTHERS:
        return _OTHERS[name]
    _, index, rest = name.split(".", 2)
    return f"blk.{index}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def arranged(source: Exportable, name: str, weight: Tensor) -> np.ndarray:
    """A parameter as the file has it.

    Architecture llama turns channels that lie side by side, where this network (and qwen3) turns those half a head
    apart, so the rows of queries and keys change places there.
    """
    own, plain = require_transformer(source).config, weight.contiguous().numpy()
    if own.qk_norm or not ("q_proj" in name or "k_proj" in name):
        return plain
    heads = own.heads if "q_proj" in name else own.key_count
    halves = plain.reshape(heads, 2, -1, plain.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(plain.shape))


def stop_of(source: Exportable) -> int:
    """The token at which llama.cpp stops; without one it would stop at token 11.

    Where nothing ends a text, one that no text has: the tokenizer's own end, the unknown character, or a byte that is
    not part of UTF-8.

    Raises:
        Unsupported: every token may be part of a text.
    """
    tokenizer = source.tokenizer
    for token in (source.end, tokenizer.end, tokenizer.unknown):
        if token is not None:
            return token
    for token in range(tokenizer.size):
        if tokenizer.token_bytes(token) == b"\xff":
            return token
    raise Unsupported(
        "llama.cpp stops at some token, and this model has none that no text has",
        cure="export it as transformers or onnx, or train it on separate texts rather than a stream",
    )


def _architecture(source: Exportable) -> str:
    return "qwen3" if require_transformer(source).config.qk_norm else "llama"


def _say_tokenizer(writer: Any, source: Exportable, vocabulary: Vocabulary) -> None:
    import gguf

    control = set(source.specials) | {token for token in (source.begin, source.end) if token is not None}
    control |= set(source.tokenizer.special) if isinstance(source.tokenizer, Subwords) else set()
    kinds = [
        gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in range(len(vocabulary.pieces))
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_types(kinds)
    writer.add_token_merges(vocabulary.merges)
    if source.begin is not None:
        writer.add_bos_token_id(source.begin)
    writer.add_eos_token_id(stop_of(source))
    writer.add_add_bos_token(source.begins_with_begin)
    writer.add_add_eos_token(False)
    if source.chat_template is not None:
        writer.add_chat_template(source.chat_template)


def _difference(source: Exportable, opened: LlamaCpp, tokens: list[int]) -> float:
    """The largest difference of log-probabilities after parts of a sequence, that of logits but for a shift."""
    ours = source.logits(tokens).log_softmax(-1)
    whole = (token for token in range(source.tokenizer.size) if _is_whole(source.tokenizer.token_bytes(token)))
    forced = next(whole, None)
    if forced is None:
        raise Unsupported("no token of the model is a text by itself", cure="export it as transformers or onnx")
    worst, size = [0.0], min(len(tokens), source.limit - 1)  # it draws a token, for which there has to be room
    for length in sorted({max(1, size * part // _PARTS) for part in range(1, _PARTS + 1)}):
        told = opened.log_probabilities(tokens[:length], forced)
        worst += [abs(float(ours[length - 1, token]) - said) for token, said in told.items()]
    return largest(worst)


def _is_whole(piece: bytes) -> bool:
    """Whether a token's bytes are letters or digits of any language, none of them in part."""
    try:
        return piece.decode().isalnum()
    except UnicodeDecodeError:
        return False


def _compare_tokenizer(source: Exportable, opened: LlamaCpp, inputs: Inputs) -> dict[str, Any]:
    if not vocabulary_of(source).spells:
        return {"text": "llama.cpp has no such tokenizer: give it token ids, from tokenizers or from miaobi"}
    unknown = source.tokenizer.unknown

    def known(ids: list[int]) -> list[int]:
        return [token for token in ids if token != unknown]

    told = compare_texts(
        inputs.texts,
        lambda text: known(source.tokenizer.encode(text).tolist()),
        lambda text: known(opened.encode(text)),
    )
    dropped = isinstance(source.tokenizer, Characters)
    return told | {"text": "texts are encoded as here" + (", but unknown characters are dropped" if dropped else "")}


def _compare_roles(source: Exportable, path: Path) -> dict[str, Any]:
    import gguf

    reader = gguf.GGUFReader(path)
    fields = {
        "begin": ("tokenizer.ggml.bos_token_id", source.begin),
        "end": ("tokenizer.ggml.eos_token_id", stop_of(source)),
        "chat template": ("tokenizer.chat_template", source.chat_template),
    }
    for role, (key, ours) in fields.items():
        found = reader.get_field(key)
        require_equal(role, ours, None if found is None else found.contents())
    return {"begin": source.begin, "end": source.end, "chat_template": source.chat_template is not None}
