"""Descriptions of Debian's packages in English and German."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsDe(Translations):
    """English to German; see `Translations`."""

    summary = "about 32,000 pairs of summaries and paragraphs about Debian's packages, English to German"
    language = "de"
