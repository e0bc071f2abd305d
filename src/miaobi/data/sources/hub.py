"""Data sets of the Hugging Face hub, through ``datasets``; no code of theirs is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from miaobi.data.sources._base import Problem, Record, Source, digest
from miaobi.data.sources._files import Located
from miaobi.data.sources.folder import PART_NAMES
from miaobi.errors import DataError, FetchFailed

_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?(:(?P<config>[\w.-]+))?")
_ROWS = 128


class HubSource(Source):
    """Rows of every split of ``NAME[@revision][:config]``, in a column ``split`` which one.

    Args:
        name: after ``hub:``.

    Raises:
        DataError: not such a name.
        FetchFailed: the hub could not be reached, or has no such data set.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"hub:{name}")
        match = _NAME.fullmatch(name)
        if match is None:
            raise DataError(
                "not a hub data set", given=name, allowed="NAME or OWNER/NAME, then @REVISION, then :CONFIG"
            )
        self._parts = match.groupdict()

    @property
    def columns(self) -> Sequence[str]:
        names = dict.fromkeys(name for part in self._splits.values() for name in part.column_names)
        return list(dict.fromkeys([*names, "split"]))

    @property
    def split(self) -> Mapping[str, Any] | None:
        known = {PART_NAMES.get(name) for name in self._splits}
        return {"by": "given"} if len(known) > 1 and known <= {"train", "validation", "test"} else None

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        wanted = self.columns if columns is None else columns
        located = Located(Path(), ())
        for split, rows in self._splits.items():
            part = PART_NAMES.get(split, split)
            classes = _class_names(rows)
            chosen = rows.select_columns([name for name in rows.column_names if name in wanted]).with_format("arrow")
            number = 0
            for table in chosen.iter(_ROWS):
                for values in table.to_pylist():
                    number += 1
                    named = {name: _class_name(classes.get(name), value) for name, value in values.items()}
                    yield located.record(f"{self.name} {split} row {number}", {"split": part, **named})

    def fingerprint(self, columns: Sequence[str]) -> str:
        return digest((self.name, name, rows.num_rows, rows._fingerprint) for name, rows in self._splits.items())

    @cached_property
    def _splits(self) -> Mapping[str, Any]:
        import datasets

        try:
            loaded = datasets.load_dataset(
                self._parts["name"], name=self._parts["config"], revision=self._parts["revision"]
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise FetchFailed(
                f"datasets could not load {self.name}: {type(error).__name__}",
                cure="check the name, the revision and the network; or download it and name the folder or table",
            ) from None
        self.licence = next((rows.info.license for rows in loaded.values() if rows.info.license), None)
        return dict(loaded)


def _class_names(rows: Any) -> dict[str, list[str]]:
    """Names of class columns, which the table holds as numbers."""
    return {name: feature.names for name, feature in rows.features.items() if hasattr(feature, "names")}


def _class_name(names: list[str] | None, value: Any) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None
