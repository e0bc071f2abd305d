"""Sounds with a text that is spoken in them, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from miaobi import modalities
from miaobi.evaluation import Context
from miaobi.modalities._waveform import Sound
from miaobi.models import Model
from tests.evaluation.pairs import NAME, Answers, PairedRows
from tests.evaluation.stand_ins import Data, text


def spoken(
    answers: Sequence[Sound],
    real: Sequence[Sound],
    told: Sequence[str | None],
    more: Sequence[str] = (),
    **options: Any,
) -> Context:
    """A context whose generated sounds are ``answers``, beside ``real`` ones of the texts ``told``."""
    longest = max(sound.seconds for sound in [*answers, *real])
    modality = modalities.create({"name": "speech", "loudness": None, "trim": None, "seconds": longest})
    modality.fit(list(real))
    texts: dict[str, Sequence[Any]] = {NAME: told, **({"more": more} if more else {})}
    conditions = {
        name: text([one for one in given if one is not None], max_length=1000) for name, given in texts.items()
    }
    held = PairedRows("validation", list(real), modality, texts)
    prepared = Data(modality, held, held, held, conditions)
    family = Answers(modality, answers, conditions)  # type: ignore[arg-type]
    return Context(Model(family, modality, conditions), prepared, part="validation", **options)  # type: ignore[arg-type]
