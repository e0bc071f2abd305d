"""ROUGE beside rouge_score itself, and by hand where it has no tokens."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from miaobi.errors import Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics._rouge_words import AnyScript, tokenizer_of
from miaobi.evaluation.metrics.rouge import first_sentence
from tests.evaluation.pairs import paired
from tests.evaluation.stand_ins import Sampler, sentences, text

ENGLISH = sentences(20)
NEAR = [" ".join(reversed(line.split(" ", 4))) for line in ENGLISH]


@pytest.mark.parametrize("stemmer", [False, True])
def test_figures_are_those_of_rouge_score(stemmer: bool) -> None:
    found = score(paired(NEAR, ENGLISH), ["rouge"], {"rouge": {"stemmer": stemmer}})
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmer)
    pairs = [scorer.score(line, near) for line, near in zip(ENGLISH, NEAR, strict=True)]
    for figure, kind in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        expected = sum(pair[kind].fmeasure for pair in pairs) / len(pairs)
        assert found[figure].value == pytest.approx(expected)
        low, high = found[figure].interval or (0, 0)
        assert low <= found[figure].value <= high
        assert (found[figure].floor or 0) < found[figure].value
    assert found["rouge_1"].protocol["detail"] == {"tokenizer": "rouge_score", "stemmer": stemmer}


def test_published_example() -> None:
    # Lin 2004, section 4: both share three and two words of four with the reference, in its order.
    found = score(paired(["police kill the gunman"], ["police killed the gunman"]), ["rouge"])
    assert found["rouge_l"].value == pytest.approx(0.75)
    found = score(paired(["the gunman kill police"], ["police killed the gunman"]), ["rouge"])
    assert found["rouge_l"].value == pytest.approx(0.5)


def test_chinese_is_counted_by_characters() -> None:
    found = score(paired(["白日山尽"], ["白日依山尽。"]), ["rouge"])
    # 4 of 4 and of 5 characters; 2 of 3 and of 4 pairs; the longest common subsequence has 4.
    assert found["rouge_1"].value == pytest.approx(2 * 1 * 0.8 / 1.8)
    assert found["rouge_2"].value == pytest.approx(2 * 2 / 7)
    assert found["rouge_l"].value == pytest.approx(2 * 1 * 0.8 / 1.8)
    assert found["rouge_1"].protocol["detail"] == {"tokenizer": "any script", "stemmer": False}
    assert RougeScorer(["rouge1"]).score("白日依山尽", "白日依山尽")["rouge1"].fmeasure == 0


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("Über 30 Bäume", ["über", "30", "bäume"]),
        ("我爱Python 3！", ["我", "爱", "python", "3"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("…", []),
    ],
)
def test_tokens_of_any_script(line: str, tokens: list[str]) -> None:
    assert AnyScript().tokenize(line) == tokens


def test_which_tokens_is_the_real_texts_choice() -> None:
    assert tokenizer_of(["A naïve idea of how to write English text, " + "and so it goes on " * 20]) == "rouge_score"
    assert tokenizer_of(["Übermäßig große Bäume fällt man früh"]) == "any script"


def test_the_first_sentence_is_the_baseline() -> None:
    told = [f"{line}. Something else entirely." for line in ("One two three", "Four five")]
    found = score(paired(["x", "x"], ["one two three", "seven eight"], told=told), ["rouge"])
    assert found["first_sentence_rouge_l"].value == pytest.approx(0.5)
    assert found["first_sentence_rouge_l"].protocol["direction"] == "neither"
    assert found["rouge_l"].value == 0


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("Pi is 3.14 or so! Yes.", "Pi is 3.14 or so!"),
        ("白日依山尽。黄河入海流。", "白日依山尽。"),
        ("A heading\nand text.", "A heading"),
        (" none ", "none"),
        ("", ""),
    ],
)
def test_where_a_sentence_ends(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_a_model_without_conditions_is_refused() -> None:
    modality = text(ENGLISH)
    with pytest.raises(Unsupported, match="without conditions"):
        check(["rouge"], Sampler(modality, ENGLISH), modality)
