"""Descriptions of Debian's packages in English and Chinese."""

from __future__ import annotations

from miaobi.data.catalog._debian_pairs import Translations


class DebianTranslationsZh(Translations):
    """English to simplified Chinese; see `Translations`."""

    summary = "about 2,700 pairs of summaries and paragraphs about Debian's packages, English to Chinese"
    language = "zh_CN"
