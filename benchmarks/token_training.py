"""Training steps of a Transformer: miaobi's own step beside the textbook's network and transformers' Llama.

A step is forward, backward, clipping to norm 1 and AdamW. Ours is what the trainer runs, with bfloat16 autocast, eager
and compiled; the textbook's is float32 and eager with SDPA; transformers' is bfloat16 autocast.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks._common import CONTEXT, VOCABULARY, Report, language_model, llama, machine, rates
from benchmarks._plain import Plain
from miaobi.families.autoregressive import Autoregressive
from miaobi.networks._cpu import keep_memory
from miaobi.recipe import TrainSettings
from miaobi.training import optimisers
from miaobi.training.processes import Processes
from miaobi.training.step import PhaseRunner
from miaobi.types import Batch, Field

ROWS = 8
OVER_PLAIN, OVER_LLAMA = 2.7, 1.2
ROUNDS = 9


def main() -> None:
    """Time the four in turns and check both targets."""
    keep_memory()
    torch.manual_seed(0)
    tokens = torch.randint(VOCABULARY, (ROWS, CONTEXT + 1))
    plain, peer = Plain(), llama(language_model())
    compiled = language_model()
    # torch's own deprecation, raised while it compiles.
    warnings.filterwarnings("ignore", message=".*torch.jit.script_method.*", category=DeprecationWarning)
    compiled.network.compile()
    contestants = {
        "plain PyTorch, float32, SDPA": _stepping(plain, lambda: plain(tokens), torch.float32),
        "transformers Llama, bfloat16": _stepping(peer, lambda: _llama_loss(peer, tokens), torch.bfloat16),
        "miaobi, bfloat16": _ours(language_model(), tokens),
        "miaobi, bfloat16, compiled": _ours(compiled, tokens),
    }
    began = time.perf_counter()
    speed = rates(contestants, ROUNDS, warm_up=2)
    setting = f"6 layers, width 384, 6 heads, context {CONTEXT}, batch {ROWS}; {machine()}"
    report = Report("Training a Transformer", setting, ["step", "tokens/s", "over plain", "over transformers"])
    base, other = speed["plain PyTorch, float32, SDPA"], speed["transformers Llama, bfloat16"]
    for name, value in speed.items():
        report.rows.append([name, f"{value:,.0f}", f"{value / base:.2f}x", f"{value / other:.2f}x"])
    best = max(speed["miaobi, bfloat16"], speed["miaobi, bfloat16, compiled"])
    report.setting += f"; {time.perf_counter() - began:.0f} s with compilation"
    report.checks[f"at least {OVER_PLAIN} times plain float32 PyTorch"] = best >= OVER_PLAIN * base
    report.checks[f"at least {OVER_LLAMA} times transformers' Llama in bfloat16"] = best >= OVER_LLAMA * other
    report.write()


def _ours(family: Autoregressive, tokens: torch.Tensor) -> Callable[[], int]:
    settings = TrainSettings(learning_rate=3e-4, clip=1.0)
    phase = family.phases()[0]
    runner = PhaseRunner(
        family.train(), optimisers.build(family, [phase], settings), Processes(alone=True), settings, seed=0
    )
    runner.precision = "bfloat16"
    batch = Batch(Field(tokens), ids=torch.arange(len(tokens)) + 1)

    def run() -> int:
        runner.run(phase, batch, step=0, repeat=0, scale=1.0)
        return tokens[:, 1:].numel()

    return run


def _stepping(model: nn.Module, loss: Callable[[], Any], dtype: torch.dtype) -> Callable[[], int]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=True)

    def run() -> int:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return ROWS * CONTEXT

    return run


def _llama_loss(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=tokens[:, :-1]).logits
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


if __name__ == "__main__":
    main()
