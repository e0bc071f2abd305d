"""The special tokens of a published model, as its tokenizer puts them around a text."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from miaobi.errors import CorruptFile
from miaobi.modalities._public_files import PublicFiles
from miaobi.modalities._roles import mask_of

_PROBE = "a"


@dataclass(frozen=True, slots=True)
class Special:
    """Numbers of special tokens.

    Attributes:
        before: stand before a text.
        after: stand after it.
        mask: stands for a token that is not shown; ``None``: the tokenizer has none.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int | None


def special_of(files: PublicFiles) -> Special:
    """What the tokenizer beside a model's weights puts around a text.

    Raises:
        CorruptFile: there is no tokenizer, or it cannot be read.
    """
    try:
        engine = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise CorruptFile(f"the model's tokenizer.json cannot be read: {error}", given=files.reference) from None
    engine.no_padding()
    engine.no_truncation()
    framed, plain = (engine.encode(_PROBE, add_special_tokens=special).ids for special in (True, False))
    starts = range(len(framed) - len(plain) + 1)
    at = next((start for start in starts if framed[start : start + len(plain)] == plain), len(framed))
    return Special(tuple(framed[:at]), tuple(framed[at + len(plain) :]), mask_of(engine, files.json))
