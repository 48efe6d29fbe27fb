"""A page on this machine on which masks are filled: `fill_mask.py --serve`.

    GET  /             the page, one file without anything from elsewhere
    GET  /checkpoints  the checkpoints of the run
    POST /fill         {"text", "checkpoint", "top_k"} → pieces with probabilities, and how the text is cut

It listens on 127.0.0.1 only. A page of another site that the same browser shows can reach that address too: requests
for another host (DNS rebinding) and from another origin are refused, and what is not JSON.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.interop.fill_mask import MaskFiller, Segmenter
from morphbert.structured import load_json
from morphbert.text.tokenizer import Tokenizer

ADDRESS = "127.0.0.1"
PAGE_NAME = "fill_mask.html"
LONGEST_TEXT = 2000
_MOST_PIECES = 50
_LARGEST_BODY = 1 << 16
# Models that are kept in memory: to go back and forth between two.
_KEPT = 2
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class BadRequest(Exception):
    """What a client asked for cannot be: the status and the words for it."""

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


def checkpoints_of(path: str) -> dict[str, str]:
    """The checkpoints to choose from, newest first: what they are called → what `MaskFiller` takes.

    A run's folder, or one of its checkpoints, gives all that are there, and the best one; anything else itself.
    """
    folder = path if tf.io.gfile.isdir(path) else os.path.dirname(path)
    found: list[tuple[int, str, str]] = []
    for place, label in ((folder, "step {}"), (os.path.join(folder, "best"), "best, step {}")):
        for index in tf.io.gfile.glob(os.path.join(place, "model.ckpt-*.index")):
            prefix = index.removesuffix(".index")
            if number := re.search(r"-(\d+)$", prefix):
                found.append((int(number.group(1)), label.format(f"{int(number.group(1)):,}"), prefix))
    return {label: prefix for _, label, prefix in sorted(found, reverse=True)} or {
        os.path.basename(os.path.abspath(path)): path
    }


class Filling:
    """What the page asks for: models by the name of their checkpoint, one request at a time."""

    def __init__(self, checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None):
        """Loads the checkpoint that is named, so that what is wrong with it is known before the page is.

        Raises:
          MorphbertError: see `MaskFiller`.
        """
        self._checkpoint, self._tokenizer, self._config_file = checkpoint, tokenizer, config_file
        self._segmenter = Segmenter(tokenizer)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, MaskFiller] = OrderedDict()
        choices = checkpoints_of(checkpoint)
        named = [label for label, prefix in choices.items() if prefix == checkpoint]
        self.first = named[0] if named else next(iter(choices))
        self._filler(self.first)

    def checkpoints(self) -> dict[str, Any]:
        """The names to choose from, as they are now: a run that goes on adds some and drops others."""
        return {"checkpoints": list(checkpoints_of(self._checkpoint)), "selected": self.first}

    def fill(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answers one request.

        Raises:
          BadRequest: a part of it is missing or out of its range.
          MorphbertError: see `MaskFiller`.
        """
        text, label, top_k = asked.get("text"), asked.get("checkpoint", self.first), asked.get("top_k", 5)
        if not isinstance(text, str) or not isinstance(label, str):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "text and checkpoint are strings.")
        if len(text) > LONGEST_TEXT:
            raise BadRequest(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the text has {len(text):,} characters; {LONGEST_TEXT:,} are taken.",
            )
        if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= _MOST_PIECES:
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"top_k is a number from 1 to {_MOST_PIECES}.")
        with self._lock:
            filled = self._filler(label)(text, top_k)
            cut = self._segmenter(text)
        masks = [
            [{"piece": piece, "probability": probability} for piece, probability in mask.pieces]
            for mask in filled
        ]
        return {"checkpoint": label, "masks": masks, "mecab": cut.morphemes, "wordpiece": cut.pieces}

    def _filler(self, label: str) -> MaskFiller:
        if label in self._kept:
            self._kept.move_to_end(label)
            return self._kept[label]
        prefix = checkpoints_of(self._checkpoint).get(label)
        if prefix is None:
            raise BadRequest(
                HTTPStatus.NOT_FOUND, f"there is no checkpoint {label!r} any more: load the page again."
            )
        while len(self._kept) >= _KEPT:
            self._kept.popitem(last=False)
        self._kept[label] = MaskFiller(prefix, self._tokenizer, self._config_file)
        return self._kept[label]


class PageServer(ThreadingHTTPServer):
    """Serves the page until it is shut down. Threads only so that a browser's idle connection holds up nothing."""

    daemon_threads = True

    def __init__(self, filling: Filling, port: int):
        """
        Args:
          port: 0 takes a free one; `server_port` tells which.

        Raises:
          MorphbertError: the port cannot be had.
        """
        self.filling = filling
        self.page = resources.files("morphbert.interop").joinpath(PAGE_NAME).read_text(encoding="utf-8")
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise MorphbertError(
                f"--port={port} cannot be listened on: {error.strerror or error}. Give another, or --port=0 for a free "
                "one."
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "morphbert", ""

    def do_GET(self) -> None:
        self._answer({"/": self._page, "/checkpoints": self._checkpoints})

    def do_POST(self) -> None:
        self._answer({"/fill": self._fill})

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a line for each request helps nobody here."""

    def _answer(self, routes: Mapping[str, Any]) -> None:
        try:
            self._check_origin()
            route = routes.get(self.path.split("?")[0])
            if route is None:
                raise BadRequest(HTTPStatus.NOT_FOUND, "there is nothing here.")
            route()
        except BadRequest as error:
            self._send_json({"error": str(error)}, error.status)
        except MorphbertError as error:
            self._send_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            traceback.print_exc()
            self._send_json(
                {"error": "a fault of the program: see its terminal."}, HTTPStatus.INTERNAL_SERVER_ERROR
            )

    def _check_origin(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise BadRequest(HTTPStatus.MISDIRECTED_REQUEST, f"this is {self.server.url}, not {host!r}.")
        if origin is not None and origin not in {f"http://{name}" for name in self.server.hosts}:
            raise BadRequest(HTTPStatus.FORBIDDEN, "the request comes from another page.")

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        page = self.server.page.replace("{{nonce}}", nonce).replace("{{longest}}", str(LONGEST_TEXT))
        self._send("text/html; charset=utf-8", page.encode("utf-8"), policy=_POLICY.format(nonce=nonce))

    def _checkpoints(self) -> None:
        self._send_json(self.server.filling.checkpoints())

    def _fill(self) -> None:
        self._send_json(self.server.filling.fill(self._body()))

    def _body(self) -> dict[str, Any]:
        if self.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
            raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json is taken.")
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > _LARGEST_BODY:
            raise BadRequest(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_LARGEST_BODY:,} bytes are taken."
            )
        try:
            asked = load_json(self.rfile.read(int(size)))
        except ValueError:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "this is not JSON.") from None
        if not isinstance(asked, dict):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "an object is taken.")
        return asked

    def _send_json(self, values: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        # A body that was refused is still in the connection: the next request would begin with it.
        self.close_connection = self.close_connection or status != HTTPStatus.OK
        body = json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")
        self._send("application/json; charset=utf-8", body, status)

    def _send(
        self, kind: str, body: bytes, status: HTTPStatus = HTTPStatus.OK, policy: str = "default-src 'none'"
    ) -> None:
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            **({"Connection": "close"} if self.close_connection else {}),
        }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
