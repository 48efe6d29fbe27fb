"""A page on this machine on which masks are filled: `fill_mask.py --serve`.

    GET  /              the page, one file without anything from elsewhere
    GET  /checkpoints   the checkpoints of the run, and those of the model that is compared with it
    POST /fill          {"text", "checkpoint", "top_k", "compared"} → pieces with probabilities, and how the text is cut
    POST /alternatives  the same with {"place"} → the model's alternatives for one piece

It listens on 127.0.0.1 only. A page of another site that the same browser shows can reach that address too: requests
for another host (DNS rebinding) and from another origin are refused, and so is a body that is not JSON.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import secrets
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import tensorflow as tf
import waitress
from markupsafe import Markup
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser

from morphbert.errors import MorphbertError
from morphbert.interop.fill_mask import FIRST, MaskFiller, ModelFlags, Segmenter
from morphbert.pages.korean import KOREAN
from morphbert.pages.phrases import Text, in_korean, phrase
from morphbert.pages.rendering import render
from morphbert.structured import load_json
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.unknown_share import UnknownShare, lowering_hides_hangul, unknown_warning
from morphbert.text.vocabulary import MASK

ADDRESS = "127.0.0.1"
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
    """A request that cannot be answered: the status and the message."""

    def __init__(self, status: HTTPStatus, message: Text):
        super().__init__(message)
        self.status = status


def checkpoints_of(path: str) -> dict[str, str]:
    """Returns the checkpoints to choose from, newest first: label → path for `MaskFiller`.

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
    """Answers the page's requests, one at a time, with models by the label of their checkpoint."""

    def __init__(
        self, checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None, flags: ModelFlags = FIRST
    ):
        """Loads the named checkpoint, so that its errors are known before the page is served.

        `flags` are the flags for messages.

        Raises:
          MorphbertError: see `MaskFiller`.
        """
        self.name, self._tokenizer, self._config_file = checkpoint, tokenizer, config_file
        self._flags = flags
        self._segmenter = Segmenter(tokenizer)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, MaskFiller] = OrderedDict()
        choices = checkpoints_of(checkpoint)
        named = [label for label, prefix in choices.items() if prefix == checkpoint]
        self.first = named[0] if named else next(iter(choices))
        self._filler(self.first)

    def checkpoints(self) -> dict[str, Any]:
        """Returns the names to choose from, as they are now: a run that goes on adds some and drops others."""
        return {"checkpoints": list(checkpoints_of(self.name)), "selected": self.first}

    def fill(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answers one request.

        Raises:
          BadRequest: a part of it is missing or out of its range.
          MorphbertError: see `MaskFiller`.
        """
        text, label, top_k = self._asked(asked)
        with self._lock:
            filled = self._filler(label)(text, top_k)
            cut = self._segmenter(text)
        pieces = [piece for eojeol in cut.pieces for piece in eojeol]
        written = self._tokenizer.vocabulary.special.written
        unknown = pieces.count(written(self._tokenizer.unknown))
        found = UnknownShare(1, len(pieces), unknown)
        return {
            "checkpoint": label,
            "mask": sorted({MASK, written(MASK)}),
            "masks": [_with_shares(mask.pieces) for mask in filled],
            "mecab": cut.morphemes,
            "wordpiece": cut.pieces,
            "unknown": {
                "pieces": len(pieces),
                "unknown": unknown,
                "warning": unknown_warning(self._tokenizer, found),
                "lowering": lowering_hides_hangul(self._tokenizer),
            },
        }

    def alternatives(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a request for the model's alternatives for one piece.

        Raises:
          BadRequest: a part of it is missing or out of its range.
          MorphbertError: see `MaskFiller.alternatives`.
        """
        text, label, top_k = self._asked(asked)
        place = asked.get("place")
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < LONGEST_TEXT:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "place is the number of a piece, from 0.")
        with self._lock:
            found = self._filler(label).alternatives(text, place, top_k)
        return {
            "piece": found.piece,
            "probability": found.probability,
            "rank": found.rank,
            "vocabulary": len(self._tokenizer.vocabulary),
            "pieces": _with_shares(found.pieces),
        }

    def _asked(self, asked: Mapping[str, Any]) -> tuple[str, str, int]:
        text, label, top_k = asked.get("text"), asked.get("checkpoint", self.first), asked.get("top_k", 5)
        if not isinstance(text, str) or not isinstance(label, str):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "text and checkpoint are strings.")
        if len(text) > LONGEST_TEXT:
            raise BadRequest(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                phrase(
                    "the text has {characters} characters; {most} are taken.",
                    characters=f"{len(text):,}",
                    most=f"{LONGEST_TEXT:,}",
                ),
            )
        if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= _MOST_PIECES:
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"top_k is a number from 1 to {_MOST_PIECES}.")
        return text, label, top_k

    def _filler(self, label: str) -> MaskFiller:
        if label in self._kept:
            self._kept.move_to_end(label)
            return self._kept[label]
        prefix = checkpoints_of(self.name).get(label)
        if prefix is None:
            raise BadRequest(
                HTTPStatus.NOT_FOUND,
                phrase("there is no checkpoint {name} any more: load the page again.", name=repr(label)),
            )
        while len(self._kept) >= _KEPT:
            self._kept.popitem(last=False)
        self._kept[label] = MaskFiller(prefix, self._tokenizer, self._config_file, self._flags)
        return self._kept[label]


