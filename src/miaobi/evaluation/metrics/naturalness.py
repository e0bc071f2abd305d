"""What listeners would say of the quality of generated speech, as a network estimates it: DNSMOS P.835."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import Unsupported
from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._dnsmos import RATE, SHA256, Dnsmos, require
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Item, Modality

_ASKED_BY = "the metric naturalness"
_PREPROCESSING = (
    f"resampled to {RATE} Hz; doubled until it lasts 9.01 s; windows of 9.01 s, one a second, averaged for each sound"
)


class Naturalness(Metric):
    """Estimated mean opinion scores, about 1 (bad) to 5 (excellent), of the speech itself, of how little the background
    disturbs, and overall, averaged over samples. The floor is what the held-out recordings get.

    Pitfalls. The network learned from listeners' answers about noisy recordings and about noise suppression, not about
    synthesis: it hears noise, distortion and a narrow band, and neither a wrong word nor a flat tone of voice. It is a
    machine's estimate, not people's, and English was most of what it learned from. Recordings of 8 kHz score low
    however clean, so read it beside the floor. One good sample repeated scores well.
    """

    class Config(Settings):
        """The metric's options."""

        most: int = Value(100, ge=2, le=10_000, description="samples judged, evenly spaced")

    figures: ClassVar[dict[str, Direction]] = {
        "dnsmos_overall": Direction.HIGHER,
        "dnsmos_speech": Direction.HIGHER,
        "dnsmos_background": Direction.HIGHER,
    }
    paper: ClassVar[str] = (
        'Reddy, Gopal and Cutler 2022, "DNSMOS P.835: A non-intrusive perceptual objective speech quality metric to '
        'evaluate noise suppressors"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "soxr", "speechmos")

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is no sound.
            MissingExtra: the packages of the extra ``speech-metrics`` are absent.
        """
        super().check(family, modality)
        if modality.shown.name != "speech":
            raise Unsupported(f"{_ASKED_BY} is of sound", given=modality.shown.name, cure="leave the metric out")
        require(_ASKED_BY)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            MissingExtra: the packages of the extra ``speech-metrics`` are absent.
            FetchFailed: their weight file has another checksum.
        """
        judge = Dnsmos(_ASKED_BY)
        rows = spaced(context.count, self.config.most)
        generated = opinions(judge, [context.generated_items[row] for row in rows])
        real = None if context.brief else opinions(judge, [context.real_items[row] for row in rows]).mean(axis=0)
        scores = {}
        for figure, column in (("dnsmos_overall", 2), ("dnsmos_speech", 0), ("dnsmos_background", 1)):
            values = generated[:, column].tolist()
            floor = None if real is None else float(real[column])
            scores[figure] = Score(
                float(np.mean(values)), of_mean(values), floor, self._protocol(context, figure, len(rows))
            )
        return scores

    def _protocol(self, context: Context, figure: str, count: int) -> Protocol:
        return self.stamp(
            figure,
            context.sample_stamp() | Protocol(samples=count),
            unit="estimated mean opinion score, about 1 to 5",
            extractor="DNSMOS P.835",
            extractor_hash=SHA256[:16],
            preprocessing=_PREPROCESSING,
            interval_method="95 %, Student's t over samples",
            floor_method="the same figure of the held-out items",
            floor_samples=count,
            detail={"judge": "machine judge, not people"},
        )


def opinions(judge: Dnsmos, items: list[Item]) -> np.ndarray:
    """``float64 [n, 3]``: speech, background and overall of each sound."""
    # A sound so short that nothing is left at this rate is silence.
    floats = (item.at(RATE) for item in items)
    return np.stack([judge(one if len(one) else np.zeros(1, np.float32)) for one in floats])
