"""Descriptions of packages: unwrapped, paired by the checksum of the English, and taken once."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog import _debian
from miaobi.data.catalog._debian import Description, described, descriptions, once, sources, stanzas
from miaobi.data.catalog._debian_pairs import pairs
from miaobi.data.sources.catalog import CatalogSource
from miaobi.errors import FetchFailed
from miaobi.recipe import Recipe

RELEASE = """-----BEGIN PGP SIGNED MESSAGE-----

Codename: nut
Date: Sat, 11 Jul 2026 10:16:37 UTC
SHA256:
 00 0 Packages
"""
PACKAGES = """Package: libfoo1
Source: foo (1.2)
Version: 1.2+b1

Package: libfoo-dev
Source: foo
Tag: a,
 b

Package: bar
"""
ENGLISH = """Package: libfoo1
Description-md5: 01
Description-en: foo for machines
 Foo is a library that does
 foo.
 .
 This package contains the library.

Package: libfoo-dev
Description-md5: 02
Description-en: foo for people
 This package contains the library.

Package: bar
Description-md5: 03
Description-en: A bar
 It is a bar.

Package: bare
Description-md5: 04
Description-en: nothing more
"""
CHINESE = """Package: bar
Description-md5: 03
Description-zh_CN: 酒吧
 它是
 一个 bar。

Package: libfoo1
Description-md5: other
Description-zh_CN: 旧的
 旧的。

Package: libfoo-dev
Description-md5: 02
Description-zh_CN: foo for people
 此软件包
 .
 包含库。
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small lists of ours in the place of what apt fetches."""
    (tmp_path / "host_dists_nut_InRelease").write_text(RELEASE)
    for name, text in {
        "Packages": PACKAGES,
        "Translation-en": ENGLISH,
        "Translation-zh%5fCN": CHINESE,
    }.items():
        (tmp_path / f"host_dists_nut_main_{name}.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(_debian, "apt_lists", lambda *asked: tmp_path)
    return tmp_path


def test_wrapped_lines_are_joined_and_lists_are_kept() -> None:
    text = "one  line\n A paragraph that\n is  wrapped:\n  * first\n    goes on\n  * second"
    text += "\n .\n   As it is,\n   twice.\n .\n ."
    assert described(text) == Description(
        "one line", ("A paragraph that is wrapped:\n* first goes on\n* second", "As it is,\ntwice.")
    )
    assert described("one") == Description("one", ())


def test_chinese_lines_are_joined_without_a_blank_and_french_blanks_stay() -> None:
    assert described("短\n 战争与经\n 济游戏\n ABC，\n 好").paragraphs == ("战争与经济游戏 ABC，好",)
    assert described("court\n non\xa0: oui").paragraphs == ("non\xa0: oui",)


def test_stanzas_are_read_to_the_last(folder: Path) -> None:
    found = list(stanzas(folder / "host_dists_nut_main_Packages.gz"))
    assert [fields["Package"] for fields in found] == ["libfoo1", "libfoo-dev", "bar"]
    assert found[1]["Tag"] == "a,\n b"
    assert sources(folder) == {"libfoo1": "foo", "libfoo-dev": "foo", "bar": "bar"}
    assert set(descriptions(folder, "zh_CN")) == {("bar", "03"), ("libfoo1", "other"), ("libfoo-dev", "02")}


# Named, because a gzip file holds the second that it was made in.
@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"\xff"), gzip.compress(b"a" * 99)[:-9]], ids=["no gzip", "no UTF-8", "cut"]
)
def test_a_damaged_list_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(FetchFailed, match="delete"):
        list(stanzas(tmp_path / "a.gz"))


def test_a_text_is_taken_once_on_either_side() -> None:
    rows = [{"a": a, "b": b} for a, b in [("1", "2"), ("1", "3"), ("4", "2"), ("2", "1")]]
    assert list(once(rows, "a", "b")) == [rows[0], rows[3]]


def test_paragraphs_are_paired_where_they_are_equally_many() -> None:
    english = Description("a tool", ("It works.", "MIT", "* 1.0"))
    assert list(pairs(english, Description("工具", ("能用。", "MIT", "* 一")))) == [
        ("a tool", "工具"),
        ("It works.", "能用。"),
    ]
    assert not list(pairs(english, Description("工具", ("能用。",))))


def test_summaries_have_their_source_and_something_to_sum_up(folder: Path) -> None:
    found = catalog.find("debian-summaries")
    records = list(found.records(folder))
    assert records[0] == {
        "description": "Foo is a library that does foo.\n\nThis package contains the library.",
        "summary": "foo for machines",
        "package": "libfoo1",
        "source": "foo",
    }
    assert [record["package"] for record in records] == ["libfoo1", "libfoo-dev", "bar"]
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])


def test_translations_are_of_the_same_english(folder: Path) -> None:
    found = catalog.find("debian-translations-zh")
    records = list(found.records(folder))
    assert [(record["english"], record["translation"]) for record in records] == [
        ("A bar", "酒吧"),
        ("It is a bar.", "它是一个 bar。"),
    ]
    assert {(record["language"], record["source"]) for record in records} == {("zh_CN", "bar")}
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])
    assert list(catalog.find("debian-translations-it").records(folder)) == []


def test_the_releases_of_the_lists_are_recorded_and_key_what_is_prepared(folder: Path) -> None:
    found = catalog.get("debian-summaries", folder)
    assert found["version"] == "package lists as apt serves them: nut of Sat, 11 Jul 2026 10:16:37 UTC"
    before = CatalogSource("debian-summaries", folder).fingerprint([])
    assert before == CatalogSource("debian-summaries", folder).fingerprint(["source"])
    (folder / "host_dists_nut_InRelease").write_text(RELEASE.replace("11 Jul", "12 Jul"))
    assert before != CatalogSource("debian-summaries", folder).fingerprint([])


# What apt serves changes with the distribution, so these are bounds and not counts.
LEAST = {"summaries": 20_000, "translations-it": 20_000, "translations-de": 10_000, "translations-fr": 10_000}
LEAST |= {"translations-ja": 3000, "translations-es": 1500, "translations-zh": 500}


@pytest.mark.registry
@pytest.mark.parametrize("name", LEAST)
def test_the_real_lists_hold_enough_and_each_text_once(name: str) -> None:
    found = catalog.find(f"debian-{name}")
    records = list(found.records(catalog.cache_folder()))
    assert len(records) >= LEAST[name]
    for column in (found.content, next(iter(found.conditions))):
        assert len({record[column] for record in records}) == len(records)
        assert not any("\n .\n" in record[column] or "  " in record[column] for record in records)
    assert len({record["source"] for record in records}) > len(records) / 20


@pytest.mark.registry
def test_no_source_package_is_in_two_parts() -> None:
    section = {"source": "catalog:debian-translations-zh", "condition": {"english": "text", "source": "text"}}
    with pytest.MonkeyPatch.context() as patch:
        known = catalog.find("debian-translations-zh")
        patch.setattr(type(known), "conditions", {**known.conditions, "source": "text"})
        made = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "autoregressive"}}))
    parts = [set(made.part(part).condition_items("source", range(len(made.part(part))))) for part in ("train", "test")]
    assert len(parts[1]) > 30
    assert not parts[0] & parts[1]