class PageServer:
    """Serves the page until it is shut down, by waitress."""

    def __init__(self, filling: Filling, port: int, compared: Filling | None = None):
        """
        Args:
          filling: answers the requests.
          compared: the second model, which the page shows beside the first.
          port: 0 takes a free one; `server_port` tells which.

        Raises:
          MorphbertError: the port cannot be had.
        """
        self._map: dict[int, Any] = {}
        app = _Application(filling, compared)
        # Bodies that are too large for us are still read up to this size, so that the answer says why.
        limits = {"max_request_header_size": 1 << 16, "max_request_body_size": 1 << 20}
        try:
            self._server = waitress.create_server(
                app, map=self._map, host=ADDRESS, port=port, ident="morphbert", channel_timeout=60, **limits
            )
        except OSError as error:
            raise MorphbertError(
                f"--port={port} cannot be listened on: {error.strerror or error}. Give another, or --port=0 for a free "
                "one."
            ) from error
        self._server.channel_class = _Channel
        # A line for each client that waits or leaves helps nobody here.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self.server_port = int(self._server.effective_port)
        app.url = self.url
        app.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"

    def serve_forever(self) -> None:
        """Answers until `shutdown`, or Ctrl-C in the main thread."""
        self._server.run()

    def shutdown(self) -> None:
        """Ends `serve_forever` of another thread."""
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._map))

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._map)


