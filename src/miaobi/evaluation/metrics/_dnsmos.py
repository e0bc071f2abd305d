"""DNSMOS P.835: a network's estimate of what listeners would answer about a recording of speech.

Its public weights arrive as the package speechmos and run in onnxruntime; nothing is downloaded, and the package's own
code, which needs more than its weights do, is not used.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from miaobi.errors import FetchFailed, MissingExtra

RATE = 16_000
WINDOW = 144_160
"""Samples: 9.01 seconds."""
SHA256 = "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
_FILE = "dnsmos_models/sig_bak_ovr.onnx"
_CURVES = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
"""From what the network says to opinion scores, as published with it: squared, linear and constant."""
_MOST_WINDOWS = 8


def require(needed_for: str) -> Path:
    """The package's folder.

    Raises:
        MissingExtra: a package is absent.
    """
    found = find_spec("speechmos")
    if found is None or not found.submodule_search_locations or find_spec("onnxruntime") is None:
        raise MissingExtra(needed_for, "speech-metrics")
    return Path(found.submodule_search_locations[0])


class Dnsmos:
    """Opinion scores of sounds.

    Args:
        needed_for: what asks for it, for the error where its packages are absent.

    Raises:
        MissingExtra: the packages of the extra ``speech-metrics`` are absent.
        FetchFailed: their weight file is missing or has another checksum.
    """

    def __init__(self, needed_for: str) -> None:
        path = require(needed_for) / _FILE
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise FetchFailed(
                f"{path} is not the published model", cure="pip install --force-reinstall speechmos==0.0.1.1"
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, floats: np.ndarray) -> np.ndarray:
        """``float64 [3]``, 1 to 5 or nearly so: speech quality, background quality and overall, averaged over windows.

        Args:
            floats: ``float32 [n]`` at 16 kHz, n of at least 1, in [-1, 1].
        """
        windows = cut(floats)
        parts = [windows[start : start + _MOST_WINDOWS] for start in range(0, len(windows), _MOST_WINDOWS)]
        said = np.concatenate([self._session.run(None, {"input_1": part})[0] for part in parts]).astype(np.float64)
        scores = [np.polyval(curve, column) for curve, column in zip(_CURVES, said.T, strict=True)]
        return np.stack(scores).mean(axis=1)


def cut(floats: np.ndarray) -> np.ndarray:
    """``float32 [windows, 144160]``: one a whole second; what is shorter is doubled until it is long enough."""
    while len(floats) < WINDOW:
        floats = np.concatenate([floats, floats])
    count = max(1, len(floats) // RATE - WINDOW // RATE)
    return np.stack([floats[index * RATE : index * RATE + WINDOW] for index in range(count)]).astype(np.float32)
