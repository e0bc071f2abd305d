"""The two READMEs and the documents say what is: links, commands, recipes, the tree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from miaobi import families, networks
from miaobi.cli._app import VERBS, run
from miaobi.recipe import Recipe, shipped

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
READMES = ROOT / "README.md", ROOT / "README.zh.md"
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


def without_comments(text: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for line in text.splitlines()]


@by_name
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith(("http", "#")):
            assert (document.parent / target.partition("#")[0]).exists(), target


@by_name
def test_recipes_in_documents_parse(document: Path) -> None:
    for block in blocks(document, "yaml"):
        family = Recipe.load(yaml.safe_load(block)).model.family
        # The worked family of one page exists in that page only, and has a test of its own.
        assert family in families.names() or document.name == "add-a-family.md"


@by_name
def test_commands_exist(document: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    makefile = (ROOT / "Makefile").read_text()
    for line in (line for block in blocks(document, "console") for line in without_comments(block)):
        words = shlex.split(line.partition("|")[0])
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.M), line
        elif words[:1] == ["miaobi"]:
            assert words[1] in VERBS, line
            verb = words[1:3] if words[1] == "data" else words[1:2]
            assert run([*verb, "--help"]) == 0
            options = capfd.readouterr().out
            assert all(word in options for word in words if word.startswith("-")), line


@by_name
def test_shipped_recipes_named_in_documents_exist(document: Path) -> None:
    named = re.findall(
        r"miaobi (?:train|estimate) ((?:text|image|music|speech|video|classic|demo)/[a-z0-9-]+)", document.read_text()
    )
    assert set(named) <= set(shipped())


def test_the_readme_is_short() -> None:
    assert all(len(readme.read_text().splitlines()) < 150 for readme in READMES)


def test_the_two_readmes_are_in_step() -> None:
    english, chinese = (readme.read_text() for readme in READMES)
    for language in ("console", "yaml", "python"):
        left, right = ([without_comments(block) for block in blocks(readme, language)] for readme in READMES)
        assert left == right
    for pattern in (r"^#+ ", r"^- ", r"^\| `", r"^(?:  )?[\w./]+/ "):
        assert len(re.findall(pattern, english, re.M)) == len(re.findall(pattern, chinese, re.M)), pattern


def test_the_tree_is_the_packages() -> None:
    (tree,) = re.findall(r"^```\n(src/miaobi/.*?)^```", READMES[0].read_text(), re.M | re.S)
    named = set(re.findall(r"^  (\S+)", tree, re.M))
    package = ROOT / "src" / "miaobi"
    there = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in package.glob("*.py")}
    assert named == there
    assert all((ROOT / name).is_dir() for name in re.findall(r"^(\w+)/ ", tree, re.M))


def test_every_family_and_network_is_in_the_table() -> None:
    table = "\n".join(line for line in READMES[0].read_text().splitlines() if line.startswith("| `"))
    assert {f"`{name}`" for name in (*families.names(), *networks.names())} <= set(re.findall(r"`\w+`", table))
