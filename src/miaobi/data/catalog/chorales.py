"""Bach's four-part chorales, from the corpus of the package music21."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from symusic import Note, Score, Tempo, TimeSignature, Track

from miaobi.data.catalog import _fetch
from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._tunes import QUARTER, tune_groups
from miaobi.errors import FetchFailed

_PROGRAM = Path(__file__).with_name("_chorales_music21.py")
_FORMAT = 1
_PROCESSES = 2
_TIMEOUT = 1800.0
_VOICES = ("Soprano", "Alto", "Tenor", "Bass")
_CHOIR = 52  # "Choir Aahs", counted from 0
_TEMPO = 85
_VELOCITY = 100
_INDEX = "index.json"


class Chorales(Catalog):
    """A record is one setting: ``music`` (the bytes of a MIDI file, tracks soprano, alto, tenor, bass of one program),
    ``melody`` (the soprano alone), ``title`` of the hymn (may be empty), ``key`` and ``mode`` as music21 estimates them
    (Krumhansl and Schmuckler), ``bwv`` and ``tune`` (equal for settings of one hymn tune).

    Repeats are not written out. Bars begin at multiples of the bar from time zero: a pick-up is preceded by silence.
    """

    summary = "407 four-part settings of hymns by J. S. Bach, four voices each, as MIDI"
    licence = (
        "music out of copyright; encodings from the music21 corpus (its software: BSD-3-Clause), distributed with the "
        "encoders' permission, some of them possibly restricted in commercial use: see music21/corpus/license.txt"
    )
    version = "music21==10.5.1"
    modality = {"name": "music", "resolution": 4}
    content = "music"
    conditions: ClassVar[Mapping[str, Any]] = {
        "mode": "label",
        "key": "label",
        "title": "text",
        "melody": {"name": "music", "resolution": 4},
    }
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "tune"}

    def records(self, cache: Path) -> Iterator[Record]:
        archive = cache / "chorales" / f"{self.version.replace('==', '-')}-{_FORMAT}.zip"
        if not archive.is_file():
            packages = _fetch.pip_install_target(_PACKAGES, "music21-10.5.1", cache)
            _write_whole(archive, _archived(_converted(packages)))
            shutil.rmtree(packages, ignore_errors=True)  # 70 MB that nothing needs any more
        members = dict(_fetch.zip_members(archive, ""))
        for record in json.loads(members[_INDEX]):
            music = members[f"bwv{record['bwv']}.mid"]
            yield record | {"music": music, "melody": _melody(music)}


_PACKAGES: Mapping[str, Sequence[str]] = {
    "music21==10.5.1": ["dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1"],
    # What importing its parsers needs; everything is a wheel for any platform.
    "certifi==2026.10.18": ["73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62"],
    "chardet==5.2.0": ["e1cf59446890a00105fe7b7912492ea04b6e6f06d4b742b2c788469e34c82970"],
    "idna==3.20": ["ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c"],
    "more-itertools==11.2.1": ["35a7377edd1dd6608dcb2cdf534ded55ea32d49448875ad042cd3f879fb1ded0"],
    "requests==2.34.2": ["2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0"],
    "urllib3==2.8.0": ["0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3"],
    "webcolors==25.10.0": ["032c727334856fc0b968f63daa252a1ac93d33db2f5267756623c210e57a4f1d"],
}


def _converted(packages: Path) -> list[dict[str, Any]]:
    """Every chorale as the conversion program prints it, by BWV number.

    Raises:
        FetchFailed: the program fails.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, ThreadPoolExecutor(_PROCESSES) as pool:
        bar = progress.add_task("converting chorales", total=0)
        shards = list(pool.map(lambda shard: _shard(packages, shard, progress, bar), range(_PROCESSES)))
    shutil.rmtree(packages, ignore_errors=True)
    found = [chorale for shard in shards for chorale in shard if chorale is not None]
    return sorted(found, key=lambda chorale: (float(chorale["bwv"].split("-")[0]), chorale["bwv"]))


def _shard(packages: Path, shard: int, progress: Progress, bar: TaskID) -> list[dict[str, Any] | None]:
    """What one process prints; it sees music21, what that needs, and the standard library only."""
    command = [sys.executable, "-S", "-P", str(_PROGRAM), str(shard), str(_PROCESSES)]
    environment = os.environ | {"PYTHONPATH": str(packages)}
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        ) as process,
    ):
        watch = threading.Timer(_TIMEOUT, process.kill)
        watch.start()
        rows = []
        for number, line in enumerate(process.stdout or ()):
            if number == 0:
                progress.update(bar, total=(progress.tasks[bar].total or 0) + int(line))
            else:
                rows.append(json.loads(line))
                progress.advance(bar)
        status = process.wait()
        watch.cancel()
        messages.seek(0)
        last = messages.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    if status:
        raise FetchFailed(
            f"converting music21's chorales failed with exit status {status}", given=last, cure="try again"
        )
    return rows


def _archived(chorales: Sequence[Mapping[str, Any]]) -> bytes:
    """A zip archive of the MIDI files and an index of the other columns."""
    groups = tune_groups(chorales)
    titles = _group_titles(chorales, groups)
    index = [
        {"bwv": c["bwv"], "title": c["title"] or titles.get(group, ""), "key": c["key"], "mode": c["mode"]}
        | {"tune": f"bwv{chorales[group]['bwv']}"}
        for c, group in zip(chorales, groups, strict=True)
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_INDEX, json.dumps(index, ensure_ascii=False, indent=1))
        for chorale in chorales:
            archive.writestr(f"bwv{chorale['bwv']}.mid", _midi(chorale))
    return buffer.getvalue()


def _group_titles(chorales: Sequence[Mapping[str, Any]], groups: Sequence[int]) -> dict[int, str]:
    """The most frequent title of each group, for those of its chorales that music21 has no title for."""
    counts: dict[int, Counter[str]] = {}
    for chorale, group in zip(chorales, groups, strict=True):
        if chorale["title"]:
            counts.setdefault(group, Counter())[chorale["title"]] += 1
    return {group: titles.most_common(1)[0][0] for group, titles in counts.items()}


def _midi(chorale: Mapping[str, Any]) -> bytes:
    score: Any = Score(QUARTER)
    score.tempos.append(Tempo(0, _TEMPO))
    for tick, beats, unit in chorale["metres"]:
        score.time_signatures.append(TimeSignature(tick, beats, unit))
    for name, notes in zip(_VOICES, chorale["voices"], strict=True):
        track: Any = Track(name, _CHOIR, False)
        for onset, duration, pitch in notes:
            track.notes.append(Note(onset, duration, pitch, _VELOCITY))
        score.tracks.append(track)
    return bytes(score.dumps_midi())


def _melody(music: bytes) -> bytes:
    """The soprano's track with the metres and the tempo of the whole."""
    score: Any = Score.from_midi(music)
    score.tracks = [track for track in score.tracks if track.name == _VOICES[0]]
    return bytes(score.dumps_midi())


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there complete or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise FetchFailed(
            f"the cache cannot be written: {error}", cure="set MIAOBI_CACHE to a folder with space"
        ) from None
