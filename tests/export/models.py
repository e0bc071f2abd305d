"""Small language models with random weights, built without training."""

from __future__ import annotations

import torch

from miaobi import modalities
from miaobi.families.autoregressive import Autoregressive
from miaobi.models import Model
from miaobi.networks.transformer import Transformer
from miaobi.types import replace

TEXTS = ["春眠不覺曉", "處處聞啼鳥", "Where does a text end?", "夜來風雨聲\n花落知多少", "don't  ask 12 times"]
SMALL = {"width": 64, "depth": 2, "heads": 4, "key_heads": 2, "inner": 96}
SHAPES = {
    "qwen3": {},
    "llama": {"qk_norm": False},
    "qwen3-untied-wide-head": {"tied": False, "head_width": 32, "rotary_base": 5e5},
    "llama-untied-one-key": {"qk_norm": False, "tied": False, "key_heads": 1, "eps": 1e-5},
}


def text_modality(tokenizer="character", *, stream=False, **options):
    built = modalities.create(
        {"name": "text", "tokenizer": tokenizer, "max_length": 96, "context": 95, **options}, "test"
    )
    built.fit(TEXTS, stream=stream)
    return built


def label_modality():
    built = modalities.create({"name": "label"}, "test")
    built.fit(["song", "tang"])
    return built


def model(modality=None, conditions=None, *, scale=0.15, seed=0, **shape):
    """A `Model` whose every weight is drawn: norms around one, so that a wrong one is seen."""
    modality, conditions = modality or text_modality(), conditions or {}
    specs = {
        name: replace(modality.spec, shared=True) if other is modality else other.spec
        for name, other in conditions.items()
    }
    ports = Autoregressive.ports(Autoregressive.Config(), modality.spec, specs)["network"]
    network = Transformer(Transformer.Config(**{**SMALL, **shape}), ports.source, ports.target, {})
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.ndim == 1), std=scale, generator=generator)
    family = Autoregressive(Autoregressive.Config(), {"network": network}, {}, modality.spec, specs)
    return Model(family.eval(), modality, conditions)
