"""Small published models with random weights and a real tokenizer, as folders, and models fine-tuned from them."""

from __future__ import annotations

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from miaobi import modalities
from miaobi.families._template import Template
from miaobi.families.autoregressive import Autoregressive
from miaobi.models import Model
from miaobi.pretrained.pretrained_decoder import PretrainedDecoder
from miaobi.types import replace
from tests.export.models import TEXTS

CONTEXT = 600
SPARE = 6
"""Rows of the embedding that are nobody's token."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def folder(kind, place, texts=TEXTS):
    """A published ``llama`` or ``gpt2``."""
    import transformers

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken(name, special=True, normalized=False) for name in ("<|im_start|>", "<|im_end|>")]
    engine.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False, special_tokens=special),
    )
    size = engine.get_vocab_size() + SPARE
    roles = {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 1}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=CONTEXT, **roles)
    else:
        config = transformers.LlamaConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
            max_position_embeddings=CONTEXT, tie_word_embeddings=True, **roles,
        )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, mean=float(weight.ndim == 1), std=0.2)
    model.save_pretrained(place)
    engine.save(str(place / "tokenizer.json"))
    told = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": CHAT}
    (place / "tokenizer_config.json").write_text(json.dumps(told))
    (place / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "do_sample": True}))
    return place


def adapted(place, adapter, seed=0):
    """A model that continues texts after a prompt, with an adapter that is not zero."""
    text = modalities.create({"name": "text", "tokenizer": str(place), "max_length": 48}, "test")
    text.fit(TEXTS)
    opening = tuple(text.tokenizer.encode_markup("<|im_start|>user\n").tolist())
    turn = tuple(text.tokenizer.encode_markup("<|im_end|>\n").tolist())
    template = Template(pieces=(opening, "title", turn), end=text.tokenizer.end, context=CONTEXT)
    config = Autoregressive.Config(template=template)
    specs = {"title": replace(text.spec, shared=True)}
    port = Autoregressive.ports(config, text.spec, specs)["network"].source
    network = PretrainedDecoder(PretrainedDecoder.Config(base=str(place), adapter=adapter), port, port, {})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    family = Autoregressive(config, {"network": network}, {}, text.spec, specs)
    return Model(family.eval(), text, {"title": text})
