"""What a processor does fast, asked for by whoever chooses an implementation or a precision."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

import torch
from torch import Tensor

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@functools.cache
def fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether ``device`` multiplies bfloat16 matrices in hardware; whether autocast gains anything is then measured."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):
        # oneDNN says yes to every AVX-512 processor, and emulates on most.
        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_memory() -> bool:
    """Ask glibc to keep freed memory instead of returning it to the system; true where that was possible.

    A training step frees and allocates the same large activations again and again; given back, every page is faulted
    in and zeroed anew each step. Call once, before training; the process's peak stays allocated.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    largest = 2**31 - 1
    wanted = ((_M_MMAP_THRESHOLD, largest), (_M_TRIM_THRESHOLD, largest), (_M_TOP_PAD, 256 << 20))
    return min(mallopt(option, value) for option, value in wanted) == 1


def pack_linear(weight: Tensor) -> Tensor | None:
    """``weight [out, in]`` in oneDNN's blocked order, for `packed_linear`; ``None`` where there is no oneDNN for it.

    For a few rows this is 1.3 to 2 times as fast as the same product with the weight as it lies.
    """
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    if weight.dtype is not torch.float32 and not (weight.dtype is torch.bfloat16 and fast_bfloat16()):
        return None
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)  # type: ignore[no-any-return]


def packed_linear(x: Tensor, packed: Tensor) -> Tensor:
    """``x [..., in]`` times a matrix from `pack_linear`: ``[..., out]``."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")  # type: ignore[no-any-return]


def packed_linear_add(x: Tensor, packed: Tensor, residual: Tensor) -> Tensor:
    """`packed_linear` plus ``residual [..., out]``, in one pass."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, residual, packed, None, "add")  # type: ignore[no-any-return]
