"""A graph in the Open Neural Network Exchange format: token ids ``[batch, length]`` to logits, both of any size."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.export._base import Format
from miaobi.export._compare import compare_greedy, compare_logits, draw_greedily, near_tie
from miaobi.export._hugging_face import compare_tokenizer, write_tokenizer
from miaobi.export._inputs import Inputs
from miaobi.export._source import Exportable, require_transformer
from miaobi.networks._functions import rotate
from miaobi.networks._transformer_layers import Tables
from miaobi.networks.transformer import Transformer

TOLERANCE = 1e-3
_FILE = "model.onnx"
_LARGEST = 1 << 30
"""Weights above this are files of their own: a graph is one protocol buffer, which holds less than 2 GiB."""


class Onnx(Format):
    """``model.onnx`` in float32 without a cache, and the tokenizer with its chat template, as transformers reads it."""

    packages = ("onnx", "onnxscript", "onnxruntime", "transformers")

    def size(self, source: Exportable) -> int:
        return 4 * sum(weight.numel() for weight in require_transformer(source).parameters())

    def write(self, source: Exportable, folder: Path) -> None:
        length, batch = torch.export.Dim("length", max=source.limit), torch.export.Dim("batch")
        example = torch.zeros(2, min(4, source.limit), dtype=torch.int64)
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                Graph(require_transformer(source)).eval(),
                (example,),
                dynamo=True,
                input_names=["tokens"],
                output_names=["logits"],
                dynamic_shapes={"tokens": {0: batch, 1: length}},
                verbose=False,
            )
            program.save(folder / _FILE, external_data=self.size(source) > _LARGEST)  # type: ignore[union-attr]
        write_tokenizer(source, folder)

    def check(self, source: Exportable, folder: Path, inputs: Inputs) -> dict[str, Any]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(folder / _FILE, options, providers=["CPUExecutionProvider"])

        def logits(tokens: list[int]) -> Tensor:
            # Two rows, so that the batch is not the one of any other example.
            found = session.run(["logits"], {"tokens": torch.tensor([tokens, tokens]).numpy()})[0]
            return torch.from_numpy(found[1])

        drawn = [draw_greedily(source, prompt, logits) for prompt in inputs.prompts()]
        found = compare_logits(source, inputs.sequences, logits, TOLERANCE)
        return {
            **found,
            **compare_greedy(source, inputs.prompts(), drawn, near_tie(found["largest_logit_difference"], TOLERANCE)),
            **compare_tokenizer(source, folder, inputs.texts),
        }


class Graph(nn.Module):
    """The network without blocks of positions, which depend on a length that a graph leaves open.

    Args:
        network: whose layers it shares.
    """

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, L]`` int64 to logits ``[B, L, V]``."""
        network = self.network
        config = network.config
        x = network.embed_tokens(tokens)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        tables = Tables(positions, config.head_size, config.rotary_base, x.dtype)
        for layer in network.layers:
            x = _layer(layer, x, tables)
        return F.linear(network.norm(x), network.head)


def _layer(layer: Any, x: Tensor, tables: Tables) -> Tensor:
    """As a `Layer` of the network computes."""
    x = x + _attention(layer.self_attn, layer.input_layernorm(x), tables)
    return x + layer.mlp(layer.post_attention_layernorm(x))  # type: ignore[no-any-return]


def _attention(attention: Any, x: Tensor, tables: Tables) -> Tensor:
    q, k, v = attention.heads(x, x)
    q, k = rotate(q, *tables.queries), rotate(k, *tables.keys)
    k, v = attention.spread(k, v)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    return attention.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
