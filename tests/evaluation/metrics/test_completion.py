"""What is taken out of held-out code, what counts as written in its place, and that nothing cheap passes."""

from __future__ import annotations

import string

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics._passages import ends_of, gaps_of
from miaobi.families.autoregressive import Autoregressive
from miaobi.types import Samples
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text

FUNCTION = "def area(r):\n    if r < 0:\n        raise ValueError(r)\n    # round\n\n    s = r * r\n    return s * 3"
OTHER = "def twice(x):\n    y = x + x\n    return y"


class Writer(Sampler):
    """Writes what it is told after a prefix and into a gap."""

    fills_any_length = True

    def __init__(self, modality, write, fill="\n    pass"):
        super().__init__(modality, ["x"])
        self.modality, self.write, self.fill = modality, write, fill
        self.given: list[str] = []
        self.asked: list[int] = []

    def sample(self, conditions, *, prefix=None, lengths=None, controls=None, seeds):
        self.seen.append(conditions["kind"].values)
        self.asked += seeds.tolist()
        starts = self.modality.split_batch(prefix.values, prefix.lengths)
        texts = [self.modality.decode(start) for start in starts]
        self.given += texts
        made = self.modality.collate([self.modality.encode(one + self.write(one)) for one in texts])
        return Samples(made.values, made.lengths)

    def edit(self, batch, mask, *, controls=None, seeds):
        assert mask.sum(1).eq(1).all()
        rows = []
        for tokens, gap in zip(
            self.modality.split_batch(batch.target.values, batch.target.lengths), mask.nonzero()[:, 1], strict=True
        ):
            before, after = self.modality.decode(tokens[:gap]), self.modality.decode(tokens[gap + 1 :])
            rows.append(self.modality.encode(before + self.fill + after))
        made = self.modality.collate(rows)
        return Samples(made.values, made.lengths)


def scores(write, fill="\n    pass", held=(FUNCTION, OTHER) * 10, **options):
    modality = text([FUNCTION, OTHER, string.printable], max_length=300)
    family = Writer(modality, write, fill)
    made = context(family, data(modality, [FUNCTION], list(held)), **options)
    return family, score(made, ["completion"])


def test_half_of_the_lines_are_given_and_blanks_go_with_what_follows() -> None:
    ((one, other),) = [ends_of([FUNCTION, OTHER], 0.5)]
    assert one.before.endswith("# round")
    assert one.inside == "\n\n    s = r * r\n    return s * 3"
    assert other.before == "def twice(x):\n    y = x + x"
    assert ends_of(["x", "", "\n\n  y"], 0.5) == []
    assert ends_of([OTHER], 0.0)[0].before == "def twice(x):"


LINES = st.lists(st.sampled_from(["x = 1", "    y", "", "  ", "# z"]), min_size=1, max_size=12)


