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

from benchmarks._common import CONTEXT, VOCABULARY, Apart, Report, language_model, llama, machine, rates
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
PLAIN, PEER = "plain PyTorch, float32, SDPA", "transformers Llama, bfloat16"
EAGER, COMPILED = "miaobi, bfloat16", "miaobi, bfloat16, compiled"
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""torch's own allocator asks Linux for huge pages; read when torch is imported. Only ours, as `miaobi` sets it."""


def main() -> None:
    """Time the four in turns, each in a process of its own, and check both targets."""
    contestants = {
        PLAIN: Apart("benchmarks.token_training:plain"),
        PEER: Apart("benchmarks.token_training:transformers"),
        EAGER: Apart("benchmarks.token_training:eager", HUGE_PAGES),
        COMPILED: Apart("benchmarks.token_training:compiled", HUGE_PAGES),
    }
    began = time.perf_counter()
    speed = rates(contestants, ROUNDS, warm_up=2)
    for contestant in contestants.values():
        contestant.close()
    setting = f"6 layers, width 384, 6 heads, context {CONTEXT}, batch {ROWS}; {machine()}"
    report = Report("Training a Transformer", setting, ["step", "tokens/s", "over plain", "over transformers"])
    base, other = speed[PLAIN], speed[PEER]
    for name, value in speed.items():
        report.rows.append([name, f"{value:,.0f}", f"{value / base:.2f}x", f"{value / other:.2f}x"])
    best = max(speed[EAGER], speed[COMPILED])
    report.setting += f"; {time.perf_counter() - began:.0f} s with compilation"
    report.checks[f"at least {OVER_PLAIN} times plain float32 PyTorch"] = best >= OVER_PLAIN * base
    report.checks[f"at least {OVER_LLAMA} times transformers' Llama in bfloat16"] = best >= OVER_LLAMA * other
    report.write()


def plain() -> Callable[[], int]:
    """The textbook's network."""
    model, tokens = Plain(), _tokens()
    return _stepping(model, lambda: model(tokens), torch.float32)


def transformers() -> Callable[[], int]:
    """Llama of the same shape."""
    model, tokens = llama(language_model()), _tokens()
    return _stepping(model, lambda: _llama_loss(model, tokens), torch.bfloat16)


def eager() -> Callable[[], int]:
    """Ours as it is trained by default."""
    keep_memory()
    return _ours(language_model(), _tokens())


def compiled() -> Callable[[], int]:
    """Ours with ``train.compile: on``."""
    keep_memory()
    # torch's own deprecation, raised while it compiles.
    warnings.filterwarnings("ignore", message=".*torch.jit.script_method.*", category=DeprecationWarning)
    family = language_model()
    family.network.compile()
    return _ours(family, _tokens())


def _tokens() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(VOCABULARY, (ROWS, CONTEXT + 1))


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
