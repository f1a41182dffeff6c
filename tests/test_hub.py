"""A hub is asked once, and briefly."""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import create_server
from threading import Thread
from typing import Any

import pytest

from mmrun import hub as hub_module
from mmrun.errors import ConfigError
from tests.hub import hub as hub


def test_a_hub_that_does_not_answer_is_given_up_soon(hub: Callable[[str], None]) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        hub(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert hub_module.is_hub_reachable() is False
        assert time.monotonic() - began < 3


def test_a_hub_that_answers_is_asked_once(hub: Callable[[str], None]) -> None:
    requested_paths = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requested_paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        hub(f"http://127.0.0.1:{server.server_port}")
        assert [hub_module.is_hub_reachable(), hub_module.is_hub_reachable()] == [True, True]
        server.shutdown()
    assert requested_paths == ["/"]


def test_only_what_is_not_cached_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load(local_only: bool) -> str:
        calls.append(local_only)
        if local_only:
            raise OSError("not in the cache")
        return "weights"

    monkeypatch.setattr(hub_module, "is_hub_reachable", lambda: True)
    assert hub_module.fetch(load, "tiny", "pass a folder") == "weights"
    assert hub_module.fetch(lambda local_only: local_only, "tiny", "pass a folder") is True
    assert calls == [True, False]

    def refuse(local_only: bool) -> str:
        raise OSError("no such repository\nand ten more lines")

    with pytest.raises(ConfigError) as caught:
        hub_module.fetch(refuse, "tiny", "pass a folder")
    assert str(caught.value) == "the hub cannot provide tiny (no such repository); pass a folder"
