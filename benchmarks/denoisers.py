"""The U-Net beside diffusers' UNet2DModel: training steps, and sampling with each side's usual solver.

A step is forward, backward and AdamW at 3 x 32 x 32 with bfloat16 autocast. Ours is eager, once in its default form,
once in the peer's topology. Sampling is 6 steps of Heun's method, the last one Euler's (11 evaluations), beside
``DDIMPipeline`` at its default of 50 steps; each side in the precision that is faster for it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._common import Apart, Report, machine, rates
from benchmarks._peer import environment
from miaobi.networks._cpu import keep_memory
from miaobi.networks.unet import UNet
from miaobi.types import Form, Spec

PEER = "diffusers==0.42.1"
SIDE, TRAIN_BATCH, SAMPLE_BATCH = 32, 64, 16
STEPS = 6
PRECISIONS = ("bfloat16", "float32")
DEFAULT_TARGET, SAME_TARGET, SAMPLING_TARGET = 1.5, 1.05, 8.0
ROUNDS, SAMPLING_ROUNDS = 7, 3
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""torch's own allocator asks Linux for huge pages; read when torch is imported. Only ours, as `miaobi` sets it."""
HERE = Path(__file__).parent
OURS, SAME, THEIRS = "miaobi U-Net, default", "miaobi U-Net, diffusers' topology", "diffusers UNet2DModel"
HEUN, DDIM = f"miaobi, {STEPS} Heun steps", "diffusers DDIMPipeline, 50 steps"


class Peer(Apart):
    """diffusers, whose process has an environment of its own too."""

    def __init__(self, job: str, precision: str, batch: int) -> None:
        command = [str(diffusers_python()), str(HERE / "_diffusers_peer.py"), job, precision, str(batch), str(SIDE)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.parameters = int(self._process.stdout.readline())


def main() -> None:
    """Time both jobs in turns and check the three targets."""
    began = time.perf_counter()
    training, parameters = _train()
    sampling = _sample()
    report = Report("Denoising networks", "", ["job", "parameters", "images/s", "over diffusers"])
    for name, value in training.items():
        ratio = f"{value / training[THEIRS]:.2f}x"
        report.rows.append([f"training step: {name}", f"{parameters[name]:,}", f"{value:,.1f}", ratio])
    best, peer = sampling.values()
    for name, value in sampling.items():
        size = parameters[OURS if name.startswith("miaobi") else THEIRS]
        report.rows.append([f"sampling: {name}", f"{size:,}", f"{value:,.1f}", f"{value / peer:.2f}x"])
    report.setting = (
        f"3 x {SIDE} x {SIDE}; training in bfloat16, batch {TRAIN_BATCH}, nothing compiled; sampling, batch "
        f"{SAMPLE_BATCH}; {machine()}; {time.perf_counter() - began:.0f} s"
    )
    base = training[THEIRS]
    report.checks["diffusers' network has no more parameters"] = parameters[THEIRS] <= parameters[OURS]
    report.checks[f"default: at least {DEFAULT_TARGET} times diffusers"] = training[OURS] >= DEFAULT_TARGET * base
    report.checks[f"same topology: at least {SAME_TARGET} times diffusers"] = training[SAME] >= SAME_TARGET * base
    report.checks[f"sampling: at least {SAMPLING_TARGET:g} times DDIM"] = best >= SAMPLING_TARGET * peer
    report.write()


def _train() -> tuple[dict[str, float], dict[str, int]]:
    peer = Peer("train", "bfloat16", TRAIN_BATCH)
    ours: dict[str, Apart] = {
        OURS: Apart("benchmarks.denoisers:train_default", HUGE_PAGES),
        SAME: Apart("benchmarks.denoisers:train_same", HUGE_PAGES),
    }
    speed = rates({**ours, THEIRS: peer}, ROUNDS)
    for contestant in (peer, *ours.values()):
        contestant.close()
    counts = {
        name: sum(p.numel() for p in network.parameters()) for name, network in ((OURS, default()), (SAME, same()))
    }
    return speed, {**counts, THEIRS: peer.parameters}


def _sample() -> dict[str, float]:
    ours = {p: Apart(f"benchmarks.denoisers:sample_{p}", HUGE_PAGES) for p in PRECISIONS}
    peers = {p: Peer("sample", p, SAMPLE_BATCH) for p in PRECISIONS}
    mine, theirs = _faster(ours), _faster(peers)
    chosen = {f"{HEUN}, {mine}": ours[mine], f"{DDIM}, {theirs}": peers[theirs]}
    speed = rates(chosen, SAMPLING_ROUNDS, warm_up=0)
    for contestant in (*ours.values(), *peers.values()):
        contestant.close()
    return speed


def _faster(contestants: Mapping[str, Apart]) -> str:
    """The precision that samples faster, which also warms both up."""
    speed = rates(contestants, rounds=3)
    return max(speed, key=lambda precision: speed[precision])


def default() -> UNet:
    """What a recipe gets at size small."""
    torch.manual_seed(0)
    port = Spec(Form.TENSOR, 3, (SIDE, SIDE))
    return UNet(UNet.preset("small", port, port, {}), port, port, {})


def same() -> UNet:
    """The peer's topology."""
    torch.manual_seed(0)
    port = Spec(Form.TENSOR, 3, (SIDE, SIDE))
    config = UNet.Config(
        channels=[32, 64, 96], blocks=2, middle=2, patch=1, groups=16, attention=64, head_width=8, style=128,
        skips="block", resample="strided", direct=False,
    )  # fmt: skip
    return UNet(config, port, port, {})


def train_default() -> Callable[[], int]:
    """Training steps of the default."""
    return _stepping(default())


def train_same() -> Callable[[], int]:
    """Training steps in the peer's topology."""
    return _stepping(same())


def sample_bfloat16() -> Callable[[], int]:
    """Heun's method with autocast."""
    return _sampling(half=True)


def sample_float32() -> Callable[[], int]:
    """Heun's method without autocast."""
    return _sampling(half=False)


def _stepping(network: UNet) -> Callable[[], int]:
    keep_memory()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x, noise = torch.randn(2, TRAIN_BATCH, 3, SIDE, SIDE)
    moment = torch.rand(TRAIN_BATCH)

    def run() -> int:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = network(x, time=moment)
        torch.nn.functional.mse_loss(made.float(), noise).backward()
        optimiser.step()
        optimiser.zero_grad()
        return TRAIN_BATCH

    return run


def _sampling(*, half: bool) -> Callable[[], int]:
    keep_memory()
    network = default().eval()

    def slope(x: Tensor, moment: float) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return network(x, time=torch.full((len(x),), moment)).float()  # type: ignore[no-any-return]

    def run() -> int:
        x = torch.randn(SAMPLE_BATCH, 3, SIDE, SIDE)
        with torch.inference_mode():
            for index in range(STEPS, 0, -1):
                now, later = index / STEPS, (index - 1) / STEPS
                first = slope(x, now)
                guess = x + (later - now) * first
                x = guess if index == 1 else x + (later - now) / 2 * (first + slope(guess, later))
        return len(x)

    return run


def diffusers_python() -> Path:
    """A Python with diffusers and this process's torch."""
    return environment("diffusers", "torch==2.13.0", PEER)


if __name__ == "__main__":
    main()
