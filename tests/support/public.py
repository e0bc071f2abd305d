"""Tiny public models, as publishers lay them out: config.json, safetensors and a tokenizer that is theirs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LONGEST = 64
"""Positions that each was made for."""
_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_LAYERS = {"num_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "d_model": 32, "d_ff": 64, "d_kv": 8}
_SIDES = {
    f"{side}_{what}": size
    for side in ("encoder", "decoder")
    for what, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()
}
SPECIAL = {"pad": "<pad>", "begin": "<s>", "end": "</s>", "mask": "<mask>"}


def folder(kind: str, place: Path, seed: int = 0, **changes: Any) -> Path:
    """The folder of a random model: ``llama qwen3 gpt2 gemma2 bert roberta t5 bart``."""
    place.mkdir(parents=True, exist_ok=True)
    made = model(kind, seed, **changes)
    made.save_pretrained(place, safe_serialization=True)
    save_tokenizer(tokenizer(kind), place)
    return place


def model(kind: str, seed: int = 0, **changes: Any) -> Any:
    """Transformers' own model in evaluation mode, with no weight that is zero."""
    import transformers

    config, head, options = {
        "llama": ("LlamaConfig", "LlamaForCausalLM", _SHAPE | {"num_key_value_heads": 2}),
        "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _SHAPE | {"num_key_value_heads": 2, "head_dim": 16}),
        "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", _SHAPE | {"num_key_value_heads": 2, "head_dim": 8}),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
        "bert": ("BertConfig", "BertForMaskedLM", _SHAPE),
        "roberta": ("RobertaConfig", "RobertaForMaskedLM", _SHAPE),
        "t5": ("T5Config", "T5ForConditionalGeneration", _LAYERS),
        "bart": ("BartConfig", "BartForConditionalGeneration", _SIDES | {"d_model": 32}),
    }[kind]
    engine = tokenizer(kind)
    roles = {
        f"{role}_token_id": engine.token_to_id(SPECIAL[name])
        for role, name in {"pad": "pad", "bos": "begin", "eos": "end", "decoder_start": "pad"}.items()
    }
    said = {"vocab_size": engine.get_vocab_size(), **_positions(kind), **options, **roles, **_QUIET, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, head)(getattr(transformers, config)(**said))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made.eval()


_QUIET = {
    "attention_dropout": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "attn_pdrop": 0.0,
    "dropout": 0.0,
    "dropout_rate": 0.0,
    "embd_pdrop": 0.0,
    "hidden_dropout_prob": 0.0,
    "resid_pdrop": 0.0,
}


def _positions(kind: str) -> dict[str, int]:
    if kind == "gpt2":
        return {"n_positions": LONGEST}
    # Roberta counts positions from behind its padding's.
    return {} if kind == "t5" else {"max_position_embeddings": LONGEST + 2 * (kind == "roberta")}


@cache
def _vocabulary() -> str:
    from pydoc_data.topics import topics

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL.values()),
    )
    engine.train_from_iterator((text for _, text in sorted(topics.items())[:12]), trainer)
    return str(engine.to_str())


def tokenizer(kind: str) -> Tokenizer:
    """Byte-level BPE of 400 tokens, with what the kind of model puts around a text."""
    engine = Tokenizer.from_str(_vocabulary())
    around = {
        "bert": "<s> $A </s>",
        "roberta": "<s> $A </s>",
        "bart": "<s> $A </s>",
        "t5": "$A </s>",
    }.get(kind)
    if around is not None:
        special = [(name, engine.token_to_id(name)) for name in ("<s>", "</s>")]
        engine.post_processor = processors.TemplateProcessing(single=around, special_tokens=special)
    return engine


def save_tokenizer(engine: Tokenizer, place: Path) -> None:
    """A ``tokenizer.json`` and what says which of its tokens are for what."""
    engine.save(str(place / "tokenizer.json"))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
    (place / "tokenizer_config.json").write_text(json.dumps(roles))
