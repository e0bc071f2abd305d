"""Every extractor states what it takes and does; features depend on nothing else."""

from __future__ import annotations

import pytest

from miaobi.errors import UnknownName, Unsupported
from miaobi.evaluation.extractors import choose, find, names
from miaobi.evaluation.extractors.pixels import Pixels
from tests.evaluation.stand_ins import image, text


@pytest.mark.parametrize("name", names())
def test_every_extractor_states_its_modalities_and_preprocessing(name: str) -> None:
    found = find(name)
    assert found.modalities
    assert len(found.preprocessing) > 20


def test_the_hash_follows_the_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Pixels().hash
    monkeypatch.setattr(Pixels, "preprocessing", "something else")
    assert Pixels().hash != before


def test_a_misspelt_or_unfit_extractor_is_refused() -> None:
    from tests.evaluation.stand_ins import digits

    with pytest.raises(UnknownName, match="pixels"):
        choose("pixel", image(digits(2)))
    with pytest.raises(Unsupported, match="does not take text"):
        choose("pixels", text(["a"]))
