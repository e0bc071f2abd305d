"""Descriptions of Debian's packages in English and Italian."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsIt(Translations):
    """English to Italian; see `Translations`."""

    summary = "about 110,000 pairs of summaries and paragraphs about Debian's packages, English to Italian"
    language = "it"
