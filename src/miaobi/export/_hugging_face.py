"""A tokenizer as the transformers library reads it, with what begins and ends a text and how a dialogue is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from miaobi.export._compare import compare_texts, require_equal
from miaobi.export._source import Exportable


def write_tokenizer(source: Exportable, folder: Path) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``."""
    from transformers import PreTrainedTokenizerFast

    named = {"bos_token": source.begin, "eos_token": source.end}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=source.engine,
        clean_up_tokenization_spaces=False,
        model_max_length=source.limit,
        add_bos_token=source.begins_with_begin,
        add_eos_token=False,
        **{role: source.piece(token) for role, token in named.items() if token is not None},
    )
    tokenizer.chat_template = source.chat_template
    tokenizer.save_pretrained(folder)


def compare_tokenizer(source: Exportable, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """What transformers reads of `write_tokenizer` beside the model's own: tokens, texts, begin, end and chat template.

    Raises:
        ExportFailed: they differ.
    """
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder)
    begin = [source.begin] if source.begins_with_begin else []
    told = compare_texts(
        texts,
        lambda text: [*begin, *source.tokenizer.encode(text).tolist()],
        lambda text: list(tokenizer(text).input_ids),
    )
    for text in texts:
        ids = source.tokenizer.encode(text)
        require_equal("decoded text", source.tokenizer.decode(ids), tokenizer.decode(ids))
    for role, ours in (("bos_token_id", source.begin), ("eos_token_id", source.end)):
        require_equal(role, ours, getattr(tokenizer, role))
    require_equal("chat template", source.chat_template, tokenizer.chat_template)
    templated = source.chat_template is not None
    return {**told, "begin": source.begin, "end": source.end, "chat_template": templated}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's bars and notes; its settings are left as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
