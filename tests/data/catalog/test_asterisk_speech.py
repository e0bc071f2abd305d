"""The prompts: transcripts without remarks, and (with a registry) what the packages hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from miaobi import modalities
from miaobi.data import catalog, prepare
from miaobi.data.catalog import asterisk_speech
from miaobi.errors import FetchFailed
from miaobi.modalities._waveform import Sound, wav_bytes
from miaobi.recipe import Recipe

LIST = """; Core Asterisk Sounds in English

activated: Activated.
at-tone: At the tone: exactly...
beep: [this is a simple beep tone]
confbridge-join: <beep ascending>
letters/dash: dash [-]
silence/1: (1 second of silence)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpacked packages of four clips."""
    import numpy as np

    texts = tmp_path / "usr/share/doc/asterisk-core-sounds-en"
    sounds = tmp_path / "usr/share/asterisk/sounds/en_US_f_Allison"
    texts.mkdir(parents=True)
    (texts / "core-sounds-en.txt.gz").write_bytes(gzip.compress(LIST.encode()))
    for name in ("activated", "beep", "letters/dash", "untold"):
        path = sounds / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav_bytes(Sound(np.arange(800, dtype=np.int16), 8000)))
    monkeypatch.setattr(asterisk_speech, "apt_download", lambda *pinned: tmp_path)
    return tmp_path


def test_remarks_are_no_words(packages: Path) -> None:
    said = asterisk_speech.transcripts(packages / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
    assert said == {
        "activated": "Activated.",
        "at-tone": "At the tone: exactly...",
        "beep": "",
        "confbridge-join": "",
        "letters/dash": "dash",
        "silence/1": "",
    }


def test_records_are_what_is_spoken(packages: Path, tmp_path: Path) -> None:
    known = catalog.find("asterisk-speech")
    records = list(known.records(tmp_path))
    found = [(record["text"], record["kind"], record["name"]) for record in records]
    assert found == [("Activated.", "prompt", "activated"), ("dash", "letters", "letters/dash")]
    assert {known.content, *known.conditions} <= set(records[0])
    assert modalities.create(known.modality).read(records[0]["speech"]).rate == 8000


# Named, because a gzip file holds the second that it was made in.
@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"\xff: \xfe"), gzip.compress(LIST.encode())[:-9]],
    ids=["no gzip", "no UTF-8", "cut short"],
)
def test_a_damaged_list_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(content)
    with pytest.raises(FetchFailed, match="delete"):
        asterisk_speech.transcripts(path)


@pytest.mark.registry
@pytest.mark.parametrize("representation", ["waveform", "mel"])
def test_the_packages_hold_551_prompts_that_can_be_prepared(representation: str) -> None:
    summary = catalog.get("asterisk-speech")
    assert summary["records"] == 551
    assert "551" in summary["summary"]
    section = {"source": "catalog:asterisk-speech", "condition": {"text": "text", "kind": "label"}}
    modality = {"name": "speech", "representation": representation, "seconds": 1.0}
    made = prepare(Recipe.load({"modality": modality, "data": section, "model": {"family": "gan"}}))
    assert made.licence is not None
    assert made.licence.startswith("CC-BY-SA-3.0")
    assert len(made.train) > 400
    assert len(made.test) > 30
    values = made.train.batch(range(8)).target.values
    assert values.abs().max() <= 1
    assert values.std() > 0.03
    assert made.target.space == ((8000,) if representation == "waveform" else (128,))
