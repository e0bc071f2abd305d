"""What can go wrong, drawn as a tree.

    MiaobiError
    ├── RequestError            the request was wrong (exit status 2)
    │   ├── UnknownName         a plug-in, figure or catalog name that does not exist
    │   ├── InvalidRecipe       a recipe (or settings) that cannot mean anything
    │   ├── Unsupported         a combination that this model, family or modality cannot do
    │   ├── MissingExtra        an optional dependency is absent
    │   ├── RunFolderError      a run folder that is used, absent, newer or changed
    │   ├── Incomparable        figures that were measured differently
    │   └── DataError           no data, wrong data, or too much of it unreadable
    │       └── UnreadableItem  one file or row; skipped and named
    └── RunFailed               the work itself failed (exit status 1)
        ├── Diverged            NaN or infinity after every rollback
        ├── SaveFailed          a checkpoint or model could not be written
        ├── ExportFailed        what was exported does not compute what the model does
        ├── FetchFailed         a registry or hub could not be reached, or a checksum differs
        ├── HeldBack            a refreshed model that did not pass its gates; nothing was changed
        └── CorruptFile         a saved file is cut short or altered

Every message says what was wrong, what was given, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MiaobiError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        what: what was wrong, as a sentence without a full stop.
        given: the value received, shown with ``repr``; omitted when ``None``.
        allowed: what would have been accepted.
        cure: what to do about it.
    """

    exit_status = 1

    def __init__(
        self,
        what: str,
        *,
        given: object | None = None,
        allowed: str | Iterable[str] | None = None,
        cure: str | None = None,
    ) -> None:
        self.what = what
        self.given = given
        self.allowed = allowed if isinstance(allowed, str) or allowed is None else ", ".join(sorted(allowed))
        self.cure = cure
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole text, one sentence a fact."""
        parts = [self.what]
        if self.given is not None:
            parts.append(f"given: {_shorten(self.given)}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.cure:
            parts.append(f"what to do: {self.cure}")
        return "; ".join(parts)


class RequestError(MiaobiError):
    """The request was wrong; nothing was done."""

    exit_status = 2


class UnknownName(RequestError):
    """A name that was looked up and not found; carries the nearest matches."""

    def __init__(self, kind: str, name: str, known: Iterable[str], cure: str | None = None) -> None:
        known = sorted(known)
        near = nearest(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else None
        super().__init__(
            f"unknown {kind}",
            given=name,
            allowed=known if len(known) <= 40 else [*known[:40], "..."],
            cure="; ".join(part for part in (hint, cure) if part) or None,
        )
        self.nearest = near


class InvalidRecipe(RequestError):
    """A recipe or a settings mapping that cannot mean anything."""


class Unsupported(RequestError):
    """A combination that this model, family, network or modality cannot do."""


class MissingExtra(RequestError):
    """An optional dependency is absent.

    Args:
        needed_for: what asked for it.
        extra: the extra of this package that brings it.
    """

    def __init__(self, needed_for: str, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs packages that are not installed",
            given=f"no extra {extra!r}",
            cure=f"pip install 'miaobi[{extra}]'",
        )
        self.extra = extra


class RunFolderError(RequestError):
    """A run folder that is already used, absent, newer than this version, or of a changed recipe."""


class Incomparable(RequestError):
    """Two figures that were measured differently, so that neither is better.

    Args:
        field: what differs, as the protocol calls it.
        left: its value in the one figure; ``None`` where it does not say.
        right: its value in the other.
    """

    def __init__(self, field: str, left: object, right: object) -> None:
        super().__init__(
            f"the figures do not compare: they differ in {field}",
            given=f"{_shorten(left, 90)} and {_shorten(right, 90)}",
            cure="measure both the same way",
        )
        self.field, self.left, self.right = field, left, right


class DataError(RequestError):
    """No data, wrong data, or more of it unreadable than allowed."""


class UnreadableItem(DataError):
    """One file or row that cannot be read; callers skip and name it."""


class RunFailed(MiaobiError):
    """The work itself failed."""


class Diverged(RunFailed):
    """The loss stayed NaN or infinite after every rollback."""


class SaveFailed(RunFailed):
    """A checkpoint or model could not be written; what was saved before is intact."""


class ExportFailed(RunFailed):
    """What was exported does not compute what the model does; it was removed."""


class FetchFailed(RunFailed):
    """A registry or hub could not be reached, or what it sent has another checksum."""


class HeldBack(RunFailed):
    """A refreshed model that did not pass its gates; the model in use is as before."""


class CorruptFile(RunFailed):
    """A saved file is cut short or altered."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to ``count`` of ``known`` that look like ``name``, best first."""
    return difflib.get_close_matches(str(name), list(known), n=count, cutoff=0.5)


def _shorten(value: object, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
