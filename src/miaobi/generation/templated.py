"""`generate_from`: items from a prompt template whose fields are filled in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi.errors import Unsupported
from miaobi.generation.chat import Chat
from miaobi.generation.engines import DecodingEngine, open_engine
from miaobi.generation.pipeline import Generated, check_numbers, generate, output_folder
from miaobi.models import Model, opened
from miaobi.prompting.template import PromptTemplate
from miaobi.sampling.noise import derive_one


def generate_from(
    model: Model | str | Path,
    template: PromptTemplate | str | Path,
    fields: Mapping[str, Any],
    *,
    controls: Mapping[str, Any] | None = None,
    n: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
    engine: str = "pytorch",
) -> list[Generated]:
    """Make ``n`` items from a template: what goes on from its text or, where it says ``chat``, answers to it.

    Args:
        model: a loaded language model, or what `miaobi.load` takes.
        template: one, or the path of its YAML file.
        fields: the value of each field; of its type, or as it is written on a command line.
        controls: of sampling.
        n: how many.
        seed: item i depends on it and on i.
        out: folder for the files; ``None`` writes none.
        engine: what computes, as for `generate`.

    Raises:
        UnknownName: a field that the template has not.
        InvalidRecipe: a value that is missing or not of its field's type.
        RequestError: as for `generate` and `Chat`.
    """
    check_numbers(n, seed)
    made = template if isinstance(template, PromptTemplate) else PromptTemplate.load(template)
    text = made.fill(fields)
    model = opened(model)
    if not made.chat:
        return generate(model, prompt=text, controls=controls, n=n, seed=seed, out=out, engine=engine)
    if model.modality.name != "text":
        raise Unsupported(
            "a template that is a message needs a model of texts",
            given=model.modality.name,
            cure="leave `chat: true` out of the template, or use `miaobi chat`",
        )
    folder = output_folder(out)
    drawing = open_engine(engine, model)
    return [_answered(drawing, text, controls or {}, folder, seed, index) for index in range(n)]


def _answered(
    drawing: DecodingEngine, text: str, controls: Mapping[str, Any], folder: Path | None, seed: int, index: int
) -> Generated:
    own = derive_one(seed, "answer", index) % 2**62
    item = "".join(Chat(drawing.model, controls=controls, seed=own, engine=drawing).say(text))
    paths = tuple(drawing.model.modality.write(item, folder / f"{index:05d}")) if folder else ()
    return Generated(item, item, paths[0] if paths else None, paths, seed, index)
