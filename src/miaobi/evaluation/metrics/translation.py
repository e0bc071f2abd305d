"""How near generated texts are to the held-out answers to the same conditions: BLEU, chrF and TER."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field as Value

from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._pairs import neighbours, require_pairs, require_source, sources
from miaobi.evaluation.metrics._sacrebleu import Corpus, scorers, translation_tokenizer
from miaobi.evaluation.metrics._words import one_line
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_PAPERS = {
    "bleu": 'Papineni et al. 2002, "BLEU"; by sacrebleu (Post 2018)',
    "chrf": 'Popovic 2015, "chrF"; by sacrebleu (Post 2018)',
    "ter": 'Snover et al. 2006, "A Study of Translation Edit Rate"; by sacrebleu (Post 2018)',
}
_UNITS = {
    "bleu": "BLEU of the corpus, 0 to 100",
    "chrf": "chrF2 of the corpus, 0 to 100",
    "ter": "edits a hundred reference words, 0 upwards",
}


class Translation(Metric):
    """Corpus BLEU, chrF2 and TER of samples against the held-out answers to the same conditions, one reference each.

    BLEU counts words in runs of up to four, chrF characters in runs of up to six, TER the edits and moves of words that
    turn a sample into the answer. Each text is one line, and figures are those of sacrebleu's command on these lines.

    Pitfalls. BLEU depends on the tokenizer, which the real texts choose (``zh`` for Chinese, ``char`` for other scripts
    without spaces, else ``13a``): compare only equal signatures. One reference calls other right answers wrong. Where
    source and answer are of one language, copying the source scores well: ``copy_bleu`` and ``copy_chrf`` say how
    well; they need exactly one text condition, or ``source``. TER takes seconds a text where long texts have little
    in common, so it is of fewer samples; it splits Chinese and Japanese into characters, but no other unspaced script.
    """

    class Config(Settings):
        """The metric's options."""

        source: str | None = Value(None, description="the text condition that is copied; default: the only one")
        ter_samples: int = Value(200, ge=1, le=10**6, description="evenly spaced; TER takes up to seconds a text")

    figures: ClassVar[dict[str, Direction]] = {
        "bleu": Direction.HIGHER,
        "chrf": Direction.HIGHER,
        "ter": Direction.LOWER,
        "copy_bleu": Direction.NEITHER,
        "copy_chrf": Direction.NEITHER,
    }
    paper: ClassVar[str] = "; ".join(_PAPERS.values())
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
        copied = None if context.brief else sources(context, self.config.source)
        answers, real = ([one_line(item) for item in side] for side in (context.generated_items, context.real_items))
        tokenizer = translation_tokenizer(context.modality, real)
        scores = {figure: self._score(context, figure, answers, real, tokenizer) for figure in _PAPERS}
        if copied is not None:
            lines = [one_line(text) for text in copied]
            scores |= {f"copy_{name}": self._copied(context, name, lines, real, tokenizer) for name in ("bleu", "chrf")}
        return scores

    def _score(
        self, context: Context, figure: str, answers: Sequence[str], real: Sequence[str], tokenizer: str
    ) -> Score:
        rows = spaced(context.count, self.config.ter_samples) if figure == "ter" else range(context.count)
        chosen, references = [answers[row] for row in rows], [real[row] for row in rows]
        corpus = Corpus(scorers(tokenizer)[figure], chosen, references)
        # TER of unrelated texts is what takes so long.
        others = None if context.brief or figure == "ter" else neighbours(references)
        floor = None if others is None else Corpus(scorers(tokenizer)[figure], others, references).score()
        interval = None if context.brief else bootstrap(len(chosen), context.seed, corpus.score)
        protocol = self._protocol(context, figure, figure, corpus) | Protocol(
            samples=len(chosen),
            interval_method="95 %, percentiles of 1,000 resamples of sentences",
            floor_method="none" if floor is None else "each held-out answer against another item's",
            floor_samples=0 if floor is None else len(chosen),
        )
        return Score(corpus.score(), interval, floor, protocol)

    def _copied(self, context: Context, name: str, copied: Sequence[str], real: Sequence[str], tokenizer: str) -> Score:
        corpus = Corpus(scorers(tokenizer)[name], copied, real)
        interval = bootstrap(context.count, context.seed, corpus.score)
        protocol = self._protocol(context, f"copy_{name}", name, corpus) | Protocol(
            interval_method="95 %, percentiles of 1,000 resamples of sentences",
            floor_method="none: the text condition itself as the answer, whatever the model does",
        )
        return Score(corpus.score(), interval, None, protocol)

    def _protocol(self, context: Context, figure: str, kind: str, corpus: Corpus) -> Protocol:
        common = context.sample_stamp()
        return self.stamp(figure, common, paper=_PAPERS[kind], unit=_UNITS[kind], signature=corpus.signature)
