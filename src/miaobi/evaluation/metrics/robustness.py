"""How often a classifier is still right when what it reads is perturbed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Value
from pydantic import model_validator

from miaobi.errors import Unsupported
from miaobi.evaluation import extractors
from miaobi.evaluation.context import chunks, spaced
from miaobi.evaluation.extractors import stored_features
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._detection import auc, nearest, nearest_texts
from miaobi.evaluation.metrics._intervals import bootstrap, share
from miaobi.evaluation.metrics._perturbed import Perturbed, Reads, tensors, texts
from miaobi.evaluation.metrics._words import is_text
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.families import require
from miaobi.modalities import Item, Modality
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family

Level = Annotated[float, Value(gt=0, le=255)]
Kind = Literal["swap", "delete", "lookalike"]


class Robustness(Metric):
    """A classifier's accuracy on held-out items as they are, and when an adversary changes what it reads.

    Tensors (images, sound, video) are changed by projected gradient descent within ``epsilon`` levels of 255 in the
    maximum norm, up the cross-entropy that the family learns by; texts by ``edits`` single characters, greedily and at
    random. An adversary of some strength may also use less, so accuracy never rises with strength. ``noise_accuracy``
    is after one random change of the same size. ``detail.curve`` has all strengths, with intervals.

    ``detection_auc`` says whether the distance to the nearest training item, in named features, tells the attacked
    items of the named strength from the clean ones: 1 always, 0.5 not at all.

    Pitfalls. These are upper bounds: a better adversary may find more. Where noise does more than the attack, or where
    accuracy does not fall to nought at large strengths, gradients are masked and the attack means little (Athalye et
    al. 2018, "Obfuscated gradients give a false sense of security"). No adversary here knows of the detector.
    """

    class Config(Settings):
        """The metric's options."""

        epsilon: Level = Value(8.0, description="tensors: the named strength, in levels of 255")
        epsilons: list[Level] = Value([1.0, 2.0, 4.0, 16.0, 32.0], max_length=20, description="the curve's others")
        steps: int = Value(20, ge=1, le=1000, description="tensors: of the gradient")
        edits: int = Value(2, ge=1, le=20, description="texts: the named strength, in characters")
        most_edits: int = Value(4, ge=1, le=20, description="texts: where the curve ends")
        kinds: list[Kind] = Value(["swap", "delete", "lookalike"], min_length=1, description="texts: of edits")
        tries: int = Value(8, ge=1, le=1000, description="texts: candidates of each greedy edit, and random sequences")
        most: int = Value(300, ge=2, le=10_000, description="held-out items looked at, evenly spaced")
        training: int = Value(2000, ge=2, le=100_000, description="training items that distances are measured to")

        @model_validator(mode="after")
        def _on_the_curve(self) -> Self:
            if self.edits > self.most_edits:
                raise ValueError(f"edits {self.edits} is beyond most_edits {self.most_edits}")
            return self

    figures: ClassVar[dict[str, Direction]] = {
        "robust_accuracy": Direction.HIGHER,
        "clean_accuracy": Direction.HIGHER,
        "noise_accuracy": Direction.HIGHER,
        "detection_auc": Direction.HIGHER,
    }
    paper: ClassVar[str] = (
        'Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks"; texts: Belinkov and Bisk '
        '2018, "Synthetic and natural noise both break neural machine translation", and Pruthi et al. 2019'
    )
    ability: ClassVar[type[Any]] = Reads
    forms: ClassVar[frozenset[Form]] = frozenset({Form.LABEL})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn", "scipy")

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the family classifies nothing that it reads.
        """
        super().check(family, modality)
        require(family, Reads, "the metric robustness")

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a logit is not finite.
            Unsupported: what is read is neither a tensor nor a text, or has no features.
            MissingExtra: the package of its features is absent.
        """
        family = require(context.model.family, Reads, "the metric robustness")
        modality = context.model.conditions[family.read]
        distances, features = self._distances(context, family.read, modality)
        rows = spaced(len(context.held), min(self.config.most, context.count) if context.brief else self.config.most)
        found = (texts if is_text(modality) else tensors)(context, family, rows, self.config)
        strength = float(self.config.edits if is_text(modality) else self.config.epsilon)
        own = Protocol(
            samples=len(rows),
            seed=context.seed,
            unit=_unit(modality),
            preprocessing=f"{family.read}: {modality.name} as the model reads it",
            detail=self._detail(found, strength, modality),
        )
        common = context.stamp() | own
        scores = self._accuracies(found, strength, common)
        if not context.brief:
            scores["detection_auc"] = self._detection(context, found, distances, common | features)
        return scores

    def _accuracies(self, found: Perturbed, strength: float, common: Protocol) -> dict[str, Score]:
        at, count = found.strengths.index(strength), found.robust.shape[1]
        sides = {
            "robust_accuracy": found.robust[at],
            "clean_accuracy": found.robust[0],
            "noise_accuracy": found.random[at],
        }
        return {
            figure: Score(
                float(right.mean()),
                share(int(right.sum()), count),
                None,
                self.stamp(
                    figure,
                    common,
                    interval_method="95 %, Wilson",
                    floor_method="none: read it beside clean_accuracy and noise_accuracy",
                ),
            )
            for figure, right in sides.items()
        }

    def _detail(self, found: Perturbed, strength: float, modality: Modality) -> dict[str, Any]:
        count = found.robust.shape[1]
        curve = [
            {
                "strength": one,
                "robust": float(robust.mean()),
                "robust_interval": list(share(int(robust.sum()), count)),
                "noise": float(noise.mean()),
                "noise_interval": list(share(int(noise.sum()), count)),
            }
            for one, robust, noise in zip(found.strengths, found.robust, found.random, strict=True)
        ]
        attack = "greedy and random edits" if is_text(modality) else "projected gradient descent, maximum norm"
        return {
            "attack": attack,
            "strength": strength,
            "curve": curve,
            "noise_beats_attack": bool((found.random.mean(axis=1) < found.robust.mean(axis=1)).any()),
        }

    def _distances(
        self, context: Context, name: str, modality: Modality
    ) -> tuple[Callable[[list[Item]], np.ndarray], Protocol]:
        """How far items are from the nearest of the training items, and what the protocol says of that."""
        train = context.prepared.train
        if is_text(modality):
            features = Protocol(signature="cosine of TF-IDF weighted 1- to 3-grams of characters")
            known = map(str, _read(train, name, modality, spaced(len(train), self.config.training)))
            return lambda items: nearest_texts(items, list(known)), features
        if modality.form is not Form.TENSOR:
            raise Unsupported("robustness is of texts and tensors that are read", given=modality.name)
        extractor = extractors.choose(context._extractor, modality)

        rows = spaced(len(train), self.config.training)
        key = [context.prepared.fingerprint, train.part, rows, name, modality.config.to_json()]

        def of(items: list[Item]) -> np.ndarray:
            parts = (_read(train, name, modality, chosen) for chosen in chunks(rows, context.batch_rows))
            known = stored_features(extractor, key, (part for part in parts if part))
            return nearest(np.concatenate([extractor(part) for part in chunks(items, context.batch_rows)]), known)

        return of, Protocol(
            extractor=extractor.name, extractor_hash=extractor.hash, preprocessing=extractor.preprocessing
        )

    def _detection(
        self, context: Context, found: Perturbed, distances: Callable[[list[Item]], np.ndarray], common: Protocol
    ) -> Score:
        clean, attacked = np.split(distances([*found.clean, *found.attacked]), 2)
        protocol = self.stamp(
            "detection_auc",
            common,
            interval_method="95 %, percentiles of 1,000 resamples of items, both versions of each together",
            floor_method="every other clean item against the rest",
            floor_samples=len(clean) // 2,
        )
        interval = bootstrap(len(clean), context.seed, lambda rows: auc(attacked[rows], clean[rows]))
        return Score(auc(attacked, clean), interval, auc(clean[1::2], clean[::2]), protocol)


def _unit(modality: Modality) -> str:
    return "share of items; strength in " + (
        "edited characters" if is_text(modality) else "levels of 255, maximum norm"
    )


def _read(train: Any, name: str, modality: Modality, rows: Sequence[int]) -> list[Item]:
    """Training items of a condition as the model reads them; absent ones left out."""
    items = train.condition_items(name, rows)
    return [modality.decode(modality.encode(item)) for item in items if item is not None]
