"""Likelihoods against models whose likelihood is known."""

from __future__ import annotations

import math

import pytest
import torch

from miaobi import modalities
from miaobi.errors import Diverged, Unsupported
from miaobi.evaluation import score
from miaobi.types import Batch, Bound
from tests.evaluation.stand_ins import Data, Rows, Sampler, Uniform, context, data, digits, image, sentences, text


def test_a_uniform_model_has_log_v_nats_a_token() -> None:
    lines = sentences(60)
    modality = text(lines)
    found = score(context(Uniform(modality, lines), data(modality, lines[:40], lines[40:])), ["likelihood"])
    assert found["nats_per_token"].value == pytest.approx(math.log(modality.spec.vocabulary))
    tokens = sum(len(line) + 1 for line in lines[40:])
    size = sum(len(line.encode()) for line in lines[40:])
    expected = tokens * math.log2(modality.spec.vocabulary) / size
    assert found["bits_per_byte"].value == pytest.approx(expected)
    assert list(found) == ["bits_per_byte", "nats_per_token", "perplexity"]
    # As many equally likely tokens as there are: the closed form of perplexity.
    assert found["perplexity"].value == pytest.approx(modality.spec.vocabulary)
    assert found["perplexity"].protocol["figure"] == "perplexity"
    assert found["perplexity"].protocol["unit"] != found["nats_per_token"].protocol["unit"]


def test_bits_are_over_the_units_of_all_items_together() -> None:
    lines = ["白日依山尽，黄河入海流。", "欲穷千里目", "更上一层楼。"]
    modality = text(lines)
    found = score(context(Uniform(modality, lines), data(modality, lines, lines)), ["bits_per_byte"])
    tokens, size = sum(len(line) + 1 for line in lines), sum(len(line.encode()) for line in lines)
    assert found["bits_per_byte"].value == pytest.approx(tokens * math.log2(modality.spec.vocabulary) / size)


def test_uniform_over_256_levels_is_eight_bits_a_dimension() -> None:
    items = digits(30)
    modality = image(items)
    found = score(context(Uniform(modality, items), data(modality, items[:20], items[20:])), ["likelihood"])
    assert list(found) == ["bits_per_dimension"]
    assert found["bits_per_dimension"].value == pytest.approx(8)


def test_a_stream_counts_each_token_once_and_every_window() -> None:
    passage = " ".join(sentences(40))
    modality = modalities.create({"name": "text", "context": 16})
    modality.fit([passage], stream=True)
    rows = Rows("validation", [passage], modality, window=16)
    prepared = Data(modality, rows, rows, Rows("test", [], modality))
    found = score(context(Uniform(modality, [passage[:40]]), prepared, count=3), ["likelihood"])
    nats = found["nats_per_token"]
    assert nats.value == pytest.approx(math.log(modality.spec.vocabulary))
    assert nats.protocol["samples"] == len(rows)
    assert nats.protocol["detail"]["units"] == 16 * len(rows)
    assert found["bits_per_byte"].value == pytest.approx(math.log2(modality.spec.vocabulary))


class Unigram(Uniform):
    """Letters by their frequency in a text, and the end one in eleven, whatever came before."""

    counts = {"a": 6, "b": 3, "c": 1}

    def log_likelihood(self, batch: Batch, *, seeds: torch.Tensor) -> Bound:
        nats = []
        for array in (row[:end] for row, end in zip(batch.target.values, batch.target.lengths, strict=True)):
            letters = self.spoken.decode(array.numpy())
            nats.append(-sum(math.log(self.counts[letter] / 11) for letter in letters) - math.log(1 / 11))
        return Bound(torch.tensor(nats, dtype=torch.float64), True, batch.target.mask().sum(1) + 1)


def test_a_unigram_by_hand() -> None:
    lines = ["aab", "abac", "c", "aaaaaa"]
    modality = text(lines)
    family = Unigram(modality, lines)
    family.spoken = modality
    found = score(context(family, data(modality, lines, lines)), ["likelihood"])
    # Nine a, two b, two c and an end for each of four items, one byte a letter.
    nats = -(9 + 1) * math.log(6 / 11) - 2 * math.log(3 / 11) - (2 + 4) * math.log(1 / 11)
    assert found["bits_per_byte"].value == pytest.approx(nats / math.log(2) / 14)
    assert found["nats_per_token"].value == pytest.approx(nats / 18)
    assert found["perplexity"].value == pytest.approx(math.exp(nats / 18))
    low, high = found["nats_per_token"].interval
    assert found["perplexity"].interval == pytest.approx((math.exp(low), math.exp(high)))


def test_no_score_depends_on_the_batch_size() -> None:
    lines = sentences(50)
    modality = text(lines)
    family = Uniform(modality, lines)
    family.jitter = True
    values = {
        score(context(family, data(modality, lines, lines), batch_rows=rows), ["nats_per_token"])[
            "nats_per_token"
        ].value
        for rows in (1, 7, 64)
    }
    assert len(values) == 1


def test_exactness_and_the_tokenizer_are_in_the_protocol() -> None:
    lines = sentences(30)
    modality = text(lines)
    family = Uniform(modality, lines)
    exact = score(context(family, data(modality, lines, lines)), ["likelihood"])
    assert exact["nats_per_token"].protocol["tokenizer_bound"]
    assert exact["perplexity"].protocol["tokenizer_bound"]
    assert not exact["bits_per_byte"].protocol["tokenizer_bound"]
    assert exact["bits_per_byte"].protocol["likelihood"].startswith("exact")
    family.exact = False
    bound = score(context(family, data(modality, lines, lines)), ["likelihood"])
    assert bound["bits_per_byte"].protocol["likelihood"].startswith("upper bound")


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    from miaobi.evaluation.metrics._intervals import of_ratio

    inside = 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        counts = torch.randint(20, 60, (80,), generator=generator).double()
        amounts = 2.0 * counts + torch.randn(80, generator=generator).double() * counts.sqrt()
        low, high = of_ratio(amounts.numpy(), counts.numpy()) or (0.0, 0.0)
        inside += low <= 2.0 <= high
    assert 180 <= inside <= 198


def test_an_infinite_likelihood_is_an_error() -> None:
    lines = sentences(10)
    modality = text(lines)

    class Broken(Uniform):
        def log_likelihood(self, batch: Batch, *, seeds: torch.Tensor) -> Bound:
            return Bound(torch.full((len(batch),), math.inf), True)

    with pytest.raises(Diverged, match="not finite"):
        score(context(Broken(modality, lines), data(modality, lines, lines)), ["likelihood"])


def test_a_family_without_likelihood_is_refused() -> None:
    lines = sentences(10)
    modality = text(lines)
    with pytest.raises(Unsupported, match="Likelihood"):
        score(context(Sampler(modality, lines), data(modality, lines, lines)), ["likelihood"])
