"""Descriptions of Debian's packages in English and Spanish."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsEs(Translations):
    """English to Spanish; see `Translations`."""

    summary = "about 5,300 pairs of summaries and paragraphs about Debian's packages, English to Spanish"
    language = "es"
