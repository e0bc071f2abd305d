"""How much of a held-out text's wording is in the generated one: ROUGE-1, ROUGE-2 and ROUGE-L."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field as Value

from miaobi.evaluation.metrics import _rouge_words
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._paired_means import floors, mean, table
from miaobi.evaluation.metrics._pairs import require_pairs, require_source, sources
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|(?<=[。！？])|\n")


class Rouge(Metric):
    """F1 of shared words, of shared pairs of words, and of the longest common subsequence, averaged over samples.

    As rouge_score has it, against the one held-out answer to the same conditions. Its own tokens keep a to z and digits
    only and would drop Chinese whole, so texts with more than a hundredth of other letters are split by this package:
    words of any script, characters where a script has no spaces; the protocol says which.

    Pitfalls. Word overlap rewards copying and misses paraphrase and falsehood. ``first_sentence_rouge_l`` is what the
    first sentence of the text condition scores as the answer, a bar that many news summaries do not clear; it needs
    exactly one text condition, or ``source``. A sentence ends at a full stop, question or exclamation mark before white
    space, at its Chinese form, or at a line's end, so an abbreviation can cut it short.
    """

    class Config(Settings):
        """The metric's options."""

        source: str | None = Value(None, description="the text condition of the baseline; default: the only one")
        stemmer: bool = Value(False, description="Porter's, for English; no effect where this package splits the texts")

    figures: ClassVar[dict[str, Direction]] = {
        "rouge_1": Direction.HIGHER,
        "rouge_2": Direction.HIGHER,
        "rouge_l": Direction.HIGHER,
        "first_sentence_rouge_l": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; '
        'the baseline after the leads of Nallapati et al. 2017, "SummaRuNNer"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text, or the model has no conditions.
        """
        super().check(family, modality)
        require_pairs(name_of(cls), family, modality)

    def check_conditions(self, conditions: Mapping[str, Modality]) -> None:
        require_source(self.config.source, conditions)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: ``source`` is no text condition of the model.
        """
        told = None if context.brief else sources(context, self.config.source)
        real = context.real_items
        tokenizer = _rouge_words.tokenizer_of(real)
        scorer = _rouge_words.scorer(list(_KINDS.values()), tokenizer, self.config.stemmer)

        def of(reference: str, answer: str) -> list[float]:
            found = scorer.score(reference, answer)
            return [found[kind].fmeasure for kind in _KINDS.values()]

        values = table(of, real, context.generated_items)
        lowest = floors(context, of, real, len(_KINDS))
        scores = {
            figure: mean(context, values[:, column], lowest[column], self._protocol(context, figure, tokenizer))
            for column, figure in enumerate(_KINDS)
        }
        if told is not None:
            figure = "first_sentence_rouge_l"
            column = table(of, real, [first_sentence(text) for text in told])[:, -1]
            scores[figure] = mean(context, column, None, self._protocol(context, figure, tokenizer))
        return scores

    def _protocol(self, context: Context, figure: str, tokenizer: str) -> Protocol:
        return self.stamp(
            figure,
            context.sample_stamp(),
            unit="F1, 0 to 1, averaged over samples",
            signature=f"rouge_score:{version('rouge-score')}",
            detail={"tokenizer": tokenizer, "stemmer": self.config.stemmer and tokenizer == "rouge_score"},
        )


def first_sentence(text: str) -> str:
    """What comes before the first end of a sentence, its full stop included; all where there is none."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]
