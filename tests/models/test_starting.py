"""A head starts from a masked language model: what fits is taken, token by token, and what does not is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from miaobi import modalities, models
from miaobi.errors import Unsupported
from miaobi.modalities import Represented
from miaobi.models import Model
from miaobi.models.starting import matched
from miaobi.recipe import Recipe
from tests.support.codecs import Averages

THEIRS = ["abcab", "aab", "cde"]
OURS = ["edcba", "eed", "xyza"]


def text(lines, **options):
    made = modalities.create({"name": "text", **options})
    made.fit(lines)
    return made


def label(*names):
    made = modalities.create("label")
    made.fit(names)
    return made


def build(family, target, conditions, seed=0, start=None, log=None, **model):
    recipe = Recipe.load(
        {
            "modality": target.name,
            "data": {"source": "none"},
            "seed": seed,
            "model": {"family": family, "size": "tiny", "start": start, **model},
        }
    )
    specs = {name: modality.spec for name, modality in conditions.items()}
    known = {"target": target, **conditions}
    made = models.build(recipe, target.spec, specs, modalities=known, log=log)
    return made.eval()


@pytest.fixture
def masked(tmp_path: Path):
    words = text(THEIRS)
    family = build("masked_lm", words, {}, seed=1)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    models.save(Model(family, words), tmp_path / "model")
    return family, words, f"run:{tmp_path}"


def test_a_classifier_takes_the_trunk_and_the_rows_of_the_tokens_that_it_knows(masked):
    family, words, reference = masked
    ours, said = text(OURS), []
    head = build("classifier", label("x", "y"), {"text": ours}, start=reference, log=said.append)
    fresh = build("classifier", label("x", "y"), {"text": ours})
    for name, tensor in head.network.state_dict().items():
        if name.startswith(("layers.", "norm.")):
            assert torch.equal(tensor, family.network.state_dict()[name])
    table, theirs = head.network.embed_tokens.weight, family.network.embed_tokens.weight
    for letter in "abcde":
        mine, other = ours.tokenizer.encode(letter)[0], words.tokenizer.encode(letter)[0]
        assert torch.equal(table[mine], theirs[other])
    for letter in "xyz":
        mine = ours.tokenizer.encode(letter)[0]
        assert torch.equal(table[mine], fresh.network.embed_tokens.weight[mine])
    assert torch.equal(table[0], theirs[0]), "the unknown token is the same in both"
    assert torch.equal(table[-3:], theirs[-3:]), "so are mask, start and end"
    assert torch.equal(head.network.output.linear.weight, fresh.network.output.linear.weight)
    assert len(said) == 1
    assert f"{len(head.network.state_dict()) - 2} tensors taken (network.embed_tokens.weight: 6 of 9 tokens)" in said[0]
    assert "new: network.output.linear.bias, network.output.linear.weight" in said[0]
    assert said[0].endswith("left: network.lm_head.weight")


def test_equal_shapes_do_not_mean_equal_tokens(masked):
    family, _, reference = masked
    other = text(["eeeee", "ddddccc", "bba"])
    head = build("classifier", label("x", "y"), {"text": other}, start=reference)
    table, theirs = head.network.embed_tokens.weight, family.network.embed_tokens.weight
    assert table.shape == theirs.shape
    assert not torch.equal(table, theirs)
    assert torch.equal(table[other.tokenizer.encode("a")[0]], theirs[text(THEIRS).tokenizer.encode("a")[0]])


def test_a_masked_model_goes_on_with_another_vocabulary(masked):
    family, words, reference = masked
    ours = text(OURS)
    made = build("masked_lm", ours, {}, start=reference)
    for name in ("embed_tokens", "lm_head"):
        mine, theirs = (getattr(one.network, name).weight for one in (made, family))
        assert torch.equal(mine[ours.tokenizer.encode("c")[0]], theirs[words.tokenizer.encode("c")[0]])


def test_without_modalities_nothing_is_said_of_tokens(masked):
    family, _, reference = masked
    recipe = {
        "modality": "text",
        "data": {"source": "none"},
        "model": {"family": "masked_lm", "size": "tiny", "start": reference},
    }
    made = models.build(Recipe.load(recipe), family.target, {})
    assert not torch.equal(made.network.embed_tokens.weight, family.network.embed_tokens.weight)
    assert torch.equal(made.network.norm.weight, family.network.norm.weight)


def test_nothing_that_fits_is_refused(masked):
    _, _, reference = masked
    network = {"name": "encoder", "width": 32, "heads": 2, "qk_norm": False}
    with pytest.raises(Unsupported, match=r"nothing.*fits.*network\.embed_tokens.*same size"):
        build("classifier", label("x", "y"), {"text": text(OURS)}, start=reference, network=network)


def test_a_conditions_table_is_matched_by_its_own_words(tmp_path):
    words, kinds = text(THEIRS), label("p", "q", "r")
    family = build("masked_lm", words, {"kind": kinds}, seed=1)
    models.save(Model(family, words, {"kind": kinds}), tmp_path / "model")
    ours = label("q", "r", "s")
    head = build("classifier", label("x", "y"), {"text": words, "kind": ours}, start=f"run:{tmp_path}")
    mine, theirs = (one.network.conditioner.encoders["kind"].embedding.weight for one in (head, family))
    assert torch.equal(mine[:2], theirs[1:])
    assert not torch.equal(mine[2], theirs[2])


def test_spellings_are_matched_whatever_their_numbers():
    ours, theirs = text(OURS), text(THEIRS)
    rows = matched(ours, theirs)
    assert rows is not None
    for token, row in enumerate(rows.tolist()):
        spelled = ours.tokenizer.decode(np.array([token]))
        assert (row == -1) is (spelled in "xyz")
        if row >= 0:
            assert theirs.tokenizer.decode(np.array([row])) == spelled
    assert matched(ours, ours).tolist() == list(range(ours.spec.vocabulary))
    subwords = text(["the cat sat on the mat"] * 20, tokenizer="bpe")
    assert matched(subwords, subwords).tolist() == list(range(subwords.spec.vocabulary))
    letter = matched(ours, subwords)[ours.tokenizer.encode("a")[0]]
    assert subwords.tokenizer.decode(np.array([letter])) == "a"


def codes(digest):
    pictures = modalities.create({"name": "image", "size": 8, "mode": "L"})
    pictures.fit([np.zeros((8, 8, 1), dtype=np.uint8)])
    codec = Averages(pictures)
    codec.digest = digest
    return Represented(codec, "codec", "codes")


def test_tokens_without_a_spelling_are_alike_only_in_alike_modalities():
    assert matched(codes("one"), codes("one")).tolist() == [0, 1, 2, 3]
    assert matched(codes("one"), codes("other")) is None
    assert matched(codes("one"), text(OURS)) is None
