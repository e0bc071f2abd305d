"""The local server of a rating page: this machine only, one secret address a rater, nothing that names a system.

A rater's browser is sent the words of the current trial and, under the trial's own opaque address, its media. Which
system made what stays in the study's folder.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from miaobi.errors import InvalidRecipe, MiaobiError, RunFolderError
from miaobi.evaluation.human.media import TYPES
from miaobi.evaluation.human.plan import Shown
from miaobi.evaluation.human.records import POINTS, TIE, Task
from miaobi.evaluation.human.store import LONGEST, Study, check_raters

SITE = Path(__file__).parent / "site"
_STATIC = {
    "": ("rate.html", "text/html"),
    "rate.css": ("rate.css", "text/css"),
    "rate.js": ("rate.js", "text/javascript"),
}
_LARGEST_BODY = 4096
_MOST_READ = 1 << 16
_MOST_DIGITS = 9
_PATIENCE = 30
_USUAL_PORT = 80
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SIDES = ("a", "b")


class Refused(Exception):
    """An answer that the server does not take, with its status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


@dataclass
class Session:
    """One rater's way through the trials; the server's threads share it."""

    study: Study
    rater: str
    plan: list[Shown]
    done: set[str]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def current(self) -> Shown | None:
        """The first trial without an answer."""
        return next((shown for shown in self.plan if shown.trial.key not in self.done), None)

    def state(self) -> dict[str, Any]:
        """What the page shows."""
        design, current = self.study.design, self.current
        state: dict[str, Any] = {"done": len(self.done), "total": len(self.plan), "trial": None}
        if current is None:
            return state
        pieces = [self.study.pieces[id_] for id_ in current.pieces]
        shown = [
            {
                "kind": piece.kind,
                **({"text": piece.text} if not piece.file else {"media": f"media/{current.id}/{side}"}),
            }
            for side, piece in zip(_SIDES, pieces, strict=False)
        ]
        state |= {"trial": current.id, "question": design.question, "given": pieces[0].given, "pieces": shown}
        if design.task is Task.LIKERT:
            return state | {"points": POINTS, "low": design.low, "high": design.high}
        return state | {"ties": design.ties}

    def answer(self, body: Any) -> None:
        """Store an answer to the current trial.

        Raises:
            Refused: not an answer, or not to the current trial.
        """
        known = isinstance(body, dict) and body.keys() == {"trial", "answer", "seconds"}
        if not known or not isinstance(body["seconds"], int | float) or isinstance(body["seconds"], bool):
            raise Refused(HTTPStatus.BAD_REQUEST, "an answer has trial, answer and seconds")
        with self.lock:
            current = self.current
            if current is None or body["trial"] != current.id:
                raise Refused(HTTPStatus.CONFLICT, "this trial has its answer already, or is not the next one")
            seconds = float(max(-1, min(body["seconds"], LONGEST)))
            self.study.add(self.rater, current, self._choice(current, body["answer"]), seconds)
            self.done.add(current.trial.key)

    def media(self, trial: str, side: str) -> Path:
        """The file of one side of the current trial.

        Raises:
            Refused: another trial, or no file.
        """
        current = self.current
        sides = {} if current is None else dict(zip(_SIDES, current.pieces, strict=False))
        if current is None or trial != current.id or side not in sides or not self.study.pieces[sides[side]].file:
            raise Refused(HTTPStatus.NOT_FOUND, "no such file")
        return self.study.media / self.study.pieces[sides[side]].file

    def _choice(self, shown: Shown, answer: Any) -> str:
        design = self.study.design
        allowed = (
            {str(n): str(n) for n in range(1, POINTS + 1)}
            if design.task is Task.LIKERT
            else {**dict(zip(_SIDES, shown.pieces, strict=True)), **({TIE: TIE} if design.ties else {})}
        )
        if not isinstance(answer, str) or answer not in allowed:
            raise Refused(HTTPStatus.BAD_REQUEST, "not an answer to this trial")
        return allowed[answer]


