"""Fashion-MNIST, from Debian's package of it."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import apt_download
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

_PACKAGE = "dataset-fashion-mnist"
_VERSION = "0.0~git20200523.55506a9-1"
_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_FILES = {"train": "train", "test": "t10k"}


class FashionMnist(Catalog):
    """70,000 pictures of clothes, 28 x 28 grey: Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747.

    The test part is the data set's own 10,000; validation is carved out of its 60,000 for training.
    """

    summary = "70,000 pictures of clothes in 10 classes, 28 x 28 grey, 10,000 of them the test part"
    licence = "MIT (Zalando SE)"
    version = f"Debian {_PACKAGE} {_VERSION}"
    modality: ClassVar[Plugin] = "image"
    content = "image"
    conditions: ClassVar[Mapping[str, Plugin]] = {"label": "label"}
    split: ClassVar[Mapping[str, Any]] = {"by": "given"}

    def records(self, cache: Path) -> Iterator[Record]:
        folder = apt_download(_PACKAGE, _VERSION, _SHA256, cache) / "usr/share/datasets/fashion-mnist"
        for part, prefix in _FILES.items():
            images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
            labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
            for image, label in zip(images[..., None], labels.tolist(), strict=True):
                yield {"image": image, "label": _CLASSES[label], "split": part}


def read_idx(path: Path) -> np.ndarray:
    """The ``uint8`` array in a gzipped idx file: two zero bytes, type 8, the number of axes, their big-endian extents.

    Raises:
        FetchFailed: not such a file, or cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        zero, kind, axes = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{axes}I", data, 4)
        values = np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * axes)
        if (zero, kind) != (0, 8):
            raise ValueError("not an idx file of bytes")
        return values.reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise FetchFailed(
            f"{path} cannot be read: {error}", cure=f"delete {path} and its folder to fetch it again"
        ) from None
