"""Locks of the operating system: let go of when their process ends, however it ends.

So nothing has to beat, to be timed or to be compared with a clock: work whose lock is free and that is not finished was
left behind by a process that is gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from miaobi.errors import SaveFailed


class Lock(Protocol):
    """A lock that is held."""

    def release(self) -> Any:
        """Let go."""


def take(path: Path, *, wait: bool) -> Any:
    """A `Lock` on the file ``path``, which stays where it is; ``None`` where another has it and it is not waited for.

    Raises:
        SaveFailed: the file cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=-1 if wait else 0)
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise SaveFailed(f"could not lock {path}: {error}", cure="put it on a disk that can be written") from None
    return lock
