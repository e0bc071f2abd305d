"""How much memory a process needed, and giving back what it does not need any more."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

_PAUSE = 0.5
"""Seconds between two looks at how large the process is."""


class Hoard:
    """Memory that was freed and that the C library keeps: given back where the process outgrows what it should need.

    Tensors whose sizes change from batch to batch leave gaps in its heaps that later ones do not fit, so that a process
    grows by a fifth or a half in a few hundred steps. Giving back costs the time of asking for it again, which is why
    it is not done after every step. Nothing is done on systems without glibc, or on a GPU.

    Args:
        limit: bytes that the process should need at its peak; ``None``: not known.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._next = 0.0

    def watch(self) -> None:
        """Give back where the process is larger than its limit; now and then, however often it is called."""
        now = time.monotonic()
        if self._limit is None or now < self._next:
            return
        self._next = now + _PAUSE
        if resident() > self._limit:
            give_back()
            left = resident()
            # What is needed all the time is no hoard: asking for it every time would cost time for nothing.
            if left > self._limit:
                self._limit = left * 5 // 4


def give_back() -> None:
    """Have the C library return freed memory to the system, where it can."""
    trim = _trimmer()
    if trim is not None:
        trim(0)


def resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


@cache
def _trimmer() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim  # type: ignore[no-any-return]
    except (OSError, AttributeError, TypeError):
        return None


def forget_peak() -> None:
    """Start measuring again, where the system can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        # Linux: 5 resets the high-water mark of this process's resident memory.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak(device: torch.device) -> int:
    """Bytes at the peak: allocated on a GPU, or else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return _peak_of_life()


def _peak_of_life() -> int:
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
