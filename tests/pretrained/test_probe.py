"""An architecture that would give other logits here than in transformers is found before it is used."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.pretrained._probe import difference, require_decodable
from tests.support import public

SMALL: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "gpt_neox": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
}


def made(kind: str) -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(kind, vocab_size=100, **SMALL[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model


@pytest.mark.parametrize("kind", ["gpt_neox", "opt"])
def test_positions_by_number_pass(kind):
    model = made(kind)
    require_decodable(model, kind)
    assert difference(model) < 1e-5


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "llama"])
def test_the_models_of_the_other_tests_pass(kind):
    model = public.model(kind)
    require_decodable(model, kind)
    assert difference(model) < 1e-5


@pytest.mark.parametrize("kind", ["bloom", "mpt", "mamba"])
def test_positions_in_the_mask_and_states_are_refused(kind):
    with pytest.raises(Unsupported, match=f"cannot be decoded in batches.*{kind}"):
        require_decodable(made(kind), kind)


def test_an_unknown_scale_of_the_logits_is_refused(monkeypatch):
    model = public.model("gpt2")
    forward = model.forward

    def scaled(**inputs: Any) -> Any:
        out = forward(**inputs)
        return type(out)(logits=1.01 * out.logits)

    monkeypatch.setattr(model, "forward", scaled)
    with pytest.raises(Unsupported, match=r"logits are 0\.01 of their largest apart"):
        require_decodable(model, "gpt2")


@pytest.mark.parametrize("bad", ["first", "second"])
def test_what_is_no_number_is_refused_wherever_it_comes(bad, monkeypatch):
    from miaobi.pretrained import _probe

    real = _probe._packed

    def broken(inner, rows):
        first, second = real(inner, rows)
        return [first * torch.nan, second] if bad == "first" else [first, second * torch.nan]

    monkeypatch.setattr(_probe, "_packed", broken)
    with pytest.raises(Unsupported, match="logits are nan"):
        require_decodable(public.model("gpt2"), "gpt2")


def test_a_model_of_a_few_positions_is_let_through(tmp_path):
    from miaobi.pretrained._base import Kind, open_base

    assert open_base(str(public.folder("gpt2", tmp_path, n_positions=4)), Kind.CAUSAL).context == 4


def test_a_folder_of_such_a_model_is_refused(tmp_path):
    from miaobi.pretrained._base import Kind, open_base

    made("mpt").save_pretrained(tmp_path, safe_serialization=True)
    with pytest.raises(Unsupported, match="cannot be decoded in batches"):
        open_base(str(tmp_path), Kind.CAUSAL)
