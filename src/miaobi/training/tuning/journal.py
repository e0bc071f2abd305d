"""Optuna's journal in a file that several processes append to: JSON lines, nothing pickled, nothing served.

Optuna's own file backend locks by a link that a killed process leaves behind for half a minute, and cannot be read
any more after a line that was cut short. Here the system lets go of the lock, and such a line is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from miaobi import locks
from miaobi.errors import CorruptFile, SaveFailed


def storage(path: Path) -> JournalStorage:
    """The storage of a study.

    Raises:
        CorruptFile: the journal cannot be read.
        SaveFailed: it cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return JournalStorage(Journal(path))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", cure="start another study with --study") from None


class Journal(BaseJournalBackend):
    """What Optuna wrote, line by line; each process sees what all of them wrote, in one order.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Where each line that was read begins, so that only new ones are read.
        self._starts = [0]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Every whole line from that one on."""
        if not self._path.exists():
            return
        first = min(log_number_from, len(self._starts) - 1)
        with self._path.open("rb") as stream:
            stream.seek(self._starts[first])
            for number, line in enumerate(stream, first):
                if not line.endswith(b"\n"):
                    return
                if number + 1 == len(self._starts):
                    self._starts.append(self._starts[number] + len(line))
                if number >= log_number_from:
                    yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, after the last whole one.

        Raises:
            SaveFailed: the disk is full; what was written before is intact.
        """
        lock = locks.take(self._path.with_name(f"{self._path.name}.lock"), wait=True)
        try:
            with self._path.open("ab+") as stream:
                stream.truncate(_whole(stream))
                stream.write("".join(f"{json.dumps(log)}\n" for log in logs).encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise SaveFailed(f"could not write {self._path}: {error}", cure="free some disk space") from None
        finally:
            lock.release()


def _whole(stream: Any) -> int:
    """Bytes up to the end of the last whole line."""
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    stream.seek(size - 1)
    if stream.read(1) == b"\n":
        return size
    stream.seek(0)
    return stream.read().rfind(b"\n") + 1
