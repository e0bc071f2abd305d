"""Whether a network's decoding step is compiled: where it pays back within the job, by what steps cost.

Compiling is bought once and saves a share of every step after it. It is bought when the steps that a job is sure to
have save more than it costs, or when the steps so far would have: the rule for renting or buying with an unknown future
(Karp 1992, "On-line algorithms versus off-line algorithms"), which never costs more than about twice the best choice.
What compiling costs and saves is measured, and kept for the next process on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import time
import warnings
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from miaobi.data.catalog import cache_folder
from miaobi.errors import Unsupported

_MARGIN = 1.25
"""What is saved has to be more than what is spent by this factor."""
_WINDOW = 32
"""Steps whose median is the time of a step; fewer than a quarter of them say nothing."""
_ENTRIES = 500
"""Measurements that the file keeps."""


@runtime_checkable
class Compilable(Protocol):
    """A network whose step can be compiled over the caches that it makes."""

    def compile_steps(self, cache: Any, rows: int) -> None:
        """Compile for one row, or for any number above one; raises `Unsupported`."""
        ...

    def steps_compiled(self, cache: Any, rows: int) -> bool:
        """Whether a step over so many rows is compiled, in which case ``cache`` uses it from now on."""
        ...

    def drop_steps(self, cache: Any, rows: int) -> None:
        """Go on without."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds: of a step as it is and compiled, and of compiling. The defaults are guesses, on the careful side."""

    plain: float = 1.0
    compiled: float = 0.75
    cost: float = 25.0

    @property
    def saved(self) -> float:
        """The share of a step's time that compiling saves."""
        return max(0.0, 1 - self.compiled / self.plain)


class Record:
    """Measurements by what they are of, in one JSON file; an unreadable one counts as empty."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "measured" / "decoding.json"

    def get(self, key: str) -> Measured:
        """What is known, or the guesses."""
        try:
            found = Measured(**self._read()[key])
        except (KeyError, TypeError):
            return Measured()
        return found if min(found.plain, found.compiled, found.cost) > 0 else Measured()

    def put(self, key: str, measured: Measured) -> None:
        """Keep one; where the file cannot be written, the next process measures again."""
        entries = list({**self._read(), key: asdict(measured)}.items())[-_ENTRIES:]
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(dict(entries), indent=1), encoding="utf-8")
            partial.replace(self.path)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class Steps:
    """Steps of one row, or of several, and whether compiling them is worth it.

    Args:
        known: what was measured before, or the guesses.
    """

    def __init__(self, known: Measured) -> None:
        self.known = known
        self.given_up = False
        self.measured: Measured | None = None
        self._spent = 0.0
        self._times: dict[bool, deque[float]] = {kind: deque(maxlen=_WINDOW) for kind in (False, True)}

    def pays(self, left: int) -> bool:
        """Whether to compile now, with ``left`` steps sure to come."""
        plain = self._times[False]
        if self.given_up or len(plain) < _WINDOW // 4:
            return False
        saved = max(self._spent, left * statistics.median(plain)) * self.known.saved
        return saved > _MARGIN * self.known.cost

    def bought(self) -> None:
        """What was spent counts no more: for other weights it is weighed anew."""
        self._spent = 0.0

    def note(self, seconds: float, *, compiled: bool) -> None:
        """Record a step."""
        self._times[compiled].append(seconds)
        if not compiled:
            self._spent += seconds

    def judge(self, cost: float) -> Measured | None:
        """Once there are enough compiled steps beside plain ones, what they say; only once."""
        plain, compiled = self._times[False], self._times[True]
        if self.measured is not None or len(compiled) < _WINDOW or len(plain) < _WINDOW // 4:
            return None
        self.measured = Measured(statistics.median(plain), statistics.median(compiled), cost)
        self.given_up = not self.measured.saved
        return self.measured


_paces: WeakKeyDictionary[Any, dict[torch.dtype | None, Pace]] = WeakKeyDictionary()


class Pace:
    """Steps a network, compiled or not.

    Args:
        network: whose steps they are.
        dtype: least precise arithmetic allowed; ``None``: the parameters' own.
        record: of measurements.
    """

    def __init__(self, network: Any, dtype: torch.dtype | None = None, record: Record | None = None) -> None:
        self._record = record or Record()
        self._what = _describe(network, dtype)
        self._steps: dict[bool, Steps] = {}
        self._costs: dict[bool, float] = {}

    @classmethod
    def of(cls, network: Any, dtype: torch.dtype | None = None) -> Pace:
        """The one of a network, with what its earlier jobs have cost."""
        paces = _paces.setdefault(network, {})
        if dtype not in paces:
            paces[dtype] = cls(network, dtype)
        return paces[dtype]

    def step(self, network: Any, tokens: Tensor, cache: Any, left: int, compiling: bool | None) -> Tensor:
        """``network.step``, compiled first where ``compiling`` says so, or where it is ``None`` and pays.

        Args:
            network: one whose step can be compiled.
            tokens: one a row.
            cache: of the network.
            left: steps that are sure to come.
            compiling: whether steps are compiled.
        """
        rows = len(tokens)
        several = rows > 1
        steps = self._kind(several)
        compiled = network.steps_compiled(cache, rows)
        if not compiled and compiling is not False and (steps.pays(left) or (compiling and not steps.given_up)):
            self._compile(network, cache, rows)
            compiled = network.steps_compiled(cache, rows)
        start = time.perf_counter()
        logits: Tensor = network.step(tokens, cache)
        steps.note(time.perf_counter() - start, compiled=compiled)
        if compiled and (found := steps.judge(self._costs.get(several, steps.known.cost))):
            self._record.put(self._key(several), found)
            if not found.saved and compiling is None:
                network.drop_steps(cache, rows)
        return logits

    def _kind(self, several: bool) -> Steps:
        if several not in self._steps:
            self._steps[several] = Steps(self._record.get(self._key(several)))
        return self._steps[several]

    def _compile(self, network: Any, cache: Any, rows: int) -> None:
        start = time.perf_counter()
        self._kind(rows > 1).bought()
        try:
            network.compile_steps(cache, rows)
        except Unsupported as error:
            self._kind(rows > 1).given_up = True
            warnings.warn(f"decoding goes on uncompiled: {error.message} ({error.given})", stacklevel=2)
        self._costs[rows > 1] = time.perf_counter() - start

    def _key(self, several: bool) -> str:
        return f"{self._what}, {torch.get_num_threads()} threads, {'several rows' if several else 'one row'}"


def _describe(network: Any, dtype: torch.dtype | None) -> str:
    parameters = list(network.parameters())
    size, dtype = sum(parameter.numel() for parameter in parameters), dtype or parameters[0].dtype
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{type(network).__name__} of {size} parameters, {dtype}, torch {torch.__version__}, {processor}"