class _Parser(HTTPRequestParser):
    """Takes a `Content-Length` of any number of digits: Python converts 4,300 of them at most."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(_LONG_LENGTH.sub(rb"\1", header_plus))


class _Channel(HTTPChannel):
    parser_class = _Parser


_LONG_LENGTH = re.compile(rb"(?im)^(content-length:[ \t]*[0-9]{18})[0-9]+")


class _Application:
    """The application that waitress calls with each request (WSGI, PEP 3333)."""

    def __init__(self, filling: Filling, compared: Filling | None):
        self._filling, self._compared = filling, compared
        self.url = ""
        self.hosts: set[str] = set()
        self._routes: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], _Answer]] = {
            ("GET", "/"): self._page,
            ("GET", "/checkpoints"): lambda _: _json(self._checkpoints()),
            ("POST", "/fill"): lambda request: self._answered(request, Filling.fill),
            ("POST", "/alternatives"): lambda request: self._answered(request, Filling.alternatives),
        }

    def _checkpoints(self) -> dict[str, Any]:
        found = {**self._filling.checkpoints(), "name": self._filling.name}
        if self._compared is not None:
            found["compared"] = {**self._compared.checkpoints(), "name": self._compared.name}
        return found

    def _answered(
        self, request: Mapping[str, Any], answer: Callable[[Filling, Mapping[str, Any]], dict[str, Any]]
    ) -> _Answer:
        asked = _body(request)
        filling = self._compared if asked.get("compared", False) is True else self._filling
        if filling is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "there is one model: start with --compare_checkpoint.")
        return _json(answer(filling, asked))

    def __call__(self, request: Mapping[str, Any], start: Callable[..., Any]) -> list[bytes]:
        answer = self._answer(request)
        headers = {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            "Content-Security-Policy": answer.policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        start(f"{answer.status.value} {answer.status.phrase}", list(headers.items()))
        return [answer.body]

    def _answer(self, request: Mapping[str, Any]) -> _Answer:
        try:
            self._check_origin(request)
            route = self._routes.get((request["REQUEST_METHOD"], request["PATH_INFO"]))
            if route is None:
                raise BadRequest(HTTPStatus.NOT_FOUND, "there is nothing here.")
            return route(request)
        except BadRequest as error:
            return _refusal(error, error.status)
        except MorphbertError as error:
            return _refusal(error, HTTPStatus.BAD_REQUEST)
        except Exception:
            traceback.print_exc()
            return _json(
                {"error": "a fault of the program: see its terminal."}, HTTPStatus.INTERNAL_SERVER_ERROR
            )

    def _check_origin(self, request: Mapping[str, Any]) -> None:
        host, origin = request.get("HTTP_HOST", ""), request.get("HTTP_ORIGIN")
        if not host or "," in host:  # waitress joins several headers with a comma
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a request has one Host header.")
        if host not in self.hosts:
            raise BadRequest(HTTPStatus.MISDIRECTED_REQUEST, f"this is {self.url}, not {host!r}.")
        if origin is not None and origin not in {f"http://{name}" for name in self.hosts}:
            raise BadRequest(HTTPStatus.FORBIDDEN, "the request comes from another page.")

    def _page(self, _: Mapping[str, Any]) -> _Answer:
        nonce = secrets.token_urlsafe(16)
        page = render(
            "fill_mask.html",
            title=f"morphbert: {MASK}",
            heading=phrase("What stands at [MASK]"),
            nonce_attribute=Markup(' nonce="{}"').format(nonce),
            longest=LONGEST_TEXT,
            korean_of={one.form: KOREAN[one.form] for one in _PHRASES},
        )
        return _Answer(page.encode("utf-8"), "text/html; charset=utf-8", policy=_POLICY.format(nonce=nonce))


# Texts of the page's program.
_PHRASES = (
    phrase("Checkpoint"),
    phrase("step {step}"),
    phrase("best, step {step}"),
    phrase("Pieces (WordPiece)"),
    phrase("{unknown} of {pieces} pieces are [UNK]"),
    phrase("The vocabulary does not know much of the text. Is it that of this model and of this language?"),
    phrase(
        "BERT's lower-casing decomposes Hangul, and the vocabulary has syllables: give --do_lower_case=false."
    ),
    phrase("In place of {piece}"),
    phrase("{piece} has {share}, rank {rank} of {pieces}"),
    phrase("The program does not answer. Is it still running?"),
)


def _with_shares(pieces: tuple[tuple[str, float], ...]) -> list[dict[str, Any]]:
    return [{"piece": piece, "probability": probability} for piece, probability in pieces]


@dataclasses.dataclass(frozen=True)
class _Answer:
    """Body, its type, status and content security policy."""

    body: bytes
    kind: str
    status: HTTPStatus = HTTPStatus.OK
    policy: str = "default-src 'none'"


def _json(values: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> _Answer:
    body = json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")
    return _Answer(body, "application/json; charset=utf-8", status)


def _refusal(error: Exception, status: HTTPStatus) -> _Answer:
    """Returns the message of an error, and its Korean form if it has one."""
    return _json({"error": str(error), "korean": str(in_korean(error.args[0]))}, status)


def _body(request: Mapping[str, Any]) -> dict[str, Any]:
    if request.get("CONTENT_TYPE", "").split(";")[0].strip() != "application/json":
        raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json is taken.")
    content = request["wsgi.input"].read(_LARGEST_BODY + 1)
    if len(content) > _LARGEST_BODY:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_LARGEST_BODY:,} bytes are taken.")
    try:
        asked = load_json(content)
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "this is not JSON.") from None
    if not isinstance(asked, dict):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "an object is taken.")
    return asked
