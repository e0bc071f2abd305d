"""The rating server: this machine only, nothing without the secret address, nothing that says who made what."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from miaobi.errors import InvalidRecipe, RunFolderError
from miaobi.evaluation.human import Server, Study, serve
from miaobi.evaluation.human.media import opaque
from miaobi.sampling.noise import derive_one
from tests.evaluation.human.studies import SECRET, clips, picture_study, rate, sounds, text_study


class Client:
    """A rater's browser, without the browser."""

    def __init__(self, address: str) -> None:
        self.base = urlsplit(address)
        self.seen = b""

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.base.port, timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        content = reply.read()
        self.headers = dict(reply.getheaders())
        self.seen += content + str(reply.headers).encode()
        connection.close()
        return reply.status, content

    def state(self) -> dict[str, Any]:
        status, content = self.ask("GET", self.base.path + "state")
        assert status == 200
        return json.loads(content)

    def answer(self, value: Any) -> tuple[int, dict[str, Any]]:
        status, content = self.ask(
            "POST", self.base.path + "answer", json.dumps(value).encode(), Content_Type="application/json"
        )
        return status, json.loads(content)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return picture_study(tmp_path, "real")


@pytest.fixture
def client(study: Study) -> Iterator[Client]:
    with Server(study, ["ann", "bo"]) as server:
        yield Client(server.addresses["ann"])


def test_a_rater_goes_through_and_is_sent_no_name(study: Study, client: Client) -> None:
    for name in ("", "rate.css", "rate.js"):
        assert client.ask("GET", client.base.path + name)[0] == 200
    assert SECRET.encode() not in client.seen
    client.seen = b""
    state = client.state()
    while state["trial"]:
        for piece in state["pieces"]:
            if "media" in piece:
                status, content = client.ask("GET", client.base.path + piece["media"])
                assert status == 200
                assert content.startswith(b"\x89PNG")
        status, state = client.answer({"trial": state["trial"], "answer": "a", "seconds": 1.0})
        assert status == 200
    assert state == {"done": len(study.trials), "total": len(study.trials), "trial": None}
    assert len(study.answers()) == len(study.trials)
    assert all(answer.choice == answer.first for answer in study.answers())
    for word in (SECRET, "held-out", "rated", "broken", "catch", "expected", "system"):
        assert word.encode() not in client.seen, word
    ids = [piece.id for piece in study.pieces.values()]
    assert not any(id_.encode() in client.seen for id_ in ids)


def test_replies_have_strict_headers(client: Client) -> None:
    client.ask("GET", client.base.path)
    assert "default-src 'none'" in client.headers["Content-Security-Policy"]
    assert "unsafe" not in client.headers["Content-Security-Policy"]
    assert client.headers["X-Content-Type-Options"] == "nosniff"
    assert client.headers["Referrer-Policy"] == "no-referrer"
    assert client.headers["Cache-Control"] == "no-store"
    assert client.headers["Server"] == "rating"


def test_no_trial_is_answered_twice_or_out_of_turn(study: Study, client: Client) -> None:
    first = client.state()["trial"]
    last = study.plan("ann")[-1].id
    assert client.answer({"trial": last, "answer": "a", "seconds": 1})[0] == 409
    assert client.answer({"trial": first, "answer": "a", "seconds": 1})[0] == 200
    assert client.answer({"trial": first, "answer": "b", "seconds": 1})[0] == 409
    assert len(study.answers()) == 1


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"trial": "TRIAL", "answer": "c", "seconds": 1},
        {"trial": "TRIAL", "answer": "tie", "seconds": 1},
        {"trial": "TRIAL", "answer": ["a"], "seconds": 1},
        {"trial": "TRIAL", "answer": "a", "seconds": "1"},
        {"trial": "TRIAL", "answer": "a", "seconds": True},
        {"trial": "TRIAL", "answer": "a", "seconds": 1, "rater": "bo"},
    ],
)
def test_what_is_no_answer_is_refused(body: Any, study: Study, client: Client) -> None:
    if isinstance(body, dict) and "trial" in body:
        body = {**body, "trial": client.state()["trial"]}
    assert client.answer(body)[0] == 400
    assert study.answers() == []


def test_odd_numbers_of_seconds_are_bounded(study: Study, client: Client) -> None:
    for seconds in ("1e999", "NaN", "-5", "9" * 400):
        trial = client.state()["trial"]
        body = f'{{"trial": "{trial}", "answer": "a", "seconds": {seconds}}}'.encode()
        assert client.ask("POST", client.base.path + "answer", body, Content_Type="application/json")[0] == 200
    assert [answer.seconds for answer in study.answers()] == [86_400.0] * 4


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 404),
        ("GET", "/wrong-token/state", None, {}, 404),
        ("GET", "TOKEN../study.json", None, {}, 404),
        ("GET", "TOKENstudy.json", None, {}, 404),
        ("GET", "TOKENmedia/../study.json", None, {}, 404),
        ("GET", "TOKENmedia/%2e%2e/study.json", None, {}, 404),
        ("GET", "TOKENmedia/x/a", None, {}, 404),
        ("GET", "TOKENmedia/LAST/a", None, {}, 404),
        ("GET", "TOKENstate", None, {"Host": "evil.example"}, 403),
        ("POST", "TOKENanswer", b"{", {"Content_Type": "application/json"}, 400),
        ("POST", "TOKENanswer", b"{}", {"Content_Type": "text/plain"}, 400),
        ("POST", "TOKENanswer", b"[" * 4000, {"Content_Type": "application/json"}, 400),
        ("POST", "TOKENanswer", b" " * 5000, {"Content_Type": "application/json"}, 413),
        ("POST", "TOKENanswer", b"", {"Content_Length": "-1"}, 413),
        ("PUT", "TOKENanswer", b"{}", {}, 501),
    ],
)
def test_what_is_not_for_raters_is_refused(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, study: Study, client: Client
) -> None:
    path = path.replace("TOKEN", client.base.path).replace("LAST", study.plan("ann")[-1].id)
    assert client.ask(method, path, body, **headers)[0] == status
    assert study.answers() == []


