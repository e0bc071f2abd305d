import json
from collections import defaultdict

import numpy as np
import pytest

from miaobi.data import catalog
from miaobi.data.catalog import _fetch, chorales
from miaobi.data.catalog._tunes import tune_groups
from miaobi.errors import FetchFailed
from miaobi.modalities import _score, create

TUNE = [0, 2, 4, 5, 7, 9, 7, 5, 4, 2, 0, 4, 7]
THIRD = [0, 7, 6, 1, 11, 2, 5, 5, 9, 3, 0, 6, 10]
OTHER = [0, 5, 3, 1, 8, 0, 6, 2, 9, 1, 4, 4, 0]

PROGRAM = """
import json, sys
shard, shards = map(int, sys.argv[1:])
rows = json.load(open({rows!r}))[shard::shards]
print(len(rows))
for row in rows:
    print(json.dumps(row))
sys.exit({status})
"""


def chorale(bwv, tune=TUNE, title="", start=60):
    voices = [[[480 * place, 480, start + drop + step] for place, step in enumerate(tune)] for drop in (12, 5, 0, -12)]
    return {"bwv": bwv, "title": title, "key": "C major", "mode": "major", "metres": [[0, 3, 4]], "voices": voices}


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """A conversion program that prints rows of ours, and nothing to fetch."""

    def install(rows, status=0):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(rows=str(tmp_path / "rows.json"), status=status))
        (tmp_path / "installed").mkdir(exist_ok=True)
        monkeypatch.setattr(chorales, "_PROGRAM", program)
        monkeypatch.setattr(_fetch, "pip_install_target", lambda *_: tmp_path / "installed")

    return install


def test_records_hold_four_voices_and_are_converted_once(tmp_path, converter):
    converter([chorale("2.6", title="A"), None, chorale("10.7", OTHER), chorale("2.6-a", OTHER[::-1]), chorale("9.1")])
    found = catalog.find("chorales")
    records = list(found.records(tmp_path))
    assert [record["bwv"] for record in records] == ["2.6", "2.6-a", "9.1", "10.7"]
    assert [record["title"] for record in records] == ["A", "A", "A", ""]
    assert [record["tune"] for record in records] == ["bwv2.6", "bwv2.6", "bwv2.6", "bwv10.7"]
    music = create(found.modality)
    item = music.read(records[0]["music"])
    assert [len(track.notes) for track in item.tracks] == [13] * 4
    assert _score.note_table(item.tracks[3])[:, 2].tolist() == [48 + step for step in TUNE]
    assert (item.time_signatures[0].numerator, _score.tempo_of(item)) == (3, 85)
    melody = create(found.conditions["melody"]).read(records[0]["melody"])
    assert [_score.note_table(track).tolist() for track in melody.tracks] == [
        _score.note_table(item.tracks[0]).tolist()
    ]
    assert (melody.time_signatures[0].numerator, _score.tempo_of(melody)) == (3, 85)
    assert not (tmp_path / "installed").exists()
    converter([], status=1)
    assert list(found.records(tmp_path)) == records


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, converter):
    converter([chorale("1.6")], status=3)
    with pytest.raises(FetchFailed, match="exit status 3"):
        list(catalog.find("chorales").records(tmp_path))
    assert not list(tmp_path.rglob("*.zip"))
    converter([chorale("1.6")])
    assert len(list(catalog.find("chorales").records(tmp_path))) == 1


def test_settings_of_one_tune_are_one_group():
    ornamented = chorale("5")
    ornamented["voices"][0] = [
        [480 * place + part * 240, 240, pitch + part]
        for place, (_, _, pitch) in enumerate(ornamented["voices"][0])
        for part in (0, 1)
    ]
    rows = [chorale("1"), chorale("2", OTHER), chorale("3", start=65), chorale("4", THIRD, "x"), ornamented]
    rows.append(chorale("6", OTHER[::-1], "X"))
    assert tune_groups(rows) == [0, 1, 0, 3, 0, 3]


def test_the_summary_needs_no_network():
    summary = catalog.find("chorales").to_json()
    assert summary["source"] == "catalog:chorales"
    assert "music21" in summary["licence"]
    assert set(summary["conditions"]) >= {"mode", "title"}


@pytest.mark.registry
def test_the_real_chorales_keep_every_note():
    found = catalog.find("chorales")
    records = list(found.records(catalog.cache_folder()))
    assert len(records) == 407
    music = create(found.modality)
    items = [music.read(record["music"]) for record in records]
    music.fit(items)
    tokens = [music.encode(item) for item in items]
    whole = [len(row) < 2000 for row in tokens]
    assert sum(whole) >= 405
    for item, row, fits in zip(items, tokens, whole, strict=True):
        assert len(item.tracks) == 4
        assert not fits or music.pack(music.decode(row)) == music.pack(item)
    assert np.median([len(row) for row in tokens]) < 600
    groups = defaultdict(set)
    for record in records:
        groups[record["bwv"].split("-")[0]].add(record["tune"])
    assert all(len(tunes) == 1 for tunes in groups.values())
    assert {record["mode"] for record in records} == {"major", "minor"}
