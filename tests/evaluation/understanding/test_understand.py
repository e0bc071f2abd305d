"""The face of the views: what applies, what is refused, and the command."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from miaobi import training
from miaobi.cli._app import run as command
from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.evaluation.understanding import find, names, understand
from miaobi.evaluation.understanding._items import held_out
from miaobi.evaluation.understanding.latent_traversal import LatentTraversal
from miaobi.evaluation.understanding.neighbours import Neighbours
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.types import Field, Form, Samples
from tests.evaluation.stand_ins import Sampler, context, data, digits, image
from tests.support.worlds import recipe

EVERY = ["attention", "context_length", "latent_traversal", "neighbours", "saliency"]


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("understanding")
    made = recipe("autoregressive", Form.TOKENS, folder, steps=10, evaluate_every=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIAOBI_CACHE", str(folder / "cache"))
        return training.train(Recipe.load(made), run=folder / "run", progress=False).run


def test_every_view_is_found_and_says_where_it_comes_from():
    assert names() == EVERY
    for name in names():
        assert find(name).name() == name
        assert re.search(r"\d{4}", find(name).paper)
        assert find(name).title


def test_a_view_by_name_is_the_only_one(run):
    seen = understand(run, views=["context-length"], items=2)
    assert list(seen.found) == ["context_length"]
    assert not seen.left_out
    assert json.dumps(seen.to_json())


def test_a_view_that_does_not_apply_is_named_with_its_reason_or_refused(run):
    seen = understand(run, items=1)
    assert list(seen.left_out) == ["latent_traversal"]
    assert "this family has no latent" in seen.page()
    with pytest.raises(Unsupported, match="vae"):
        understand(run, views=["latent_traversal"])


def test_wrong_requests(run):
    with pytest.raises(UnknownName, match="saliency"):
        understand(run, views=["salience"])
    for items in (0, 101):
        with pytest.raises(InvalidRecipe, match="1 to 100"):
            understand(run, items=items)


def test_the_attention_that_is_shown_is_of_words(run):
    page = understand(run, views=["attention"], items=1).page()
    for expected in ("⟨begin⟩", "⟨title⟩", "Jain and Wallace 2019", "rollout", "layer 1, head 1", "Generated item 1"):
        assert expected in page


def test_saliency_adds_up_and_looks_at_nothing_that_comes_later(run):
    for one in understand(run, views=["saliency"], items=3).found["saliency"].figures["predictions"]:
        change = one["value"] - one["value_at_baseline"]
        assert one["attributed"] == pytest.approx(change, rel=0.02, abs=0.005)
        (values,) = one["integrated_gradients"]
        (words,) = one["words"]
        assert len(values) == len(words)
        # A special token is in the baseline as it is.
        assert all(value == 0 for value, word in zip(values, words, strict=True) if word.startswith("⟨"))


def test_the_command_writes_the_page(run, tmp_path, capfd):
    assert command(["show", str(run), "--understand", "--view", "neighbours", "--items", "2", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["page"] == str(run / "understanding.html")
    assert (run / "understanding.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(answer["views"]["neighbours"]["generated"]) == 2
    page = tmp_path / "new" / "page.html"
    assert command(["show", str(run), "--understand", "--view", "attention", "--items", "1", "-o", str(page)]) == 0
    assert "attention" in capfd.readouterr().out
    assert page.exists()
    assert command(["show", str(run), "--understand", "--view", "latent_traversal"]) == 2
    assert "what to do" in capfd.readouterr().err
    assert command(["show", "gan", "--view", "attention"]) == 2
    assert "--understand" in capfd.readouterr().err


class _Drawn(Sampler):
    """Of three numbers the last moves all pixels by 0.1, the second half of them by as much, the first none."""

    def latents(self, seeds):
        return torch.zeros(len(seeds), 3)

    def from_latents(self, z, conditions, *, controls=None, seeds):
        assert len(conditions["kind"]) == len(z) == len(seeds)
        moved = torch.zeros(len(z), 1, 8, 8)
        moved += 0.1 * z[:, 2].view(-1, 1, 1, 1)
        moved[..., :4] += 0.1 * z[:, 1].view(-1, 1, 1, 1)
        return Samples(moved)


class _Inferred(Sampler):
    """Latent: the mean of the left half, that of the right half (a tenth of it), and nothing."""

    def encode(self, batch, *, seeds=None):
        x = batch.target.values[:, 0]
        mean = torch.stack([x[..., :4].mean((1, 2)), 0.1 * x[..., 4:].mean((1, 2)), 0 * x.mean((1, 2))], 1)
        return Field(mean)

    def decode(self, z, conditions, *, controls=None, seeds):
        values = torch.zeros(len(z), 1, 8, 8) + z.values[:, 0].view(-1, 1, 1, 1)
        return Samples(values)


def world(kind):
    items = digits(80)
    prepared = data(image(items), items[:60], items[60:])
    return context(kind(prepared.modality, items[:5]), prepared, count=4)


def test_traversal_of_draws_takes_the_numbers_that_change_most():
    figures = LatentTraversal().look(world(_Drawn)).figures
    assert list(figures["activity"]) == ["2", "1", "0"]
    assert list(figures["activity"].values()) == pytest.approx([0.6, 0.3, 0.0], abs=1e-6)


def test_traversal_of_posteriors_takes_those_that_vary_most_and_moves_one_at_a_time():
    seen = world(_Inferred)
    finding = LatentTraversal().look(seen)
    assert list(finding.figures["activity"]) == ["0", "1", "2"]
    assert finding.figures["activity"]["2"] == 0
    rows = re.findall(r"<tr>(.*?)</tr>", finding.sections[0].body)[1:]
    pictures = [re.findall(r"base64,([^\"]+)", row) for row in rows]
    # The first number changes every picture; the others change none, and leave the item's own.
    assert len(set(pictures[0])) == 7
    assert len({picture for row in pictures[1:] for picture in row}) == 1
    batch = held_out(seen, 0)
    own = seen.model.family.decode(seen.model.family.encode(batch), {}, seeds=None).values
    array = seen.modality.split_batch(own, None)[0]
    assert pictures[1][0] in seen.modality.html(seen.modality.decode(array))


def test_neighbours_find_copies_and_their_originals():
    items = digits(80)
    prepared = data(image(items), items[:60], items[60:])
    seen = context(Sampler(prepared.modality, items[:5]), prepared, count=6)
    figures = Neighbours().look(seen).figures
    assert figures["generated"] == pytest.approx([0] * 6, abs=1e-6)
    assert min(figures["held_out"]) > 0.1
    assert figures["training"] == 60


def test_classes_have_no_neighbours():
    from miaobi import modalities

    label = modalities.create("label")
    label.fit(["a", "b"])
    with pytest.raises(Unsupported, match="class"):
        Neighbours.check(Model(Sampler(label, ["a", "b"]), label))


def test_the_special_tokens_of_each_layout_are_named():
    from miaobi.evaluation.understanding._words import of_family
    from tests.evaluation.stand_ins import text

    modality = text(["ab c", "b"])
    model = Model(Sampler(modality, ["b"]), modality)
    spell = of_family(model)
    size = modality.spec.vocabulary
    assert [spell(size + i).text for i in range(3)] == ["⟨mask⟩", "⟨start⟩", "⟨end⟩"]
    tokens = modality.encode("ab c").tolist()
    assert [spell(token).text for token in tokens] == ["a", "b", " ", "c"]
    assert spell(tokens[2]).label == "␣"
    assert not spell(tokens[2]).special
    assert np.array(tokens).dtype == np.int64