@given(LINES, st.floats(0.01, 0.9), st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_passages_are_the_text_and_never_blank(lines: list[str], share: float, seed: int) -> None:
    whole = "\n".join(lines)
    for one in [*ends_of([whole], share), *gaps_of([whole], share, seed)]:
        assert one.before + one.inside + one.after == whole
        assert one.inside.strip()
        assert one.before == one.before.rstrip() != ""
    for one in gaps_of([whole], share, seed):
        assert one.after.startswith("\n")


def test_gaps_fall_on_every_line_but_the_first_and_the_last() -> None:
    lines = [f"line{i}" for i in range(6)]
    found = {one.inside for seed in range(60) for one in gaps_of(["\n".join(lines)], 0.3, seed)}
    assert found == {f"\nline{i}\nline{i + 1}" for i in range(1, 4)}


def test_shares_are_of_whole_texts() -> None:
    order = iter([True, False] * 10)
    family, found = scores(lambda before: "\n    return 1" if next(order) else "\n    return (")
    one = found["completion_parse"]
    assert (one.value, one.floor) == (0.5, 1.0)
    assert one.interval == pytest.approx(tuple(binomtest(10, 20).proportion_ci(method="wilson")))
    assert one.protocol["samples"] == 20
    assert family.given[1] == "def twice(x):\n    y = x + x"
    assert torch.cat(family.seen).tolist() == [i % 10 for i in range(20)]
    assert len(set(family.asked)) == 20
    assert found["completion_lines"].value == 1
    assert found["completion_lines"].floor == 1.5
    # `pass` in place of a condition leaves its body too deep; a gap that held a comment alone is not asked about.
    assert 0.5 < found["infill_parse"].value < 1
    assert found["infill_parse"].floor == 1
    assert found["infill_parse"].protocol["samples"] < 20
    assert found["infill_exact"].value == 0


@pytest.mark.parametrize("written", ["", "\n", "   ", "\n    # nothing to do", "\n\n    #"])
def test_what_adds_no_code_does_not_count(written: str) -> None:
    _, found = scores(lambda before: written, fill=written or " ")
    assert found["completion_parse"].value == found["infill_parse"].value == 0
    told = found["completion_parse"].protocol["detail"]["parse_with"]
    # Cut in the middle the longer function is open, the shorter one whole; `pass` closes both.
    assert told == {"empty": 1.0, "pass": 1.0}


def test_a_lone_pass_is_short_and_always_the_same() -> None:
    _, found = scores(lambda before: "\n    pass")
    assert found["completion_parse"].value == 1
    assert found["completion_parse_long"].value == 0
    assert found["completion_distinct"].value == 1 / 20
    assert found["completion_distinct"].floor == 2 / 20


def test_a_long_completion_has_its_lines() -> None:
    _, found = scores(lambda before: "\n    a = 1\n    b = 2\n    return a" if "twice" in before else "\n    return 1")
    assert found["completion_parse_long"].value == 0.5
    assert "here 3" in found["completion_parse_long"].protocol["preprocessing"]


def test_a_gap_filled_as_it_was_is_exact() -> None:
    _, found = scores(lambda before: "", fill="\n    y = x + x  ", held=[OTHER] * 12)
    assert found["infill_exact"].value == 1
    assert found["infill_lines"].value == 1
    assert found["infill_exact"].floor is None


def test_code_after_the_gap_counts() -> None:
    _, found = scores(lambda before: "", fill="\n    y = (", held=[OTHER] * 12)
    assert found["infill_parse"].value == 0
    assert found["infill_parse"].protocol["detail"]["parse_with"]["pass"] == 1


def test_a_stop_string_ends_a_completion_and_is_left_out() -> None:
    modality = text([FUNCTION, OTHER, string.printable], max_length=300)
    family = Writer(modality, lambda before: "\n    return 1\n\n# (")
    family.__class__ = type("Stopping", (Writer,), {"Controls": Autoregressive.Controls})
    made = context(family, data(modality, [FUNCTION], [OTHER] * 12), controls={"stop": ["\n\n"]})
    found = score(made, ["completion"])
    assert found["completion_parse"].value == 1
    assert found["infill_parse"].value == 1


def test_families_that_fill_nothing_have_no_infills() -> None:
    modality = text([FUNCTION, OTHER], max_length=300)
    plain = Writer(modality, lambda before: "\n    return y")
    plain.fills_any_length = False  # type: ignore[misc]
    assert not [
        name for name in score(context(plain, data(modality, [OTHER], [OTHER])), ["completion"]) if "fill" in name
    ]


def test_pictures_are_refused() -> None:
    modality = image(digits(4))
    with pytest.raises(Unsupported, match="completion does not apply"):
        check(["completion"], Sampler(modality, digits(4)), modality)


def test_texts_without_lines_to_take_are_refused() -> None:
    lines = sentences(10)
    modality = text(lines)
    with pytest.raises(InvalidRecipe, match="lines of code"):
        score(context(Sampler(modality, lines), data(modality, lines, lines)), ["completion"])
