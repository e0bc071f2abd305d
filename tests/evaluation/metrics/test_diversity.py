"""Diversity by hand, and self-BLEU beside sacrebleu itself."""

from __future__ import annotations

import pytest
from sacrebleu.metrics.bleu import BLEU

from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics._words import tokenizer_of, words
from miaobi.evaluation.metrics.diversity import distinct, ngrams, self_bleu
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


def test_distinct_by_hand() -> None:
    items = [["a", "b", "a", "b"], ["a", "b", "c"]]
    assert distinct([ngrams(item, 1) for item in items]) == 3 / 7
    assert distinct([ngrams(item, 2) for item in items]) == 3 / 5
    assert distinct([ngrams(item, 4) for item in items]) == 1
    assert distinct([ngrams(item, 5) for item in items]) == 0


def test_self_bleu_is_sacrebleu_called_directly() -> None:
    lines = ["the cat sat on the mat", "the cat is on the mat", "a dog sat on the log", ""]
    values, signature = self_bleu(lines, "13a")
    bleu = BLEU(effective_order=True)
    expected = [bleu.sentence_score(line, [other for other in lines if other != line]).score for line in lines]
    assert values == pytest.approx(expected)
    assert signature == str(bleu.get_signature())
    assert "tok:13a" in signature


def test_equal_samples_have_full_self_bleu_and_the_fewest_words() -> None:
    lines = sentences(40)
    modality = text(lines)
    same = Sampler(modality, [lines[0]])
    found = score(context(same, data(modality, lines[:20], lines[20:])), ["diversity"])
    assert found["self_bleu"].value == pytest.approx(100)
    assert found["self_bleu"].value > 2 * (found["self_bleu"].floor or 0)
    assert found["distinct_1"].value < 0.1 < (found["distinct_1"].floor or 0)


def test_the_held_out_items_as_samples_score_their_floor() -> None:
    lines = sentences(40)
    modality = text(lines)
    order = iter(range(20))
    family = Sampler(modality, lines[20:], pick=lambda seeds: seeds.new_tensor([next(order) for _ in seeds]))
    found = score(context(family, data(modality, lines[:20], lines[20:])), ["diversity"])
    assert all(item.value == pytest.approx(item.floor) for item in found.values())
    assert list(found) == ["distinct_1", "distinct_2", "distinct_3", "distinct_4", "self_bleu"]


@pytest.mark.parametrize(
    ("line", "tokenizer", "expected"),
    [
        ("Don't stop.", "13a", ["Don't", "stop", "."]),
        ("白日 依山尽", "char", ["白", "日", "依", "山", "尽"]),
    ],
)
def test_words_follow_the_script(line: str, tokenizer: str, expected: list[str]) -> None:
    modality = text([line])
    assert tokenizer_of(modality, [line]) == tokenizer
    assert words([line], tokenizer) == [expected]


def test_pictures_are_refused() -> None:
    items = digits(20)
    modality = image(items)
    with pytest.raises(Unsupported, match="diversity does not apply to image"):
        score(context(Sampler(modality, items), data(modality, items, items)), ["diversity"])
