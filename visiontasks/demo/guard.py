"""What keeps foreign pages, slow clients and crowds away from the server."""

import io
import socket
import time
from ipaddress import ip_address
from typing import Any

LOCAL = ("127.0.0.1", "localhost", "::1")


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: Status of HTTP.
        reason: What the person or program at the other end reads.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers


class Patient(io.RawIOBase):
    """The bytes from a socket until a time; a client that sends them one by one cannot hold it longer.

    Args:
        connection: The socket.
        seconds: From now on; a read after them raises a `TimeoutError`.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection = connection
        self.renew(seconds)

    def renew(self, seconds: float) -> None:
        """Gives the client more seconds, from now on."""
        self.end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


def is_own(host: str, bound: str) -> bool:
    """Tells whether the header `Host` names this server, and not a foreign name that leads here (DNS rebinding).

    Args:
        host: The header. Its port may be any, because tunnels and containers change it.
        bound: The address that the server listens at. Unless it is a local one, any IP address is this server's.
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    name, bound = name.removeprefix("[").removesuffix("]").lower(), bound.lower()  # names have no case
    return name in (*LOCAL, bound) or (bound not in LOCAL and _is_address(name))


def check_sender(headers: Any, bound: str) -> None:
    """Raises `Refused` unless a request is meant for this server and comes from its own page, or from a program."""
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1 or not is_own(hosts[0], bound):
        raise Refused(403, "This address is not the server's own. Open the address that the terminal shows.")
    origins = headers.get_all("Origin", [])
    if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
        raise Refused(403, "Requests from other pages are not answered.")


def length_of(headers: Any, most: int) -> int:
    """Returns the number of bytes that a request announces; raises `Refused` if there is none, or more than `most`."""
    given = headers.get_all("Content-Length", [])
    if headers.get("Transfer-Encoding") is not None or not given:
        raise Refused(411, "The request lacks the header Content-Length.")
    if len(given) != 1 or not (given[0].isascii() and given[0].isdigit()):
        raise Refused(400, "The header Content-Length is not one number.")
    if len(given[0]) > 15 or int(given[0]) > most:
        raise Refused(413, f"The file is larger than {most / 2**20:.0f} MB. Make it smaller.")
    return int(given[0])


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
