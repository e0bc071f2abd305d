"""What decodes a model's tokens; a file is an engine, found by its name."""

from __future__ import annotations

from miaobi import plugins
from miaobi.errors import Unsupported
from miaobi.generation.engines._base import DecodingEngine
from miaobi.models import Model

__all__ = ["DecodingEngine", "find", "names", "open_engine"]


def names() -> list[str]:
    """Every engine's name."""
    return plugins.names(__name__)


def find(name: str) -> type[DecodingEngine]:
    """The engine class of a name, in which a full stop means an underscore: ``llama.cpp``.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name.replace(".", "_"), DecodingEngine)  # type: ignore[type-abstract]


def open_engine(engine: str | DecodingEngine, model: Model, **options: object) -> DecodingEngine:
    """An engine over a model, ready to draw; one that is open already comes back as it is.

    Args:
        engine: ``pytorch`` or ``llama.cpp``.
        model: whose tokens it draws.
        options: the engine's own.

    Raises:
        RequestError: an unknown name or option, a missing extra, or a model that the engine cannot compute.
    """
    if isinstance(engine, DecodingEngine):
        if engine.model is not model:
            raise Unsupported("the engine is open over another model", cure="open one over this model")
        return engine
    kind = find(engine)
    return kind(model, kind.Config.parse(options, "engine"))
