from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from miaobi.data.catalog import _fetch
from miaobi.data.catalog._fetch import (
    apt_download,
    apt_lists,
    npm_pack,
    pip_download,
    pip_install_target,
    tar_members,
    unpack_members,
    zip_members,
)
from miaobi.errors import FetchFailed

DATA = b"what the registry sends"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a stand-in for npm first on the path; returns how to say what it does."""

    def install(script: str) -> None:
        path = tmp_path / "bin/npm"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return install


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.glob(".fetch-*")]


def test_a_file_is_fetched_once(tmp_path: Path, npm) -> None:
    npm(f"printf '{DATA.decode()}' > made.tgz; echo x >> {tmp_path}/calls")
    for _ in range(2):
        path = npm_pack("@scope/some-data", "1.0", SHA256, tmp_path / "cache")
        assert path.read_bytes() == DATA
    assert (tmp_path / "calls").read_text() == "x\n"
    assert not leftovers(tmp_path / "cache")


def test_a_damaged_cached_file_is_fetched_again(tmp_path: Path, npm) -> None:
    npm(f"printf '{DATA.decode()}' > made.tgz")
    path = npm_pack("data", "1.0", SHA256, tmp_path)
    path.write_bytes(b"cut")
    assert npm_pack("data", "1.0", SHA256, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'cannot reach https://registry.example.org' >&2; exit 1", "failed with exit status 1"),
        ("printf other > made.tgz", "another checksum"),
        ("true", "left 0 files"),
        ("sleep 5", "took longer"),
    ],
)
def test_every_failure_names_the_client_and_a_cure_but_no_host(
    tmp_path: Path, npm, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(_fetch, "TIMEOUT", 0.5)
    npm(script)
    with pytest.raises(FetchFailed, match=message) as caught:
        npm_pack("data", "1.0", SHA256, tmp_path / "cache")
    assert "npm pack data@1.0" in caught.value.message
    assert caught.value.cure
    assert not re.search(r"https?:|example\.org", caught.value.message)
    assert not leftovers(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tgz"))


@pytest.mark.parametrize("fetch", [npm_pack, apt_download])
def test_an_absent_client_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailed, match="which is not installed"):
        fetch("data", "1.0", SHA256, tmp_path / "cache")


def test_a_file_put_in_place_by_hand_needs_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailed) as caught:
        npm_pack("data", "1.0", SHA256, tmp_path)
    place = Path(str(caught.value.cure).rsplit(" ", 1)[-1])
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    assert npm_pack("data", "1.0", SHA256, tmp_path) == place


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FetchFailed, match="MIAOBI_CACHE"):
        npm_pack("data", "1.0", SHA256, tmp_path / "file")


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("package/link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return path


def test_archives_are_read_without_leaving_the_folder(tmp_path: Path) -> None:
    members = {"package/a.json": b"1", "package/../../b.json": b"2", "package/c.txt": b"3", "other/d.json": b"4"}
    path = archive(tmp_path / "a.tgz", members)
    found = dict(tar_members(path, "package/", ".json"))
    assert found == {"package/a.json": b"1", "package/../../b.json": b"2"}
    folder = unpack_members(found.items(), "name", tmp_path / "cache")
    assert sorted(file.name for file in folder.iterdir()) == ["a.json", "b.json"]
    assert not list(tmp_path.glob("*.json"))
    assert unpack_members(iter(()), "name", tmp_path / "cache") == folder


def test_a_damaged_archive_is_said(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", {"package/a.json": b"1" * 10_000})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FetchFailed, match="delete"):
        list(tar_members(path, ""))
    with pytest.raises(FetchFailed, match="delete"):
        list(zip_members(path, ""))


def test_a_member_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "_MEMBER_BYTES", 10)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("small", b"1")
        file.writestr("large", b"1" * 11)
    assert list(zip_members(path, "small")) == [("small", b"1")]
    with pytest.raises(FetchFailed, match="larger than allowed"):
        list(zip_members(path, "large"))


@pytest.mark.registry
def test_pip_downloads_and_installs_what_is_pinned(tmp_path: Path) -> None:
    sha256 = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"
    wheel = pip_download("six", "1.17.0", sha256, tmp_path)
    assert [name for name, _ in zip_members(wheel, "six.py")] == ["six.py"]
    assert (pip_install_target({"six==1.17.0": [sha256]}, "six-1.17.0", tmp_path) / "six.py").is_file()
    with pytest.raises(FetchFailed, match="pip install"):
        pip_install_target({"six==1.17.0": ["0" * 64]}, "another", tmp_path)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a stand-in for apt-get first on the path, which notes its arguments; returns how to say what it does."""

    def install(script: str) -> None:
        path = tmp_path / "bin/apt-get"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp apt/apt.conf {tmp_path}/conf\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return install


def test_package_lists_are_fetched_once_without_the_systems_setting_of_languages(tmp_path: Path, apt) -> None:
    apt("for name in a_InRelease a_Packages.gz a_Translation-it.gz lock; do echo x > lists/$name; done")
    for _ in range(2):
        folder = apt_lists(["en", "it"], "lists", tmp_path / "cache")
        assert sorted(path.name for path in folder.iterdir()) == ["a_InRelease", "a_Packages.gz", "a_Translation-it.gz"]
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert "Acquire::Languages::=en -o Acquire::Languages::=it update" in call
    assert "#clear Acquire::Languages;" in (tmp_path / "conf").read_text()
    assert not leftovers(tmp_path / "cache")


@pytest.mark.parametrize(("script", "message"), [("true", "left no package lists"), ("exit 100", "exit status 100")])
def test_lists_that_cannot_be_fetched_are_said_and_not_kept(tmp_path: Path, apt, script: str, message: str) -> None:
    apt(script)
    with pytest.raises(FetchFailed, match=message):
        apt_lists(["en"], "lists", tmp_path / "cache")
    assert not (tmp_path / "cache/unpacked").exists()


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="this machine has no apt")
def test_apt_is_told_to_keep_away_from_the_systems_folders(tmp_path: Path) -> None:
    with _fetch._scratch(tmp_path) as scratch:
        keys = ("Dir::State::lists/d", "Dir::Cache/d", "Dir::Cache::archives/d")
        names = [part for place, key in enumerate(keys) for part in (f"V{place}", key)]
        command = ["apt-config", "--config-file", "apt/apt.conf"]
        shown = subprocess.run([*command, "shell", *names], cwd=scratch, capture_output=True, text=True, check=True)
        dumped = subprocess.run([*command, "dump"], cwd=scratch, capture_output=True, text=True, check=True)
    assert re.findall(r"'(.*)'", shown.stdout) == ["./lists/", "./apt/", "./apt/archives/"]
    assert not re.search(r'^APT::Update::\S*Invoke\S* "[^"]', dumped.stdout, re.MULTILINE)
