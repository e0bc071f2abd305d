"""The demo on data that is on every machine: what it makes, what it says, and what happens without a registry."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import miaobi.demo as demo_module
from miaobi import training
from miaobi.cli._app import run
from miaobi.demo import demo
from miaobi.demo.chapters import CHAPTERS, Chapter
from miaobi.errors import FetchFailed
from miaobi.recipe import Recipe, shipped
from miaobi.training import Result

TINY = (
    "model.size=tiny",
    "data.clean.limit=200",
    "train.minutes=null",
    "train.steps=4",
    "train.batch_size=8",
    "train.tracking=[]",
    "evaluate.samples=10",
)
DETAILS = {"lines": ("modality.max_length=64",), "digits": ("evaluate.extractor=pixels",)}
OUTSIDE = ("http://", "https://", "//")


class Links(HTMLParser):
    """Collects what a page would fetch, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for key, value in attrs if key in ("src", "href")]


def stand_ins() -> tuple[Chapter, ...]:
    """The chapters that need no registry, made tiny."""
    found = [chapter.stand_in for chapter in CHAPTERS if chapter.stand_in]
    return tuple(replace(chapter, quick=(*TINY, *DETAILS[chapter.name])) for chapter in found)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> demo_module.Demo:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "CHAPTERS", stand_ins())
        patch.setenv("MIAOBI_CACHE", str(tmp_path_factory.mktemp("cache")))
        return demo(tmp_path_factory.mktemp("demo"), quick=True, progress=False)


def test_the_page_is_whole_and_fetches_nothing(shown: demo_module.Demo) -> None:
    page = Links()
    page.feed(shown.page.read_text(encoding="utf-8"))
    assert not [link for link in page.fetched if link.startswith(OUTSIDE)]
    assert page.tags.count("h2") == 3 * len(shown.shown) + 2, (
        "samples, scores and curves of each; how to read, what next"
    )
    assert page.tags.count("img") == 80, "ten digits, eight times each"
    assert {"svg", "table", "pre"} <= set(page.tags)


def test_it_says_three_commands_that_work(shown: demo_module.Demo) -> None:
    assert len(shown.next) == 3
    for command in shown.next:
        words = command.split()
        assert words[0] == "miaobi"
        assert words[2] in shipped() or Path(words[2]).exists()
        assert command in shown.text()
        assert command in shown.page.read_text(encoding="utf-8")


def test_it_is_plain_json(shown: demo_module.Demo) -> None:
    plain = json.loads(json.dumps(shown.to_json()))
    assert [chapter["name"] for chapter in plain["chapters"]] == ["lines", "digits"]
    assert all(chapter["scores"] for chapter in plain["chapters"])
    assert len(plain["chapters"][0]["samples"]) == 6


def test_scores_and_samples_are_in_the_text(shown: demo_module.Demo) -> None:
    text = shown.text()
    assert "bits per byte" in text
    assert "kernel distance" in text
    assert str(shown.page) in text


def test_a_second_demo_goes_on_from_the_first(shown: demo_module.Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "CHAPTERS", stand_ins()[1:])
    again = demo(shown.page.parent, quick=True, progress=False)
    assert again.shown[0].steps == shown.shown[1].steps
    assert again.shown[0].scores.keys() == shown.shown[1].scores.keys()


def test_without_a_registry_it_falls_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(recipe: str, **options: object) -> Result:
        if any(recipe == chapter.recipe for chapter in CHAPTERS):
            raise FetchFailed("the registry cannot be reached")
        trained.append(recipe)
        changes = (*TINY, *DETAILS[recipe.partition("/")[2]])
        return real(recipe, run=options["run"], changes=changes, resume=True, progress=False)  # type: ignore[arg-type]

    real = training.train
    monkeypatch.setattr(training, "train", train)
    made = demo(tmp_path / "demo", progress=False)
    assert trained == ["demo/lines", "demo/digits"]
    assert len(made.replaced) == len(CHAPTERS) == 3
    assert "left out" in made.replaced[2]
    page = made.page.read_text(encoding="utf-8")
    assert "could not be fetched" in page
    assert "could not be fetched" in made.text()


def test_the_chapters_recipes_exist() -> None:
    for chapter in (*CHAPTERS, *(c.stand_in for c in CHAPTERS if c.stand_in)):
        assert {chapter.recipe, chapter.longer} <= set(shipped())
        Recipe.load(chapter.recipe, chapter.quick)


def test_the_command_line_gives_the_page(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    made = demo_module.Demo(Path("demo/report.html"), [], [], ["miaobi list"], 1.0)
    monkeypatch.setattr(demo_module, "demo", lambda out, quick: made)
    assert run(["demo", "--quick", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["page"] == "demo/report.html"
