"""The English exchanges alone, each a dialogue."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from miaobi import modalities
from miaobi.data import catalog, prepare
from miaobi.data.catalog import dialogues
from miaobi.prompting import Message
from miaobi.recipe import Recipe


def test_other_languages_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as file:
        for language, asked in (("english", "How many?"), ("french", "Combien ?")):
            file.writestr(f"chatterbot_corpus/data/{language}/a.yml", f'conversations:\n- - "{asked}"\n  - "42"\n')
    monkeypatch.setattr(dialogues, "pip_download", lambda *pinned: path)
    found = catalog.find("dialogues-english")
    (record,) = found.records(tmp_path)
    chat = modalities.create(found.modality)
    columns = chat.columns_of([found.content, found.split["group"]], None)
    item = chat.read({name: record[name] for name in columns})
    assert item == (Message("user", "How many?"), Message("assistant", "42"))


@pytest.mark.registry
def test_the_real_ones_are_dialogues() -> None:
    assert len(list(catalog.find("dialogues-english").records(catalog.cache_folder()))) == 2025
    section = {"source": "catalog:dialogues-english"}
    made = prepare(Recipe.load({"modality": "chat", "data": section, "model": {"family": "autoregressive"}}))
    assert made.licence is not None
    assert made.licence.startswith("BSD")
    asked = [{item[0].content for item in part.items(range(len(part)))} for part in (made.train, made.test)]
    assert len(asked[1]) > 20
    assert not asked[0] & asked[1]
