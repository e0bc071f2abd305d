"""A folder for the transformers library (Wolf et al. 2020): a public model's own architecture, else Llama or Qwen3.

Qwen3 is Llama with normalised queries and keys. An adapter is merged, or written alone for the library peft.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field as Value
from safetensors.torch import save_file
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.export._base import Format
from miaobi.export._compare import compare_greedy, compare_logits, draw_greedily, near_tie, require_equal, room
from miaobi.export._hugging_face import compare_tokenizer, quiet, write_tokenizer
from miaobi.export._inputs import Inputs
from miaobi.export._peft import adapter_logits, adapter_tensors, write_adapter
from miaobi.export._source import Exportable
from miaobi.networks.transformer import Transformer
from miaobi.types import Settings

TOLERANCE = 1e-4
_GREEDY = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
"""Whatever a public model's own settings are."""


class Transformers(Format):
    """``AutoModelForCausalLM`` and ``AutoTokenizer`` open it without remote code; weights stay float32."""

    class Config(Settings):
        """What of an adapted model is written."""

        merge: bool = Value(True, description="false: the adapter alone, for PeftModel.from_pretrained on its base")

    packages = ("transformers",)

    def size(self, source: Exportable) -> int:
        tensors = weights_of(source) if self.config.merge else adapter_tensors(source)
        return 4 * sum(weight.numel() for weight in tensors.values())

    def write(self, source: Exportable, folder: Path) -> None:
        write_tokenizer(source, folder)
        if not self.config.merge:
            write_adapter(source, folder)
            return
        with quiet():
            config_of(source).save_pretrained(folder)
            if isinstance(source.network, Transformer):
                save_file(weights_of(source), folder / "model.safetensors", metadata={"format": "pt"})
            else:
                source.network.model.save_pretrained(folder)
            _generation(source).save_pretrained(folder)

    def check(self, source: Exportable, folder: Path, inputs: Inputs) -> dict[str, Any]:
        from transformers import AutoModelForCausalLM

        if not self.config.merge:
            with quiet():
                logits = adapter_logits(source, folder)
            drawn = [draw_greedily(source, prompt, logits) for prompt in inputs.prompts()]
        else:
            with quiet():
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
                drawn = [_generate(source, model, prompt) for prompt in inputs.prompts()]
            _compare_ends(source, model)
            logits = partial(_logits, model)
        found = compare_logits(source, inputs.sequences, logits, TOLERANCE)
        return {
            **found,
            **compare_greedy(source, inputs.prompts(), drawn, near_tie(found["largest_logit_difference"], TOLERANCE)),
            **compare_tokenizer(source, folder, inputs.texts),
        }


def weights_of(source: Exportable) -> dict[str, Tensor]:
    """The network's weights under transformers' names; a tied head is not repeated.

    Raises:
        Unsupported: virtual tokens, which are no weights.
    """
    if not isinstance(source.network, Transformer):
        if source.network.virtual is not None:
            raise Unsupported("virtual tokens are not merged into weights", cure="set the option merge: false")
        return dict(source.network.model.named_parameters())
    return {
        name if name.startswith("lm_head") else f"model.{name}": weight.contiguous()
        for name, weight in source.network.state_dict().items()
    }


def config_of(source: Exportable) -> Any:
    """The configuration of the same network in transformers.

    Raises:
        Unsupported: a Llama whose heads do not divide its width.
    """
    from transformers import LlamaConfig, Qwen3Config

    if not isinstance(source.network, Transformer):
        config = source.network.model.config
        config.bos_token_id, config.eos_token_id = source.begin, source.end
        return config
    own = source.network.config
    if not own.qk_norm and own.width % own.heads:
        raise Unsupported(
            "Llama's configuration wants a width that its heads divide",
            given=f"width {own.width}, {own.heads} heads",
            cure="train with another width, or with qk_norm: true",
        )
    return (Qwen3Config if own.qk_norm else LlamaConfig)(
        architectures=["Qwen3ForCausalLM" if own.qk_norm else "LlamaForCausalLM"],
        vocab_size=source.vocabulary,
        hidden_size=own.width,
        intermediate_size=own.inner_size,
        num_hidden_layers=own.depth,
        num_attention_heads=own.heads,
        num_key_value_heads=own.key_count,
        head_dim=own.head_size,
        max_position_embeddings=source.limit,
        rms_norm_eps=own.eps,
        rope_parameters={"rope_type": "default", "rope_theta": own.rotary_base},
        tie_word_embeddings=own.tied,
        bos_token_id=source.begin,
        eos_token_id=source.end,
        dtype="float32",
    )


def _generation(source: Exportable) -> Any:
    from transformers import GenerationConfig

    own = {
        "bos_token_id": source.begin,
        "eos_token_id": source.end,
        "pad_token_id": source.generation.get("pad_token_id", 0 if source.end is None else source.end),
        "suppress_tokens": source.suppressed or None,
    }
    return GenerationConfig.from_dict({"max_length": source.limit, **source.generation, **own})


@torch.no_grad()
def _logits(model: Any, tokens: list[int]) -> Tensor:
    found: Tensor = model(torch.tensor([tokens])).logits[0]
    return found


def _generate(source: Exportable, model: Any, prompt: list[int]) -> list[int]:
    count = room(source, prompt)
    if count < 1:
        return []
    given = torch.tensor([prompt])
    made = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=count, **_GREEDY)
    found: list[int] = made[0, len(prompt) :].tolist()
    return found


def _compare_ends(source: Exportable, model: Any) -> None:
    for role, ours in (("bos_token_id", source.begin), ("eos_token_id", source.end)):
        for place in (model.config, model.generation_config):
            require_equal(role, ours, getattr(place, role))
