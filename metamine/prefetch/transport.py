"""HTTP that ends: every answer is bounded in time and in size, whatever the server does."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from metamine.errors import MetamineError

CONNECT_SECONDS = 10
SLOWEST = 1000  # bytes a second that a transfer must reach in the long run
PIECE = 1 << 18
_BUSY = (429, 500, 502, 503, 504)


class Unavailable(MetamineError):
    """The server did not give a usable answer, but may the next time."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait  # seconds that the server asks to wait


class TooLarge(MetamineError):
    """An answer is larger than allowed; asking again does not help."""


class BoundedSession(requests.Session):
    """A session whose answers arrive whole, in time and below a size, or raise.

    Takes the place of requests.Session in the openml package, which sets no bound of its own.
    """

    timeout: float = 60.0  # seconds without a byte
    most_bytes: int = 2 << 30
    on_bytes: Callable[[int], object] = staticmethod(lambda n: None)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests does it. Raises Unavailable or TooLarge."""
        kwargs |= {"stream": True, "timeout": (CONNECT_SECONDS, self.timeout)}
        place = without_query(str(url))
        try:
            with super().request(method, url, *args, **kwargs) as response:
                if response.status_code in _BUSY:
                    wait = _seconds(response.headers.get("Retry-After"))
                    raise Unavailable(f"{place} answered {response.status_code}", wait)
                response._content = b"".join(self.pieces(response, place))
                response._content_consumed = True
        except (requests.RequestException, HTTPError) as error:
            raise Unavailable(f"{place}: {_why(error)}") from None
        return response

    def download(self, url: str, file: Path) -> str:
        """Fetch a file as it is; returns the ETag, "" if there is none.

        Raises Unavailable or TooLarge; FileNotFoundError if the server has no such file.
        """
        place = without_query(url)
        keywords: dict[str, Any] = {"stream": True, "timeout": (CONNECT_SECONDS, self.timeout)}
        headers = {"Accept-Encoding": "identity"}
        try:
            with super().request("GET", url, headers=headers, **keywords) as response:
                if response.status_code in (403, 404):
                    raise FileNotFoundError(place)
                if response.status_code != 200:
                    raise Unavailable(f"{place} answered {response.status_code}")
                with file.open("wb") as stream:
                    for piece in self.pieces(response, place):
                        stream.write(piece)
                return str(response.headers.get("ETag", "")).strip('"')
        except (requests.RequestException, HTTPError) as error:
            raise Unavailable(f"{place}: {_why(error)}") from None

    def pieces(self, response: requests.Response, place: str) -> Iterator[bytes]:
        """The body, bit by bit. Raises Unavailable, TooLarge."""
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self.most_bytes:
            raise TooLarge(f"{place} announces {int(declared):,} bytes: more than is allowed")
        started, received = time.monotonic(), 0
        # Not iter_content, which waits until a piece is full, however slowly it fills.
        while piece := response.raw.read1(PIECE, decode_content=True):
            received += len(piece)
            if received > self.most_bytes:
                raise TooLarge(f"{place} sends more than {self.most_bytes:,} bytes")
            if time.monotonic() - started > self.timeout + received / SLOWEST:
                raise Unavailable(f"{place} sends too slowly")
            self.on_bytes(len(piece))
            yield piece
        if declared.isdecimal() and response.raw.tell() != int(declared):
            raise Unavailable(f"{place} broke off")


def md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def without_query(url: str) -> str:
    """An address as messages may show it: a query may hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.hostname or "", parts.path, "", ""))


def scrubbed(text: str) -> str:
    """`text` without the keys of queries."""
    return re.sub(r"(?i)(api_?key=)[^&\s'\"]*", r"\1...", text)


def _why(error: requests.RequestException | HTTPError) -> str:
    if isinstance(error, (requests.Timeout, ReadTimeoutError)):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return "the transfer broke off"


def _seconds(text: str | None) -> float:
    return min(float(text), 60.0) if text and text.isdecimal() else 0.0
