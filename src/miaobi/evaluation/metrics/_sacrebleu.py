"""sacrebleu's corpus metrics over statistics that are counted once a sentence, so that resampling costs only sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from miaobi.evaluation.metrics._words import is_text, tokenizer_of
from miaobi.modalities import Modality
from miaobi.modalities._scripts import language


class Corpus:
    """Answers against one reference each.

    Args:
        metric: one of `scorers`.
        answers: one line each; at least one.
        references: as many.
    """

    def __init__(self, metric: Any, answers: Sequence[str], references: Sequence[str]) -> None:
        # sacrebleu has no public way to statistics a sentence; that theirs add up to `corpus_score` is tested.
        self._statistics = np.array(metric._extract_corpus_statistics(answers, [references]))
        self._metric = metric

    def score(self, rows: np.ndarray | None = None) -> float:
        """The corpus figure, 0 to 100 (TER: 0 upwards), of all sentences or of some rows."""
        chosen = self._statistics if rows is None else self._statistics[rows]
        return float(self._metric._compute_score_from_stats(chosen.sum(axis=0).tolist()).score)

    @property
    def signature(self) -> str:
        """What sacrebleu's command prints."""
        return str(self._metric.get_signature())


def scorers(tokenizer: str) -> dict[str, Any]:
    """BLEU, chrF and TER with sacrebleu's defaults; of unspaced scripts TER takes Han and kana one by one."""
    asian = tokenizer != "13a"
    return {
        "bleu": BLEU(tokenize=tokenizer),
        "chrf": CHRF(),
        "ter": TER(normalized=asian, asian_support=asian),
    }


def translation_tokenizer(modality: Modality, real: Sequence[str]) -> str:
    """By the real texts: ``zh`` for Chinese, ``char`` for other scripts without spaces, else ``13a``."""
    tokenizer = tokenizer_of(modality, real)
    chinese = is_text(modality) and tokenizer == "char" and language("".join(real)) == "Chinese"
    return "zh" if chinese else tokenizer