class Server:
    """A server of one study, bound to 127.0.0.1; use it as a context manager.

    Args:
        study: what is rated.
        raters: their names; each has an address of their own in `addresses`.
        port: 0 takes a free one.

    Raises:
        InvalidRecipe: names or a port that cannot be used.
        RunFolderError: the port is taken, or another server has the study.
    """

    def __init__(self, study: Study, raters: Sequence[str], port: int = 0) -> None:
        names = check_raters(raters)
        if not 0 <= port < 1 << 16:
            raise InvalidRecipe("the port is out of range", given=port, allowed="0 to 65535")
        with ExitStack() as held:
            held.enter_context(study.served())
            answers = study.answers()
            done = {name: {answer.trial for answer in answers if answer.rater == name} for name in names}
            self.sessions = {
                secrets.token_urlsafe(16): Session(study, name, study.plan(name), done[name]) for name in names
            }
            try:
                self._http = _Http(("127.0.0.1", port), _handler(self))
            except OSError as error:
                raise RunFolderError(f"cannot serve: {error}", given=port, cure="choose another --port") from None
            # Until the server is closed.
            self._held = held.pop_all()
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)
        self.finished = threading.Event()
        self.note_progress()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._http.server_address[1])

    @property
    def addresses(self) -> dict[str, str]:
        """Each rater's own, secret address."""
        return {one.rater: f"http://127.0.0.1:{self.port}/{token}/" for token, one in self.sessions.items()}

    @property
    def hosts(self) -> set[str]:
        """What a browser calls this server; the usual port goes unsaid."""
        named = ("127.0.0.1", "localhost")
        return {*(f"{host}:{self.port}" for host in named), *(named if self.port == _USUAL_PORT else ())}

    def note_progress(self) -> None:
        """Set `finished` once every rater has answered everything."""
        if all(one.current is None for one in self.sessions.values()):
            self.finished.set()

    def session(self, token: str) -> Session | None:
        """The session of a token, found in constant time."""
        found = None
        for known, session in self.sessions.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = session
        return found

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._held.close()


def serve(
    study: Study,
    raters: Sequence[str] = ("rater",),
    *,
    port: int = 0,
    ready: Callable[[dict[str, str]], None] = lambda addresses: None,
) -> bool:
    """Serve until every rater has answered everything, or Ctrl-C.

    Args:
        study: what is rated; answers that it has are kept, and it goes on behind them.
        raters: their names.
        port: 0 takes a free one.
        ready: called with each rater's address once the server answers.

    Returns:
        Whether everything was answered.

    Raises:
        RequestError: names or a port that cannot be used.
    """
    with Server(study, raters, port) as server:
        ready(server.addresses)
        try:
            # In steps, for a wait without an end would not hear Ctrl-C everywhere.
            while not server.finished.wait(0.5):
                pass
        except KeyboardInterrupt:
            return False
        return True


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # Another server's port is not taken over.
    allow_reuse_address = False


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        rating = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    rating: Server
    timeout = _PATIENCE
    # A connection that is kept alive would outlive the server.
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def version_string(self) -> str:
        return "rating"

    def log_message(self, *_: Any) -> None:
        """Nothing: addresses are secrets."""

    def _guarded(self, work: Callable[[Session, str, bytes], None]) -> None:
        try:
            body = self._body()
            session, rest = self._session()
            work(session, rest, body)
        except Refused as refused:
            self._json(refused.status, {"error": refused.message})
        except MiaobiError as error:
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": error.what})

    def _body(self) -> bytes:
        """What was sent, read before anything is refused: a reply over unread bytes may be lost."""
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or len(size) > _MOST_DIGITS:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "not a length")
        body = self.rfile.read(min(int(size), _MOST_READ))
        if int(size) > _LARGEST_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an answer has at most {_LARGEST_BODY} bytes")
        return body

    def _session(self) -> tuple[Session, str]:
        # A page of another site that has its name resolve to this machine sends its own name here.
        if self.headers.get("Host") not in self.rating.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "another host's name")
        _, token, rest = (*self.path.split("?")[0].split("/", 2), "", "")[:3]
        session = self.rating.session(token)
        if session is None:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing here")
        return session, rest

    def _get(self, session: Session, rest: str, body: bytes) -> None:
        if rest == "state":
            self._json(HTTPStatus.OK, session.state())
        elif rest in _STATIC:
            name, kind = _STATIC[rest]
            self._send(HTTPStatus.OK, f"{kind}; charset=utf-8", (SITE / name).read_bytes())
        elif len(parts := rest.split("/")) == 3 and parts[0] == "media":
            path = session.media(parts[1], parts[2])
            self._send(HTTPStatus.OK, TYPES[path.suffix], path.read_bytes())
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing here")

    def _post(self, session: Session, rest: str, body: bytes) -> None:
        if rest != "answer" or self.headers.get("Content-Type") != "application/json":
            raise Refused(HTTPStatus.BAD_REQUEST, "answers are JSON, sent to answer")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "not JSON") from None
        session.answer(given)
        # The last rater's page is told before the server is.
        self._json(HTTPStatus.OK, session.state())
        self.rating.note_progress()

    def _json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
