"""Whether generated texts are Python: the share that the language's own parser takes."""

from __future__ import annotations

import ast
import io
import platform
import tokenize
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field as Value

from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._pairs import require_text
from miaobi.evaluation.records import Direction, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    import numpy as np

    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_GOES_ON = frozenset({"else", "elif", "except", "finally"})
_NO_STATEMENT = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER, tokenize.ENCODING})
_RULE = (
    "parsed by `ast` into at least one statement; a text of the longest length, or a stream's window, may be cut off: "
    "where it does not parse, it is judged once more without its last top-level statement, from that one's first line "
    "to the end, and at least one statement must be left; all other texts are judged whole"
)


class Syntax(Metric):
    """The share of samples that parse as Python; nothing is run.

    A sample that ends by itself is judged whole. One that reaches the longest length may be cut off in the middle of a
    statement, so where it does not parse it is judged as cut back to its last complete top-level statement: the last
    one that begins is dropped, once.

    Pitfalls. Parsing is little: a lone word is an expression, and nothing says that names exist or that the program
    does anything; read it beside the likelihood. What parses depends on the version of Python, which is stamped.
    Windows of a stream begin anywhere, in held-out texts too, so a share is only read against its floor.
    """

    class Config(Settings):
        """The metric's options."""

        longest: int = Value(20_000, ge=1, le=100_000, description="characters; a longer text counts as not parsing")

    figures: ClassVar[dict[str, Direction]] = {"parses": Direction.HIGHER}
    paper: ClassVar[str] = (
        'the share of valid programs as in Poesia et al. 2022, "Synchromesh: Reliable Code Generation from Pre-trained '
        "Language Models\"; the parser is Python's own"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text.
        """
        super().check(family, modality)
        require_text(name_of(cls), modality)

    def compute(self, context: Context) -> dict[str, Score]:
        """One figure, 0 to 1; the floor is the held-out items' share."""
        right = self._right(context, context.generated)
        protocol = self.stamp(
            "parses",
            context.sample_stamp(),
            unit="share of samples",
            preprocessing=_RULE,
            interval_method="95 %, Wilson",
            floor_method="the same share of the held-out items",
            floor_samples=context.count,
            detail={"python": ".".join(platform.python_version_tuple()[:2]), "longest": self.config.longest},
        )
        floor = self._right(context, context.real) / context.count
        return {"parses": Score(right / context.count, share(right, context.count), floor, protocol)}

    def _right(self, context: Context, arrays: Sequence[np.ndarray]) -> int:
        limit = _cut_at(context)
        return sum(
            is_python(str(context.modality.decode(array)), cut=len(array) >= limit, longest=self.config.longest)
            for array in arrays
        )


def is_python(text: str, *, cut: bool, longest: int) -> bool:
    """Whether a text parses, or, where it may be cut off, does so without the last top-level statement that begins."""
    if len(text) > longest:
        return False
    if _parses(text):
        return True
    line = last_statement(text) if cut else 0
    return line > 0 and _parses("".join(io.StringIO(text).readlines()[:line]))


def last_statement(text: str) -> int:
    """Lines before the last top-level statement that begins, however it ends; 0 where there are none."""
    line, depth, fresh, decorated = 0, 0, True, False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.INDENT, tokenize.DEDENT):
                depth += 1 if token.type == tokenize.INDENT else -1
            elif token.type == tokenize.NEWLINE:
                fresh = True
            elif fresh and token.type not in _NO_STATEMENT:
                fresh = False
                if depth == 0 and not _goes_on(token, text):
                    line = line if decorated else token.start[0] - 1
                    decorated = token.string == "@"
    except (tokenize.TokenError, SyntaxError):
        # It ends in the middle of a string or a bracket, or is no Python: what began before that has been seen.
        pass
    return line


def _goes_on(token: tokenize.TokenInfo, text: str) -> bool:
    """Whether a line that begins with ``token`` belongs to the statement before it; a text may end within the word."""
    if token.start[0] <= text.count("\n"):
        return token.string in _GOES_ON
    last = text.rpartition("\n")[2]
    return token.string in _GOES_ON or any(word.startswith(last) for word in _GOES_ON)


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            # A doubtful escape is a warning that must neither be shown nor become an error.
            warnings.simplefilter("ignore")
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Null characters are a ValueError, deep nesting one of the last two.
        return False


def _cut_at(context: Context) -> float:
    """Tokens from which on a text may be cut off."""
    spec = context.modality.spec
    asked: Any = context.controls.to_json().get("max_length")
    return 0 if spec.stream else min(spec.max_length, asked or spec.max_length)
