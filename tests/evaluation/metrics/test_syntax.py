"""What parses, what is cut back and how far, and that nothing harms the measuring process."""

from __future__ import annotations

import ast
import inspect
import warnings

import pytest
from scipy.stats import binomtest

from miaobi.errors import Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics._python import is_python, last_statement
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, text

PROGRAM = """import os

@wraps(f)
def area(r):
    if r < 0:
        raise ValueError("no")
    else:
        return 3.14 * r ** 2

try:
    print(area(2))
except ValueError:
    print('''never
seen''')
"""


def judged(line: str, cut: bool = True) -> bool:
    return is_python(line, cut=cut, longest=1000)


@pytest.mark.parametrize("line", ["x = 1", "lone", "def f():\n    return 1", "print('黄河')"])
def test_whole_programs_parse(line: str) -> None:
    assert judged(line, cut=False)


@pytest.mark.parametrize(
    "line", ["x = = 1", "def f(:", "print 'old'", "", "# a comment", "x = '", "a\x00b", "  x = 1", "x = 1\nif"]
)
def test_what_is_no_program_does_not(line: str) -> None:
    assert not judged(line, cut=False)


@pytest.mark.parametrize(
    ("line", "start"),
    [("x = 1", 0), ("x = 1\ny = (", 1), (PROGRAM, 9), (PROGRAM[: PROGRAM.index("try")], 2), ("a\nb\n'''open\nc\n", 1)],
)
def test_where_the_last_statement_begins(line: str, start: int) -> None:
    assert last_statement(line) == start


def test_every_way_to_cut_a_program_off_is_cut_back_to_its_last_whole_statement() -> None:
    first = PROGRAM.index("@wraps")
    for end in range(first, len(PROGRAM)):
        assert judged(PROGRAM[:end]), PROGRAM[:end]
    # Within the first statement nothing is left to judge.
    assert not judged("import os, (", cut=True)


def test_only_the_last_statement_is_forgiven_and_only_where_it_may_be_cut_off() -> None:
    assert not judged("x = = 1\ny = 2\nz = (")
    assert judged("x = 1\ny = 2\nz = (")
    assert not judged("x = 1\ny = 2\nz = (", cut=False)


def test_the_standard_library_parses_cut_anywhere() -> None:
    source = inspect.getsource(ast)
    body = ast.parse(source).body
    starts = [0, *(sum(map(len, source.splitlines(keepends=True)[: node.lineno - 1])) for node in body)]
    for end in range(starts[2] + 1, len(source), 4999):
        assert is_python(source[:end], cut=True, longest=10**6), source[:end][-200:]


@pytest.mark.parametrize("line", ["(" * 5000, "-" * 50_000 + "1", "1" + "+1" * 9000, "9" * 5000, "x." * 9000 + "y"])
def test_deep_and_long_programs_do_no_harm(line: str) -> None:
    assert is_python(line, cut=True, longest=100_000) in (True, False)
    assert not is_python(line, cut=True, longest=100)


def test_warnings_of_the_parser_are_neither_shown_nor_errors() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert judged(r"x = '\d'; y = x is 1")
    assert not shown


def test_shares_of_samples_and_of_held_out_texts() -> None:
    good, bad = "x = 1", "x = = 1"
    modality = text([good, bad], max_length=50)
    order = iter([0, 1, 0, 0] * 5)
    family = Sampler(modality, [good, bad], pick=lambda seeds: seeds.new_tensor([next(order) for _ in seeds]))
    found = score(context(family, data(modality, [good], [good, bad] * 10)), ["syntax"])["parses"]
    assert (found.value, found.floor) == (0.75, 0.5)
    assert found.interval == pytest.approx(tuple(binomtest(15, 20).proportion_ci(method="wilson")))
    assert "at least one statement" in found.protocol["preprocessing"]


def test_a_sample_of_the_longest_length_may_be_cut_off() -> None:
    line = "x = 1\ny = ("
    for longest, value in ((len(line), 1), (len(line) + 1, 0)):
        modality = text([line, "x"], max_length=longest)
        found = score(context(Sampler(modality, [line]), data(modality, [line], [line])), ["syntax"])
        assert found["parses"].value == value


def test_pictures_are_refused() -> None:
    modality = image(digits(4))
    with pytest.raises(Unsupported, match="syntax does not apply"):
        check(["syntax"], Sampler(modality, digits(4)), modality)


@pytest.mark.parametrize("mark", ["\x0c", "\x1c", "\u2028"])
def test_only_newlines_end_lines(mark: str) -> None:
    whole = f"import os\n{mark if mark == chr(12) else ''}\ndef f():\n    return '{mark}'\n\nx = (1,\n"
    assert is_python(whole, cut=True, longest=10_000)
    assert not is_python(whole, cut=False, longest=10_000)
