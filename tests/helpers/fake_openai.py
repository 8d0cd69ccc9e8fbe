"""A server on loopback that speaks chat/completions, files and batches, and fails on command."""

from __future__ import annotations

import hashlib
import json
import random
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "429_after", "500", "503", "reset", "timeout", "empty", "invalid", "schema", "slow", "garbage", "drip")


def better(first: str, second: str) -> str:
    """A judge without a position bias: it compares hashes of the descriptions."""
    a, b = (hashlib.sha256(text.strip().encode()).hexdigest() for text in (first, second))
    return "first" if a > b else "second"


Scripted = tuple[int, Any] | tuple[int, Any, dict[str, str]]
"""Status, body (a text is sent as it is), headers."""


@dataclass
class FakeOpenAI:
    """What the server does and what it saw; `log` has one entry a request to chat/completions."""

    judge: Callable[[str, str], str] = better
    fault: Callable[[str, int], str | None] = lambda prompt, attempt: None
    script: Callable[[dict[str, Any], int], Scripted | None] | None = None
    """What is answered to the body of a request, given also its number from 1; None answers as without a script."""
    takes: tuple[str, ...] = ("json_schema", "json_object")
    refusal_of_format: int = 400
    wording: str = '{{"winner": "{}"}}'
    log: list[dict[str, Any]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lives: int = 1
    """How often a batch is looked at before it ends."""
    fate: str = "completed"
    finished_share: float = 1.0
    result: Callable[[str], str] | None = None
    """Makes the line of a batch's results from a request's name, in place of its answer."""
    results_kept: bool = True
    """Whether a batch that ended names its files."""
    forget: bool = False
    """Whether the files of batches are gone."""
    has_batches: bool = True
    page: bool = False
    """Whether all but chat/completions is a page of a network that wants a sign-in."""
    url: str = ""
    tls: ssl.SSLContext | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    posted_batches: int = 0
    silence: float = 5.0
    """Seconds at most before it breaks off what it never answers."""

    def served(self) -> Counter[str]:
        """How often each prompt got a whole, proper answer."""
        return Counter(entry["prompt"] for entry in self.log if entry["fault"] in (None, "slow"))

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = body["messages"][-1]["content"]
        found = re.search(r"=== FIRST EPISODE ===(.*)=== SECOND EPISODE ===(.*)=== QUESTION ===", prompt, re.S)
        assert found, prompt
        content = self.wording.format(self.judge(found[1], found[2]))
        return 200, self.completion({"role": "assistant", "content": content, "refusal": None})

    def completion(self, message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": finish, "message": message}
        usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
        return {"id": "x", "object": "chat.completion", "model": "fake-1", "choices": [choice], "usage": usage}


def says(content: Any, finish: str | None = "stop", **message: Any) -> Scripted:
    """A chat completion with this content."""
    return 200, FakeOpenAI().completion({"role": "assistant", "content": content, **message}, finish)


def error(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Scripted:
    """An error as OpenAI's server words it."""
    return status, {"error": {"message": message, **more}}, headers or {}


@contextmanager
def serve(**options: Any) -> Iterator[FakeOpenAI]:
    fake = FakeOpenAI(**options)
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if fake.tls:
        server.socket = fake.tls.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if fake.tls else 'http'}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # a client that was killed or lost patience

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.split("?")[0].endswith("/chat/completions"):
            self._chat(json.loads(content))
        elif not self._is_usual():
            pass
        elif self.path == "/v1/files":
            name = f"file-{len(self.fake.files)}"
            start = content.index(b"\r\n\r\n", content.index(b'filename="')) + 4
            self.fake.files[name] = content[start : content.index(b"\r\n--", start)]
            self._send(200, {"id": name, "object": "file", "bytes": 1, "purpose": "batch", "filename": "x"})
        elif self.path == "/v1/batches":
            self._begin_batch(json.loads(content))
        else:
            self._send(404, {"error": {"message": "no such path"}})

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if not self._is_usual() or (self.fake.forget and parts[1] == "files" and self._gone()):
            return
        if parts[1] == "files":
            self._send_bytes(200, self.fake.files[parts[2]])
        elif len(parts) == 2:
            self._send(200, {"object": "list", "data": list(self.fake.batches.values()), "has_more": False})
        else:
            self._send(200, self._look(self.fake.batches[parts[2]]))

    def _is_usual(self) -> bool:
        if self.fake.page:
            self._send_bytes(200, b"<html><body>sign in to use this network</body></html>")
        elif not self.fake.has_batches:
            self._send(404, {"error": {"message": "no such path"}})
        return not self.fake.page and self.fake.has_batches

    def _gone(self) -> bool:
        self._send(404, {"error": {"message": "No such File object"}})
        return True

    def _chat(self, body: dict[str, Any]) -> None:
        fake, prompt = self.fake, body["messages"][-1]["content"]
        wanted = body.get("response_format", {}).get("type")
        with fake.lock:
            fake.attempts[prompt] += 1
            fault = fake.fault(prompt, fake.attempts[prompt])
            if wanted is not None and wanted not in fake.takes:
                fault = "format"
            scripted = fake.script(body, len(fake.log) + 1) if fake.script else None
            fault = "scripted" if scripted else fault
            entry = {"prompt": prompt, "format": wanted, "fault": fault, "time": time.monotonic(), "body": body}
            entry |= {"path": self.path, "api-key": self.headers["api-key"]}
            fake.log.append(entry | {"key": self.headers["Authorization"]})
        if scripted:
            status, answer, *headers = scripted
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self._send_bytes(status, text.encode(), *headers)
        elif fault is None:
            self._send(*fake.answer(body))
        else:
            self._fail(fault, body)

    def _fail(self, fault: str, body: dict[str, Any]) -> None:
        fake = self.fake
        if fault == "format":
            self._send(fake.refusal_of_format, {"error": {"message": "response_format is not supported"}})
        elif fault == "429_after":
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.3"})
        elif fault == "quota":
            self._send(429, {"error": {"message": "no credit", "code": "insufficient_quota"}})
        elif fault.isdigit():
            echo = f"rejected {self.headers['Authorization']}"
            self._send(int(fault), {"error": {"message": echo, "type": "x", "code": None}})
        elif fault == "reset":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "900")
            self.end_headers()
            self.wfile.write(b'{"id": "x", "choi')
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif fault == "drip":
            # No single gap is long, the whole answer is.
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n")
            for _ in range(round(10 * fake.silence)):
                self.wfile.write(b" ")
                time.sleep(0.1)
            self.close_connection = True
        elif fault == "timeout":
            # Silent until the client has had enough.
            select.select([self.connection], [], [], fake.silence)
            self.close_connection = True
        elif fault == "slow":
            time.sleep(0.1)
            self._send(*fake.answer(body))
        elif fault == "garbage":
            self._send_bytes(200, b"<html>gateway</html>")
        else:
            self._send(200, fake.completion(_message(fault)))

    def _begin_batch(self, wanted: dict[str, Any]) -> None:
        fake = self.fake
        with fake.lock:
            fake.posted_batches += 1
            batch = {
                "id": f"batch_{len(fake.batches)}",
                "object": "batch",
                "status": "validating",
                "looks": 0,
                "created_at": 0,
                **wanted,
            }
            fake.batches[batch["id"]] = batch
        self._send(200, batch)

    def _look(self, batch: dict[str, Any]) -> dict[str, Any]:
        fake = self.fake
        batch["looks"] += 1
        if batch["looks"] >= fake.lives and batch["status"] == "validating":
            batch["status"] = fake.fate
            if fake.fate == "failed":
                batch["errors"] = {"object": "list", "data": [{"code": "x", "message": "too many enqueued tokens"}]}
            else:
                self._end_batch(batch)
        return batch

    def _end_batch(self, batch: dict[str, Any]) -> None:
        fake, good, bad, texts = self.fake, [], [], []
        lines = [json.loads(line) for line in fake.files[batch["input_file_id"]].splitlines()]
        random.Random(0).shuffle(lines)
        kept = round(fake.finished_share * len(lines))
        for line in lines[:kept]:
            prompt = line["body"]["messages"][-1]["content"]
            fake.attempts[prompt] += 1
            fault = fake.fault(prompt, fake.attempts[prompt])
            fake.log.append({"prompt": prompt, "format": None, "fault": fault})
            status, body = fake.answer(line["body"])
            if fault is not None and fault.isdigit():
                status, body = int(fault), {"error": {"message": "x"}}
            elif fault is not None:
                body = fake.completion(_message(fault))
            response = {"status_code": status, "request_id": "r", "body": body}
            if fake.result:
                texts.append(fake.result(line["custom_id"]))
                continue
            (good if status == 200 else bad).append(
                {"custom_id": line["custom_id"], "response": response, "error": None}
            )
        expired = {"code": "batch_expired", "message": "not in time"}
        bad += [{"custom_id": line["custom_id"], "response": None, "error": expired} for line in lines[kept:]]
        for kind, results in (("output_file_id", good), ("error_file_id", bad)):
            if not fake.results_kept or not (results or (texts and kind == "output_file_id")):
                continue
            name = batch[kind] = f"{batch['id']}-{kind}"
            fake.files[name] = "".join(f"{text}\n" for text in [*map(json.dumps, results), *texts]).encode()

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(content).encode(), headers)

    def _send_bytes(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _message(fault: str) -> dict[str, Any]:
    content = {
        "empty": "",
        "invalid": '{"winner": "fir',
        "schema": '{"best": 1}',
        "refusal": None,
    }[fault]
    return {"role": "assistant", "content": content, "refusal": "I cannot judge." if fault == "refusal" else None}
