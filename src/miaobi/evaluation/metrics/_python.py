"""What is Python, by the language's own parser; nothing is run."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings

_GOES_ON = frozenset({"else", "elif", "except", "finally"})
_NO_STATEMENT = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER, tokenize.ENCODING})


def is_python(text: str, *, cut: bool, longest: int) -> bool:
    """Whether a text parses, or, where it may be cut off, does so without the last top-level statement that begins."""
    if len(text) > longest:
        return False
    if parses(text):
        return True
    line = last_statement(text) if cut else 0
    return line > 0 and parses("".join(io.StringIO(text).readlines()[:line]))


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


def parses(text: str) -> bool:
    """Whether a text is Python of at least one statement."""
    try:
        with warnings.catch_warnings():
            # A doubtful escape is a warning that must neither be shown nor become an error.
            warnings.simplefilter("ignore")
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Null characters are a ValueError, deep nesting one of the last two.
        return False


def code_lines(text: str) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.split("\n"))
