"""Cached decoding without compilation: miaobi's engine beside transformers' ``generate`` in float32, same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks._common import CONTEXT, Report, language_model, llama, machine, rates
from miaobi.families.autoregressive import Autoregressive

TARGET = 1.8
ROUNDS = 5


def main() -> None:
    """Time both at batch 1 and 16, and check the target at each."""
    family = language_model().eval()
    peer = llama(family).eval()
    report = Report(
        "Cached decoding",
        f"6 layers, width 384, context {CONTEXT}, {CONTEXT - 1} tokens an item from one token; {machine()}",
        ["batch", "transformers float32", "miaobi float32", "miaobi bfloat16", "bfloat16 / transformers"],
    )
    for rows in (1, 16):
        speed = rates(
            {
                "transformers": _peer(peer, rows),
                "float32": _ours(family, rows, torch.float32),
                "bfloat16": _ours(family, rows, torch.bfloat16),
            },
            ROUNDS,
        )
        ratio = speed["bfloat16"] / speed["transformers"]
        report.rows.append([rows, *(f"{value:,.0f} tokens/s" for value in speed.values()), f"{ratio:.2f}x"])
        report.checks[f"at least {TARGET} times transformers at batch {rows}"] = ratio >= TARGET
    report.write()


def _ours(family: Autoregressive, rows: int, dtype: torch.dtype) -> Callable[[], int]:
    controls = family.Controls(max_length=CONTEXT)
    seeds = torch.arange(rows) + 1

    def run() -> int:
        family.precision = dtype
        samples = family.sample({}, controls=controls, seeds=seeds)
        return int(samples.values.shape[1] - 1) * rows

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


if __name__ == "__main__":
    main()
