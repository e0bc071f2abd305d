"""Saliency: which parts of the input a prediction hangs on, by its gradients."""

from __future__ import annotations

from typing import ClassVar

import torch

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.report import Section
from miaobi.evaluation.understanding import _saliency_pictures as of_pictures
from miaobi.evaluation.understanding import _saliency_words as of_words
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.evaluation.understanding._pictures import paragraph
from miaobi.models import Model

_HOW = (
    "Red raises what is said, blue lowers it. Two measures of the same: gradient × input is the slope at the input "
    "times its distance from a baseline that says nothing (Shrikumar et al. 2017); integrated gradients take the mean "
    "slope on the way from that baseline, which adds up to what the prediction changes by "
    "(Sundararajan et al. 2017). How far the sum is off is written beside each. Both are of this model at this input: "
    "they are no causes in the world, and a saturated prediction has small slopes."
)


class Saliency(View):
    """Gradient times input and integrated gradients, over word vectors or pixels, of what is predicted."""

    title: ClassVar[str] = "Saliency"
    paper: ClassVar[str] = (
        'Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks"; '
        'Shrikumar et al. 2017, "Learning important features through propagating activation differences"'
    )

    @classmethod
    def check(cls, model: Model) -> None:
        if of_words.applies(model) or of_pictures.applies(model):
            return
        raise Unsupported(
            "there is no prediction from tokens or of a picture to explain",
            given=f"{type(model.family).__name__} of {model.modality.shown.name}",
            allowed="language models and sequence to sequence with a network, masked language models, classifiers and "
            "regressors of text or pictures, GANs of pictures (their critic)",
            cure="look at such a model, or classify this one's samples with one",
        )

    def look(self, context: Context) -> Finding:
        explain = of_words.explain if of_words.applies(context.model) else of_pictures.explain
        with torch.no_grad():
            body, figures = explain(context)
        body = paragraph(_HOW) + body + paragraph(self.paper, faint=True)
        return Finding((Section(self.title, body),), {"predictions": figures})
