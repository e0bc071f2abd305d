"""Word vectors taken out of a model: saliency of a planted word, and what the score is of."""

from __future__ import annotations

import torch

from miaobi.evaluation.understanding._embedded import Embedded
from miaobi.evaluation.understanding._gradients import gradient_x_input, integrated_gradients
from miaobi.families.classifier import Classifier
from miaobi.models import build
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec

TOKENS, PLANTED = 20, 13
TEXT = {"text": Spec(Form.TOKENS, vocabulary=TOKENS, max_length=10), "kind": Spec(Form.LABEL, vocabulary=3)}


def classifier():
    recipe = {"modality": "label", "data": {"source": "none"}, "model": {"family": "classifier", "size": "tiny"}}
    family = build(Recipe.load(recipe), Spec(Form.LABEL, vocabulary=2), TEXT)
    assert isinstance(family, Classifier)
    return family


def texts(rows, generator):
    """Half with the planted word at a random place; it alone decides the class."""
    values = torch.randint(0, TOKENS - 1, (rows, 8), generator=generator)
    values[values == PLANTED] = TOKENS - 1
    labels = torch.arange(rows) % 2
    places = torch.randint(0, 8, (rows,), generator=generator)
    values[torch.arange(rows)[labels == 1], places[labels == 1]] = PLANTED
    kinds = torch.randint(0, 3, (rows,), generator=generator)
    batch = Batch(Field(labels), {"text": Field(values), "kind": Field(kinds)}, ids=torch.arange(rows))
    return batch, places


def trained():
    family, generator = classifier(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(family.parameters(), lr=3e-3)
    for step in range(150):
        batch, _ = texts(64, generator)
        loss = family(batch, "train", seeds_of(step, batch.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
    return family.eval()


def embedded_of(family, batch):
    def copies(rows):
        return {k: f.map(lambda one: one.repeat_interleave(rows, 0)) for k, f in batch.conditions.items()}

    return Embedded(family, lambda rows: family.said(copies(rows), rows).log_softmax(1)[:, [1]])


def test_the_planted_word_has_the_highest_saliency():
    family = trained()
    batch, places = texts(32, torch.Generator().manual_seed(1))
    assert (family.predict(batch.conditions).argmax(1) == batch.target.values).float().mean() > 0.95
    for row in range(1, 12, 2):
        one = embedded_of(family, batch.select(slice(row, row + 1)))
        baseline = one.baseline(lambda looked: torch.zeros(len(looked.tokens), dtype=torch.bool))

        def score(x, one=one):
            return one.score(x)[:, 0]

        (words,) = one.by_word(integrated_gradients(score, one.x, baseline))
        assert int(words.argmax()) == int(places[row]) + 1  # after the start token
        change = score(one.x[None])[0] - score(baseline[None])[0]
        torch.testing.assert_close(words.sum(), change, rtol=0.02, atol=0.02)
        assert one.by_word(gradient_x_input(score, one.x, baseline))[0].shape == words.shape


def test_the_score_of_the_items_own_vectors_is_what_the_family_says():
    family = classifier().eval()
    batch, _ = texts(1, torch.Generator().manual_seed(0))
    one = embedded_of(family, batch)
    says = family.said(batch.conditions, 1).log_softmax(1)[:, [1]]
    torch.testing.assert_close(one.score(one.x[None]), says)
    torch.testing.assert_close(one.score(one.x.expand(4, -1)), says.expand(4, -1))
    # One look-up of a text with its start and end; the label's vector is not a word's.
    assert [len(looked.tokens) for looked in one.looked] == [10]
    assert not any(module._forward_hooks for module in family.modules())


def test_words_that_are_kept_get_nothing():
    family = classifier().eval()
    batch, _ = texts(1, torch.Generator().manual_seed(0))
    one = embedded_of(family, batch)
    kept = torch.arange(10) < 4
    baseline = one.baseline(lambda looked: kept)
    (words,) = one.by_word(gradient_x_input(lambda x: one.score(x)[:, 0], one.x, baseline))
    assert (words[kept] == 0).all()
    assert (words[~kept] != 0).any()
