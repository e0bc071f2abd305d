"""A program, not a module of the package: prints Bach's chorales in music21's corpus, a JSON object a line.

``python -S -P _chorales_music21.py SHARD SHARDS``, with music21 on ``PYTHONPATH``. The first line is the number of
lines that follow. Times are in ticks, 480 a quarter, counted from the first bar line, so a pick-up starts after zero.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from music21 import converter, corpus  # type: ignore[import-not-found]
from music21.corpus import chorales  # type: ignore[import-not-found]

_TICKS = 480
_VOICES = ("Soprano", "Alto", "Tenor", "Bass")


def main(shard: int, shards: int) -> None:
    paths = sorted(Path(path) for path in corpus.getComposer("bach"))
    # The three in Humdrum format (.krn) are there in MusicXML too.
    mine = [path for path in paths if re.fullmatch(r"bwv.*\.(mxl|xml)", path.name)][shard::shards]
    titles = _titles()
    _say(len(mine))
    for path in mine:
        _say(_chorale(path, titles))


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _chorale(path: Path, titles: dict[str, str]) -> dict[str, Any] | None:
    """The chorale in a file; ``None`` where there are not exactly four voices."""
    # forceSource and storePickle: never read or write music21's cache of pickles.
    score = converter.parse(str(path), forceSource=True, storePickle=False)
    parts = _four_voices(list(score.parts))
    if parts is None:
        return None
    number = path.stem.removeprefix("bwv")
    key = score.analyze("key")
    start = _pickup(parts[0])
    metres = list(parts[0].recurse().getElementsByClass("TimeSignature"))
    return {
        "bwv": number,
        "title": titles.get(number, ""),
        "key": f"{key.tonic.name.replace('-', 'b')} {key.mode}",
        "mode": key.mode,
        "metres": [[_ticks(m.getOffsetInHierarchy(parts[0])), m.numerator, m.denominator] for m in metres],
        "voices": [_notes(part, start) for part in parts],
    }


def _four_voices(parts: list[Any]) -> list[Any] | None:
    """The four parts; of more (instruments that double them), the four that are named after voices."""
    if len(parts) == len(_VOICES):
        return parts
    named = [[part for part in parts if re.match(rf"{voice}\b(?! \d)", part.partName or "")] for voice in _VOICES]
    return [found[0] for found in named] if all(len(found) == 1 for found in named) else None


def _notes(part: Any, start: int) -> list[list[int]]:
    """``[onset, duration, pitch]`` of each note, tied ones joined, grace notes left out."""
    part.stripTies(inPlace=True)  # a copy takes longer than all the rest
    return [
        [start + _ticks(note.getOffsetInHierarchy(part)), _ticks(note.quarterLength), pitch.midi]
        for note in part.recurse().notes
        if note.quarterLength > 0
        for pitch in note.pitches
    ]


def _pickup(part: Any) -> int:
    """Ticks that the first measure lacks to be a whole one."""
    first = part.getElementsByClass("Measure").first()
    return max(_ticks(first.barDuration.quarterLength - first.duration.quarterLength), 0)


def _ticks(quarters: Any) -> int:
    return round(quarters * _TICKS)


def _titles() -> dict[str, str]:
    """Hymn titles by BWV number, from the two lists that music21 has."""
    listed = [*chorales.ChoraleListRKBWV().byKalmus.values(), *chorales.ChoraleList().byBWV.values()]
    return {str(entry["bwv"]): entry["title"] for entry in reversed(listed)}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
