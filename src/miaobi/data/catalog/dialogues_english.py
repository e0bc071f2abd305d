"""The English small talk of `dialogues`, as dialogues of one question and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Record
from miaobi.data.catalog.dialogues import Dialogues
from miaobi.recipe import Plugin


class DialoguesEnglish(Dialogues):
    """The exchanges of `Dialogues` whose language is English, for the modality chat."""

    summary = "about 2,000 English questions and answers, of small talk and of technical support"
    modality: ClassVar[Plugin] = "chat"
    conditions: ClassVar[Mapping[str, Plugin]] = {}

    def records(self, cache: Path) -> Iterator[Record]:
        return (record for record in super().records(cache) if record["language"] == "english")