def test_raters_have_secret_addresses_of_their_own(study: Study) -> None:
    with Server(study, ["ann"]) as server:
        other = list(server.addresses.values())
    with Server(study, ["ann", "bo"]) as server:
        addresses = [*server.addresses.values(), *other]
        assert len(set(addresses)) == 3
        assert all(address.startswith("http://127.0.0.1:") and len(address) > 45 for address in addresses)
        ann, bo = (Client(address) for address in server.addresses.values())
        ann.answer({"trial": ann.state()["trial"], "answer": "a", "seconds": 1})
        assert (ann.state()["done"], bo.state()["done"]) == (1, 0)
        assert ann.ask("GET", f"{bo.base.path}state")[0] == 200
        assert server._http.server_address[0] == "127.0.0.1"


def test_a_study_goes_on_behind_its_answers(study: Study) -> None:
    with Server(study, ["ann"]) as server:
        client = Client(server.addresses["ann"])
        for _ in range(3):
            client.answer({"trial": client.state()["trial"], "answer": "b", "seconds": 1})
        following = client.state()["trial"]
    with Server(Study.open(study.folder), ["ann"]) as server:
        state = Client(server.addresses["ann"]).state()
        assert (state["done"], state["trial"]) == (3, following)


def test_serving_ends_when_everything_is_answered(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", n=2)

    def all_fives(addresses: dict[str, str]) -> None:
        client = Client(addresses["ann"])
        state = client.state()
        assert (state["points"], state["low"], state["high"]) == (5, "bad", "good")
        while state["trial"]:
            _, state = client.answer({"trial": state["trial"], "answer": "5", "seconds": 1})

    assert serve(study, ["ann"], ready=all_fives)
    assert serve(study, ["ann"]), "nothing is left to do"


@pytest.mark.parametrize(("make", "start"), [(sounds, b"RIFF"), (clips, b"\0\0\0")])
def test_sounds_and_clips_are_sent(make: Any, start: bytes, tmp_path: Path) -> None:
    study = rate(
        [make(tmp_path / SECRET, 8), make(tmp_path / "other", 8)], task="pairs", n=3, ties=True, out=tmp_path / "study"
    )
    with Server(study, ["ann"]) as server:
        client, found = Client(server.addresses["ann"]), 0
        state = client.state()
        while state["trial"]:
            for piece in state["pieces"]:
                if "media" in piece:
                    found += client.ask("GET", client.base.path + piece["media"])[1].startswith(start)
            _, state = client.answer({"trial": state["trial"], "answer": "tie", "seconds": 1})
    assert found >= 8
    assert SECRET.encode() not in client.seen


def test_a_taken_port_and_a_wrong_one_are_errors(study: Study, tmp_path: Path) -> None:
    other = picture_study(tmp_path / "other", "likert")
    with Server(study, ["ann"]) as server, pytest.raises(RunFolderError, match="another --port"):
        Server(other, ["ann"], server.port)
    with Server(other, ["ann"]):
        pass
    with pytest.raises(InvalidRecipe, match="port"):
        Server(study, ["ann"], 70_000)


def test_a_study_is_served_once_at_a_time(study: Study) -> None:
    with Server(study, ["ann"]), pytest.raises(RunFolderError, match="served already"):
        Server(Study.open(study.folder), ["bo"])
    with Server(Study.open(study.folder), ["bo"]) as server:
        client = Client(server.addresses["bo"])
        assert client.answer({"trial": client.state()["trial"], "answer": "a", "seconds": 1})[0] == 200


def test_a_browser_leaves_the_usual_port_out(study: Study, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.ask("GET", client.base.path + "state", Host="127.0.0.1")[0] == 403
    monkeypatch.setattr(Server, "port", property(lambda server: 80))
    for host in ("127.0.0.1", "localhost", "127.0.0.1:80"):
        assert client.ask("GET", client.base.path + "state", Host=host)[0] == 200
    assert client.ask("GET", client.base.path + "state", Host="evil.example")[0] == 403


def test_what_the_page_is_sent_does_not_say_which_side_is_real(study: Study, client: Client) -> None:
    """All that a rater knows besides is the program, the study's seed and their own name."""
    sent = client.state()["trial"]
    keys = [trial.key for trial in study.trials]
    for salt in ("0" * 32, study.design.salt):
        found = [key for key in keys if opaque(salt, "trial", "ann", key) == sent]
        assert len(found) == (salt == study.design.salt), "told by whoever has the salt alone"
    known = derive_one(study.design.seed, "rater", "ann")
    assert sent not in {f"{derive_one(known, 'trial', key) % 2**64:016x}" for key in keys}
    assert study.design.salt.encode() not in client.seen
