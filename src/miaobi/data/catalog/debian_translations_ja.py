"""Descriptions of Debian's packages in English and Japanese."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsJa(Translations):
    """English to Japanese; see `Translations`."""

    summary = "about 14,000 pairs of summaries and paragraphs about Debian's packages, English to Japanese"
    language = "ja"
