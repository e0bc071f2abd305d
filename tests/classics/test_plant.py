"""The planted mistakes stay plantable; planting them all takes minutes and is a command of its own."""

import ast

import pytest

from tests.classics.mistakes import MISTAKES
from tests.classics.plant import ROOT, planted


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_still_has_its_place_and_its_test(mistake):
    ast.parse(planted(mistake))
    file, _, test = mistake.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / "tests" / "classics" / file).read_text(encoding="utf-8")


def test_the_document_lists_every_mistake():
    text = (ROOT / "docs" / "classics.md").read_text(encoding="utf-8")
    assert [mistake.name for mistake in MISTAKES if mistake.name not in text] == []
