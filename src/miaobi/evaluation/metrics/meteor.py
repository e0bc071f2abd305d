"""How near generated English is to the held-out answers, word by word, with stems and synonyms: METEOR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._paired_means import floors, mean, table
from miaobi.evaluation.metrics._pairs import require_pairs
from miaobi.evaluation.metrics._words import tokenizer_of
from miaobi.evaluation.records import Direction, Score
from miaobi.plugins import name_of
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_LOOKED_FOR = "corpora/wordnet/lexnames"


class Meteor(Metric):
    """METEOR of each sample against the held-out answer to the same conditions, averaged over samples.

    Words are aligned where they are equal, have one stem (Porter's) or share a synset of WordNet; the figure is a mean
    of precision and recall, nine parts recall, less up to a half for alignments in many pieces. As NLTK has it, with
    its defaults (alpha 0.9, beta 3, gamma 0.5), in lower case, on words by its own tokenizer (Penn Treebank's rules).

    Pitfalls. For English only. NLTK's figures are not those of the METEOR 1.5 program, which has other weights and
    paraphrase tables; it looks stems up in WordNet, so synonyms of a word whose stem is no word are not found. It
    needs NLTK's WordNet data, which is looked for on this machine and never fetched.
    """

    figures: ClassVar[dict[str, Direction]] = {"meteor": Direction.HIGHER}
    paper: ClassVar[str] = (
        'Lavie and Agarwal 2007, "METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with '
        'Human Judgments"; WordNet: Miller 1995'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text, the model has no conditions, or WordNet's data is not installed.
        """
        super().check(family, modality)
        require_pairs(name_of(cls), family, modality)
        _require_wordnet()

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Unsupported: the held-out texts are of a script without spaces, or WordNet's data is absent or damaged.
        """
        real = context.real_items
        if tokenizer_of(context.modality, real) != "13a":
            raise Unsupported("METEOR is for English here", given="held-out texts of a script without spaces")
        answers = context.generated_items
        with open_wordnet() as wordnet:

            def of(reference: str, answer: str) -> list[float]:
                return [score(reference, answer, wordnet)]

            values = table(of, real, answers)[:, 0]
            (floor,) = floors(context, of, real, 1)
            release = str(wordnet.get_version())
        protocol = self.stamp(
            "meteor",
            context.sample_stamp(),
            unit="METEOR, 0 to 1, averaged over samples",
            signature=f"nltk:{version('nltk')}|alpha:0.9|beta:3|gamma:0.5|case:lc|stem:porter|wordnet:{release}",
            detail={"wordnet": release, "tokenizer": "nltk.tokenize.NLTKWordTokenizer"},
        )
        return {"meteor": mean(context, values, floor, protocol)}


def score(reference: str, answer: str, wordnet: Any) -> float:
    """METEOR of one answer, 0 to 1; ``wordnet`` is anything with WordNet's ``synsets(word)``."""
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    words = NLTKWordTokenizer().tokenize
    return float(single_meteor_score(words(reference), words(answer), wordnet=wordnet))


@contextmanager
def open_wordnet() -> Iterator[Any]:
    """NLTK's reader of WordNet; what it opens is closed at the end, which it does not do itself.

    Raises:
        Unsupported: the data is absent or damaged.
    """
    from nltk.corpus import CorpusReader, LazyCorpusLoader, WordNetCorpusReader

    _require_wordnet()
    with ExitStack() as opened:

        class Reader(WordNetCorpusReader):
            def open(self, file: str) -> Any:
                return opened.enter_context(closing(super().open(file)))

        # The second loader, of other languages, is never used: the reader warns where it is missing.
        others = LazyCorpusLoader("omw-2.0", CorpusReader, r".*/wn-data-.*\.tab", encoding="utf8")
        reader = LazyCorpusLoader("wordnet", Reader, others)
        try:
            reader.ensure_loaded()
        except (LookupError, OSError, ValueError, AssertionError) as error:
            raise _absent(f"data that cannot be read: {error!r}") from None
        yield reader


def _require_wordnet() -> None:
    import nltk.data

    try:
        nltk.data.find(_LOOKED_FOR)
    except LookupError:
        raise _absent(f"no {_LOOKED_FOR} in {nltk.data.path}") from None


def _absent(given: str) -> Unsupported:
    return Unsupported(
        "METEOR needs NLTK's WordNet data",
        given=given,
        cure="python -m nltk.downloader wordnet, or set NLTK_DATA to a folder that has it",
    )
