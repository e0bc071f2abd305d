"""Descriptions of Debian's packages in English and French."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsFr(Translations):
    """English to French; see `Translations`."""

    summary = "about 49,000 pairs of summaries and paragraphs about Debian's packages, English to French"
    language = "fr"
