"""Exchanges: the first two lines of each list, from YAML that is read as data."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog import dialogues
from miaobi.data.catalog.dialogues import exchanges
from miaobi.errors import FetchFailed
from miaobi.recipe import Recipe

FILE = """
categories: [conversations]
conversations:
- - Good morning,
    how are you?
  - Fine.
  - That's good.
- - Alone
- A line without dashes - An answer
- - How many?
  - 42
- - Nothing
  -
"""


def test_the_first_two_lines_of_each_list_are_an_exchange() -> None:
    found = list(exchanges(FILE.encode(), "english/conversations.yml"))
    assert found == [("Good morning, how are you?", "Fine."), ("How many?", "42")]
    assert list(exchanges(b"conversations:", "empty.yml")) == []


@pytest.mark.parametrize(
    "data",
    [b"- a\n- b", b"conversations: [", b"", b"\xff\xfe\xff", b"conversations: !!python/object/apply:os.getcwd []"],
)
def test_what_is_no_corpus_is_said(data: bytes) -> None:
    with pytest.raises(FetchFailed, match=r"a\.yml"):
        list(exchanges(data, "a.yml"))


def test_records_name_language_and_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("chatterbot_corpus/data/english/greetings.yml", FILE)
        file.writestr("chatterbot_corpus/corpus.py", "raise SystemExit")
    monkeypatch.setattr(dialogues, "pip_download", lambda *pinned: path)
    found = catalog.find("dialogues")
    records = list(found.records(tmp_path))
    assert records[1] == {"prompt": "How many?", "response": "42", "language": "english", "topic": "greetings"}
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])


@pytest.mark.registry
def test_the_real_dialogues_are_in_28_languages() -> None:
    assert catalog.get("dialogues")["records"] == 7634
    records = list(catalog.find("dialogues").records(catalog.cache_folder()))
    languages = Counter(record["language"] for record in records)
    assert len(languages) == 28
    assert {name for name, _ in languages.most_common(2)} == {"persian", "english"}
    section = {"source": "catalog:dialogues", "condition": {"prompt": "text", "language": "label"}}
    made = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "autoregressive"}}))
    assert made.licence is not None
    assert made.licence.startswith("BSD")
    parts = [set(made.part(part).condition_items("prompt", range(len(made.part(part))))) for part in ("train", "test")]
    assert len(parts[1]) > 300
    assert not parts[0] & parts[1]
