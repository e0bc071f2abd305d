"""What benchmarks share: interleaved timing, the report that `__main__` reads, and the common language-model shape."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from miaobi.families.autoregressive import Autoregressive
from miaobi.networks.transformer import Transformer
from miaobi.types import Form, Spec

WIDTH, DEPTH, HEADS, VOCABULARY, CONTEXT = 384, 6, 6, 65, 256
INNER = 1024


@dataclass
class Report:
    """One table of RESULTS.md: ``rows`` are printed under ``columns``; ``checks`` say whether a target was met."""

    title: str
    setting: str
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)

    def write(self) -> None:
        """The report as JSON, alone on standard output."""
        json.dump(vars(self), sys.stdout)


class Apart:
    """A contestant in a process of its own, so that memory settings of one do not reach the others.

    Args:
        target: ``MODULE:FUNCTION``, called in the new process; gives the contestant.
        environment: beside the present one; read when torch is imported there.
    """

    def __init__(self, target: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-c", _SERVE, target]
        settings = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings
        )

    def __call__(self) -> int:
        """One run there; the process sleeps in between."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("run", file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


_SERVE = """
import importlib, sys
module, _, name = sys.argv[1].partition(":")
answers, sys.stdout = sys.stdout, sys.stderr
run = getattr(importlib.import_module(module), name)()
for _ in sys.stdin:
    print(run(), file=answers, flush=True)
"""


def rates(contestants: Mapping[str, Callable[[], int]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median tokens (or items) a second of each, taking turns so that a disturbance meets all alike.

    Args:
        contestants: what is timed; each call gives the number of tokens that it processed.
        rounds: timed calls of each.
        warm_up: calls of each before.
    """
    for run in contestants.values():
        for _ in range(warm_up):
            run()
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            tokens = run()
            seen[name].append(tokens / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in seen.items()}


def machine() -> str:
    """Processor features, threads and versions, for the table's caption."""
    capability = torch.backends.cpu.get_cpu_capability()
    ceilings = ", ".join(f"{str(dtype)[6:]} {matrix_ceiling(dtype):.0f}" for dtype in (torch.float32, torch.bfloat16))
    here = f"{platform.machine()} {capability}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"{here}; matrix products here, GFLOP/s: {ceilings}"


def matrix_ceiling(dtype: torch.dtype, rows: int = 2048, inner: int = 384, columns: int = 1024) -> float:
    """GFLOP/s of a layer's matrix product alone: what no training step can exceed."""
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        left @ right.T
        seconds.append(time.perf_counter() - start)
    return 2e-9 * rows * inner * columns / statistics.median(seconds)


def read_ceiling(megabytes: int = 512) -> float:
    """GB/s at which memory is read: what no step that reads its weights from memory can exceed."""
    block = torch.ones(megabytes << 18)
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - start)
    return block.nbytes / 1e9 / statistics.median(seconds)


def language_model(seed: int = 0, **options: Any) -> Autoregressive:
    """The shape that every token benchmark uses: 6 layers, width 384, 6 heads, 65 characters, context 256."""
    torch.manual_seed(seed)
    target = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=CONTEXT + 1, stream=True, begin=0)
    config = Autoregressive.Config()
    port = Autoregressive.ports(config, target, {})["network"]
    shape = {"width": WIDTH, "depth": DEPTH, "heads": HEADS, "inner": INNER, "qk_norm": False, "tied": False}
    network = Transformer(Transformer.Config(**{**shape, **options}), port.source, port.target, {})
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return Autoregressive(config, {"network": network}, {}, target, {})


def llama(family: Autoregressive) -> Any:
    """transformers' Llama with the same weights: renaming is the whole export."""
    from transformers import LlamaConfig, LlamaForCausalLM

    network: Any = family.network
    config = network.config
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.width,
            intermediate_size=config.inner_size,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            num_key_value_heads=config.key_count,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=config.eps,
            tie_word_embeddings=config.tied,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    state = {
        name if name.startswith("lm_head") else f"model.{name}": value for name, value in network.state_dict().items()
    }
    model.load_state_dict(state)
    return model
