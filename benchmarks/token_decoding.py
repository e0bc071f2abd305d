"""Cached decoding: miaobi's engine beside transformers' ``generate`` and llama.cpp, same weights, batch 1 and 16.

Compiled figures are of a long job: compiling is done in the warm-up, and what it took is printed with the number of
tokens after which it has paid for itself. A short job decodes uncompiled, as the column beside says.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks._common import (
    CONTEXT,
    VOCABULARY,
    Report,
    language_model,
    llama,
    machine,
    matrix_ceiling,
    rates,
    read_ceiling,
)
from benchmarks._peer import Peer, environment
from miaobi.families.autoregressive import Autoregressive

PEERS = ("numpy", "safetensors==0.8.0", "gguf==0.19.0", "xllamacpp==2026.10.11549")
TARGETS = {1: 3.5, 16: 3.0}
LLAMA_CPP_TARGET = 2.0
ROUNDS = 5
Peers = Mapping[torch.dtype, Any]


def main() -> None:
    """Time all at batch 1 and 16, and check the targets."""
    family, plain = language_model().eval(), language_model().eval()
    family.compiling, family.precision = True, torch.bfloat16
    peers = {dtype: llama(family).eval().to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    report = Report(
        "Cached decoding",
        f"6 layers, width 384, context {CONTEXT}, {CONTEXT - 1} tokens an item from one token, bfloat16 unless said; "
        f"{machine()}",
        [
            "batch",
            "transformers float32",
            "bfloat16",
            "llama.cpp",
            "miaobi, short job",
            "long job",
            "long job's ratios",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        for rows in TARGETS:
            _measure(report, family, plain, peers, rows, Path(folder))
    report.write()


def _measure(
    report: Report, family: Autoregressive, plain: Autoregressive, peers: Peers, rows: int, folder: Path
) -> None:
    started = time.perf_counter()
    ours = _ours(family, rows)
    ours()
    compiling = time.perf_counter() - started
    llama_cpp = _llama_cpp(peers[torch.float32], rows, folder)
    contestants = {
        "float32": _peer(peers[torch.float32], rows),
        "bfloat16": _peer(peers[torch.bfloat16], rows),
        "llama.cpp": llama_cpp,
        "short": _ours(plain, rows),
        "long": ours,
    }
    speed = rates(contestants, ROUNDS)
    llama_cpp.close()
    best = max(speed["float32"], speed["bfloat16"])
    ratio, beside = speed["long"] / best, speed["long"] / speed["llama.cpp"]
    told = f"{ratio:.2f}x transformers, {beside:.2f}x llama.cpp; {_shares(family, rows, speed['long'])}; "
    told += _payback(compiling, speed["short"], speed["long"])
    report.rows.append([rows, *(f"{value:,.0f} tokens/s" for value in speed.values()), told])
    report.checks[f"at least {TARGETS[rows]} times transformers at batch {rows}"] = ratio >= TARGETS[rows]
    if rows > 1:
        report.checks[f"at least {LLAMA_CPP_TARGET} times llama.cpp at batch {rows}"] = beside >= LLAMA_CPP_TARGET


def _ours(family: Autoregressive, rows: int) -> Callable[[], int]:
    controls = family.Controls(max_length=CONTEXT)
    seeds = torch.arange(rows) + 1

    def run() -> int:
        samples = family.sample({}, controls=controls, seeds=seeds)
        return int(samples.values.shape[1] - 1) * rows

    family.precision = torch.bfloat16
    return run


def _peer(model: Any, rows: int) -> Callable[[], int]:
    start = torch.zeros(rows, 1, dtype=torch.int64)

    def run() -> int:
        out = model.generate(
            start,
            attention_mask=torch.ones_like(start),
            max_new_tokens=CONTEXT - 1,
            do_sample=True,
            top_k=0,
            use_cache=True,
        )
        return int(out.shape[1] - 1) * rows

    return run


def _llama_cpp(model: Any, slots: int, folder: Path) -> Peer:
    weights, shape = folder / "weights.safetensors", folder / "shape.json"
    save_file({name: value.float().contiguous() for name, value in model.state_dict().items()}, weights)
    config = model.config
    told = {
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
        "width": config.hidden_size,
        "depth": config.num_hidden_layers,
        "inner": config.intermediate_size,
        "heads": config.num_attention_heads,
        "rotary_base": 10000.0,
        "eps": config.rms_norm_eps,
    }
    shape.write_text(json.dumps(told), encoding="utf-8")
    arguments = (weights, shape, folder / f"model-{slots}.gguf", slots, torch.get_num_threads())
    return Peer(environment("xllamacpp, gguf, safetensors", *PEERS), "_llama_cpp_peer.py", *arguments)


def _shares(family: Autoregressive, rows: int, speed: float) -> str:
    """How much of what the machine reads and multiplies a second the steps take, on average over an item."""
    config: Any = family.network.config
    weights = sum(parameter.numel() for parameter in family.network.parameters())
    cache = 2 * config.depth * config.key_count * config.head_size * CONTEXT / 2
    steps = speed / rows
    read = 2 * (weights + rows * cache) * steps / 1e9
    multiplied = 2 * rows * weights * steps / 1e9
    bandwidth, products = read_ceiling(), matrix_ceiling(torch.bfloat16)
    return f"{read:.0f} of {bandwidth:.0f} GB/s, {multiplied:.0f} of {products:.0f} GFLOP/s"


def _payback(seconds: float, short: float, long: float) -> str:
    if long <= short:
        return f"compiled in {seconds:.0f} s, which never pays"
    return f"compiled in {seconds:.0f} s, paid back after {seconds / (1 / short - 1 / long):,.0f} tokens"


if __name__ == "__main__":
    main()
