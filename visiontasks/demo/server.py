"""The server of the page."""

import base64
import hashlib
import io
import json
import re
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from visiontasks.core.errors import InputError
from visiontasks.demo.answers import Demo
from visiontasks.demo.guard import Patient, Refused, check_sender, length_of

PORT = 8000
MOST = 20 * 2**20  # bytes of an uploaded file
WAITING, CONNECTIONS = 8, 256  # requests that wait for the model or are answered by it, and open connections
LINGER = 2.0  # seconds in which the rest of a refused request is read, because its sender reads the answer only then
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves the page of a demo until `shutdown`.

    Args:
        demo: The model.
        title: Its name on the page.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        patience: Seconds in which a client has to send the head of its request, then the file, then take the answer.
        waiting: Requests that wait for the model or are answered by it; others get the status 503.

    Raises:
        OSError: The address is not one of this machine, or the port is taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, demo: Demo, title: str, host: str, port: int, patience: float = 30.0, waiting: int = WAITING
    ) -> None:
        self.demo, self.host, self.patience = demo, host, patience
        self.slots, self.connections = BoundedSemaphore(waiting), BoundedSemaphore(CONNECTIONS)
        self.page = demo.page(title, MOST).encode()
        self.policy = content_policy(self.page.decode())
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    @property
    def address(self) -> str:
        """The address of the page."""
        name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer also asks the network for the name of the host
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # the client went away
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """Answers one request: `GET /`, `POST /predict` or `POST /explain`."""

    server: Server  # ty: ignore
    protocol_version = "HTTP/1.1"
    posts: ClassVar[dict[str, tuple[Callable[..., dict[str, Any]], Sequence[str]]]] = {
        "/predict": (Demo.predict, ["example"]),
        "/explain": (Demo.explain, ["example", "key", "target"]),
    }

    def setup(self) -> None:
        super().setup()
        self.patient = Patient(self.connection, self.server.patience)
        self.rfile = io.BufferedReader(self.patient)

    def finish(self) -> None:
        """Closes the connection, after the client has read the answer: else it could be lost with the unread bytes."""
        try:
            super().finish()
            self.connection.shutdown(socket.SHUT_WR)
            rest = io.BufferedReader(Patient(self.connection, LINGER))
            while rest.read1(2**16):
                pass
        except OSError:
            pass

    def do_GET(self) -> None:
        self._answer(self._page)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _page(self) -> tuple[str, bytes]:
        if self.path != "/":
            raise Refused(404, "There is nothing here.")
        return "text/html; charset=utf-8", self.server.page

    def _post(self) -> tuple[str, bytes]:
        parts = urlsplit(self.path)
        if parts.path not in self.posts:
            raise Refused(404, "There is nothing here.")
        function, known = self.posts[parts.path]
        length = length_of(self.headers, MOST)
        options = options_of(parts.query, known)
        if not self.server.slots.acquire(blocking=False):
            raise Refused(503, "The model is busy. Try again in a moment.", **{"Retry-After": "1"})
        try:
            self.patient.renew(self.server.patience)  # a browser connects before it has anything to ask
            data = self.rfile.read(length)
            if len(data) < length:
                raise Refused(400, f"The request ended after {len(data)} of {length} bytes.")
            return "application/json", json.dumps(function(self.server.demo, data, **options)).encode()
        finally:
            self.server.slots.release()

    def _answer(self, make: Callable[[], tuple[str, bytes]]) -> None:
        try:
            check_sender(self.headers, self.server.host)
            kind, body = make()
        except Refused as refused:
            self._refuse(refused)
        except InputError as error:
            self._refuse(Refused(400, str(error)))
        except TimeoutError:
            self._refuse(Refused(408, f"The request took longer than {self.server.patience:g} seconds."))
        except ConnectionError:
            raise
        except Exception:
            traceback.print_exc()
            self._refuse(Refused(500, "The server failed. Its terminal shows the reason."))
        else:
            self._send(200, kind, body)

    def _refuse(self, refused: Refused) -> None:
        body = json.dumps({"error": str(refused)}).encode()
        self._send(refused.status, "application/json", body, refused.headers)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.connection.settimeout(self.server.patience)
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": self.server.policy}
        for name, value in (HEADERS | own | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no request of HTTP, or one of another method."""
        self._refuse(Refused(code, message or self.responses[code][0]))

    def version_string(self) -> str:
        return "visiontasks"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: an error of the server prints its traceback."""


def options_of(query: str, known: Sequence[str]) -> dict[str, Any]:
    """Returns the options in the query of an address, all of them `known`; raises `Refused`."""
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=8)
    except ValueError:
        raise Refused(400, "The address has too many options.") from None
    options: dict[str, Any] = {name: values[-1] for name, values in given.items()}
    if unknown := [name for name in options if name not in known]:
        raise Refused(400, f"There is no option {unknown[0]!r} here; this address takes {', '.join(known)}.")
    for name in options.keys() & {"example", "target"}:
        if not (options[name].isascii() and options[name].isdigit() and len(options[name]) < 10):
            raise Refused(400, f"{name} is not a number.")
        options[name] = int(options[name])
    return options


def content_policy(page: str) -> str:
    """Returns the Content-Security-Policy of a page: only its own styles and scripts, its server, pictures as data."""
    sources = {}
    for tag in ("style", "script"):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        sources[tag] = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
