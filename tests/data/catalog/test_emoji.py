import io
import json
import tarfile
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from miaobi.data import catalog, prepare
from miaobi.data.catalog import emoji
from miaobi.errors import FetchFailed
from miaobi.modalities import create
from miaobi.recipe import Recipe


def row(order, unified, name, tones=(), category="People & Body"):
    image = f"{unified.lower()}.png"
    variants = {tone: {"image": image.replace(".png", f"-{tone.lower()}.png")} for tone in tones}
    return {
        "sort_order": order,
        "unified": unified,
        "name": name,
        "short_name": name.lower().replace(" ", "_"),
        "category": category,
        "image": image,
        **({"skin_variations": variants} if tones else {}),
    }


ROWS = [
    row(9, "1F469-200D-1F680", "WOMAN ASTRONAUT"),
    row(8, "1F9D1-200D-1F680", "ASTRONAUT", ["1F3FF"]),
    row(7, "1F3C3-200D-2642-FE0F-200D-27A1-FE0F", "MAN RUNNING FACING RIGHT"),
    row(6, "1F3C3", "RUNNER"),
    row(5, "2642-FE0F", "MALE SIGN", category="Symbols"),
    row(4, "1F469", "WOMAN"),
    row(3, "1F468", "MAN"),
    row(2, "1F91D", "HANDSHAKE", ["1F3FB", "1F3FB-1F3FC", "1F3FD-1F3FD"]),
    row(1, "1F600", "GRINNING FACE", category="Smileys & Emotion"),
]


def png(colour=(200, 10, 10, 255)):
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts a small package of ours in the place of the real one; returns how often it was asked for."""
    names = [found["image"] for found in emoji.records_of(ROWS)]
    members = {"package/emoji.json": json.dumps(ROWS).encode(), "package/img/google/sheets/64.png": b"not wanted"}
    members |= {f"package/img/google/64/{name}": png((place * 9, 0, 0, 255)) for place, name in enumerate(names)}
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    asked = []
    monkeypatch.setattr(emoji, "npm_pack", lambda *arguments: asked.append(arguments) or path)
    return asked


def test_plain_emoji_come_first_each_with_its_name():
    names = [found["name"] for found in emoji.records_of(ROWS)]
    assert names[:2] == ["grinning face", "handshake"]
    assert names[len(ROWS) :] == [
        "handshake, light skin tone",
        "handshake, light skin tone, medium-light skin tone",
        "handshake, medium skin tone",
        "astronaut, dark skin tone",
    ]


def test_variants_of_one_emoji_share_a_base_name_and_others_do_not():
    groups = defaultdict(set)
    for found in emoji.records_of(ROWS):
        groups[found["base_name"]].add(found["name"])
    assert groups["astronaut"] == {"astronaut", "woman astronaut", "astronaut, dark skin tone"}
    assert groups["runner"] == {"runner", "man running facing right"}
    assert len(groups["handshake"]) == 4
    assert {"man", "woman", "male sign", "grinning face"} <= set(groups)


def test_the_package_is_fetched_once_and_only_what_is_used_is_kept(tmp_path, package):
    found = catalog.find("emoji")
    records = list(found.records(tmp_path / "cache"))
    assert records == list(found.records(tmp_path / "cache"))
    assert len(package) == 1
    assert len(records) == len(ROWS) + 4
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])
    assert create(found.modality).read(records[1]["image"])[0, 0].tolist() == [9, 0, 0]
    assert not list((tmp_path / "cache").rglob("64.png"))


def test_a_damaged_folder_is_said(tmp_path, package):
    found = catalog.find("emoji")
    list(found.records(tmp_path))
    (tmp_path / "unpacked" / "emoji-16.0.0" / "1f600.png").unlink()
    with pytest.raises(FetchFailed, match="delete"):
        list(found.records(tmp_path))


@pytest.mark.registry
def test_the_real_emoji_are_pictures_with_names():
    found = catalog.find("emoji")
    records = list(found.records(catalog.cache_folder()))
    assert len(records) == 3786
    image = create(found.modality)
    sample = [image.read(one["image"]) for one in records[::37]]
    assert {pixels.shape[:2] for pixels in sample} == {(64, 64)}
    assert np.mean([pixels.shape[2] == 4 for pixels in sample]) > 0.9
    assert len({one["short_name"] for one in records}) == 3786
    assert len({one["base_name"] for one in records}) == 1714
    twice = {name for name, count in Counter(one["name"] for one in records).items() if count > 1}
    assert {name.partition(",")[0] for name in twice} == {"man in tuxedo"}
    assert not any("skin tone" in one["name"] for one in records[:1911])
    assert all("skin tone" in one["name"] for one in records[1911:])


@pytest.mark.registry
def test_no_emoji_is_in_two_parts():
    section = {
        "source": "catalog:emoji",
        "condition": {"base_name": {"modality": "text"}, "name": {"modality": "text"}},
    }
    made = prepare(Recipe.load({"modality": "image", "data": section, "model": {"family": "vae"}}))
    parts = {
        part: set(made.part(part).condition_items("base_name", range(len(made.part(part)))))
        for part in ("train", "validation", "test")
    }
    assert len(parts["test"]) > 100
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["validation"]
