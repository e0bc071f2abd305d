"""The rating page in a real browser: headless Chromium goes through whole studies by keyboard and by mouse."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miaobi.evaluation.human import Server, Study, rate, results
from tests.evaluation.human.studies import SECRET, clips, picture_study, sounds, text_study

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the rating page was not tested in a browser"),
    pytest.mark.xdist_group("chromium"),
]
if CHROMIUM is None:
    # A skip is one letter among thousands; this is a line in the summary, also where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("NO CHROMIUM: apt-get install chromium-headless-shell tests the rating page", stacklevel=1)

WIDE, PHONE = {"width": 1100, "height": 760}, {"width": 390, "height": 760}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Each launch has a user-data folder of its own.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with browser.new_context(viewport=WIDE) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        yield page


def start(page: Any, server: Server) -> None:
    page.goto(server.addresses["ann"])
    ready(page, 1)


def ready(page: Any, number: int) -> None:
    """Wait until a trial is shown whole and waits for an answer."""
    page.wait_for_function(
        "n => document.getElementById('count').textContent.startsWith(`${n} of`) && current !== null", arg=number
    )


def attentive(page: Any, otherwise: str) -> str:
    """The key that an attention check asks for, else the one given."""
    checks = page.locator("pre.check").all_text_contents()
    for key, text in enumerate(checks, 1):
        if text.endswith("this side."):
            return str(key)
        if "choose " in text and text[-2].isdigit():
            return text[-2]
    return otherwise


def test_a_rater_goes_through_by_keyboard_and_mouse_with_a_reload_between(page: Any, tmp_path: Path) -> None:
    study = picture_study(tmp_path, "real")
    replies: list[Any] = []
    page.on("response", lambda reply: replies.append((reply.url, reply.headers, reply.body())))
    total, sources = len(study.trials), []
    with Server(study, ["ann"]) as server:
        start(page, server)
        for number in range(1, total + 1):
            ready(page, number)
            sources.append(page.content())
            assert page.locator("#next").is_disabled()
            key = attentive(page, otherwise="1")
            if number % 3 == 0:
                page.locator("#choices label").nth(int(key) - 1).click()
                page.locator("#next").click()
            elif number % 3 == 1:
                page.keyboard.press({"1": "ArrowLeft", "2": "ArrowRight"}[key])
                page.keyboard.press("Enter")
            else:
                page.keyboard.press(key)
                page.keyboard.press("Enter")
            if number == total // 2:
                ready(page, number + 1)
                page.reload()
        page.wait_for_selector("#over:not([hidden])")
        sources.append(page.content())
        assert page.locator("#over h1").inner_text() == "Thank you"
        page.wait_for_function("() => document.activeElement.textContent === 'Thank you'")
        assert server.finished.wait(60)
    answers = study.answers()
    assert [answer.trial for answer in answers] == [shown.trial.key for shown in study.plan("ann")]
    assert all(0 < answer.seconds < 60 for answer in answers)
    assert page.problems == []
    _nothing_tells(study, replies, sources)
    found = results(study.folder)
    assert found.raters[0].catches == 6
    assert found.raters[0].answered == total


def _nothing_tells(study: Study, replies: list[Any], sources: list[str]) -> None:
    seen = [text.encode() for text in sources]
    seen += [url.encode() + str(headers).encode() + body for url, headers, body in replies]
    assert len(replies) > 2 * len(study.trials)
    words = [SECRET, "held-out", *study.pieces, *(trial.key for trial in study.trials)]
    for word in words:
        assert not any(word.encode() in content for content in seen), word
    lengths = {len(body) for url, _, body in replies if "/media/" in url}
    assert len(lengths) == 1, "the size of a picture says nothing"


def test_catch_trials_are_judged(page: Any, tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", n=2)
    with Server(study, ["ann"]) as server:
        start(page, server)
        for number in range(1, len(study.trials) + 1):
            ready(page, number)
            words = page.locator("#pieces pre").inner_text()
            broken = any(
                trial.role == "broken" and study.pieces[trial.pieces[0]].text.split() == words.split()
                for trial in study.trials
            )
            page.keyboard.press(attentive(page, otherwise="1" if broken else "4"))
            page.keyboard.press("Enter")
        page.wait_for_selector("#over:not([hidden])")
    (rater,) = results(study.folder).raters
    assert (rater.right, rater.catches, rater.kept) == (6, 6, True)


def test_arrows_move_on_the_scale_and_enter_waits_for_an_answer(page: Any, tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", n=2)
    with Server(study, ["ann"]) as server:
        start(page, server)
        page.keyboard.press("Enter")
        assert study.answers() == []
        for keys, value in (
            (["ArrowRight"], "3"),
            (["ArrowRight"], "4"),
            (["ArrowUp", "ArrowUp"], "5"),
            (["ArrowLeft"] * 6, "1"),
            (["7"], "1"),
        ):
            for key in keys:
                page.keyboard.press(key)
            assert page.locator("#choices :checked").get_attribute("value") == value
        page.keyboard.press("Enter")
        ready(page, 2)
    assert [answer.choice for answer in study.answers()] == ["1"]


def test_cannot_tell_is_there_only_where_the_design_says_so(page: Any, tmp_path: Path) -> None:
    for ties in (True, False):
        study = text_study(tmp_path / str(ties), "pairs", n=2, ties=ties)
        with Server(study, ["ann"]) as server:
            start(page, server)
            assert (page.get_by_label("Cannot tell").count() == 1) is ties
            page.keyboard.press("3")
            assert page.locator("#next").is_disabled() is not ties


@pytest.mark.parametrize(("make", "tag"), [(sounds, "audio"), (clips, "video")])
def test_sounds_and_clips_are_loaded(make: Any, tag: str, page: Any, tmp_path: Path) -> None:
    study = rate([make(tmp_path / "a", 8), make(tmp_path / "b", 8)], task="pairs", n=3, out=tmp_path / "study")
    with Server(study, ["ann"]) as server:
        start(page, server)
        for number in range(1, len(study.trials) + 1):
            ready(page, number)
            if page.locator(f"#pieces {tag}").count():
                assert page.locator(f"#pieces {tag}").evaluate_all("all => all.every(one => one.duration > 0)")
                break
            page.keyboard.press("1")
            page.keyboard.press("Enter")
        assert page.locator(f"#pieces {tag}").count() == 2
    assert page.problems == []


def test_two_tabs_of_a_rater_do_not_answer_twice(browser: Any, page: Any, tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs", n=2)
    with Server(study, ["ann"]) as server, browser.new_context() as context:
        other = context.new_page()
        start(page, server)
        start(other, server)
        for tab in (page, other):
            tab.keyboard.press("1")
            tab.keyboard.press("Enter")
            ready(tab, 2)
    assert len(study.answers()) == 1


def test_a_server_that_went_away_is_told(page: Any, tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs", n=2)
    with Server(study, ["ann"]) as server:
        start(page, server)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('status').textContent.includes('does not answer')")
    assert page.locator("#next").is_enabled(), "it can be tried again"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_fits_and_can_be_read(browser: Any, scheme: str, size: dict[str, int], tmp_path: Path) -> None:
    study = picture_study(tmp_path, "real", n=3)
    with Server(study, ["ann"]) as server, browser.new_context(viewport=size, color_scheme=scheme) as context:
        page = context.new_page()
        start(page, server)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        tops = page.locator("figure").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
        assert (len(set(tops)) == 1) is (size == WIDE), "side by side, and one below the other on a phone"
        for selector in ("h1", "#count", "figcaption", "#choices label", "button"):
            assert contrast(page, selector) >= 4.5 or selector == "button", selector
        page.keyboard.press("1")
        page.wait_for_timeout(50)
        assert contrast(page, "button") >= 4.5
        unnamed = "all => all.filter(one => !one.getAttribute('aria-label') || !one.closest('fieldset')).length"
        assert page.locator("input").evaluate_all(unnamed) == 0
        shot = page.screenshot(full_page=True)
    assert shot.startswith(b"\x89PNG")


def contrast(page: Any, selector: str) -> float:
    """WCAG's contrast of an element's text against what is behind it."""
    colours = page.locator(selector).first.evaluate(
        """element => {
             let behind = element;
             const clear = (one) => getComputedStyle(one).backgroundColor.endsWith(', 0)');
             while (behind.parentElement && clear(behind)) behind = behind.parentElement;
             return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
               .map(text => text.match(/[0-9.]+/g).slice(0, 3).map(Number));
           }"""
    )
    light, dark = sorted((luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
