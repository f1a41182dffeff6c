"""Limits of a server on time, size and queue, with a model that the test holds back."""

import asyncio
import json
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from mmrun.deploy.serve.app import App
from mmrun.deploy.serve.model import describe_row
from mmrun.deploy.serve.schema import Field, Modality, Schema, ServedTarget
from mmrun.deploy.serve.settings import Settings

SCHEMA = Schema(
    "held",
    [Modality("note", "text", [Field("note", "note", "text")])],
    [ServedTarget("label", "classification", ["a", "b"])],
)
BODY = json.dumps({"rows": [{"note": "good"}]}).encode()


class HeldModel:
    """Predicts "b" once it may; fails for the note "bad"."""

    schema, backend, explains = SCHEMA, "torch", True

    def __init__(self):
        self.may_go = threading.Event()
        self.batches = []

    def predict(self, requests):
        self.may_go.wait(10)
        self.batches.append(len(requests))
        notes = [row.values["note"] for request in requests for row in request]
        if "bad" in notes:
            raise RuntimeError("a secret reason")
        return [[describe_row(SCHEMA, row, [[0.25, 0.75]], []) for row in request] for request in requests]

    def explain(self, row, target):
        self.may_go.wait(10)
        return {"id": row.id}


class HeldApp(App):
    """An application with a held model; `lines` is its log."""

    def __init__(self, folder, settings):
        self.model, self.lines = HeldModel(), []
        super().__init__(self.model, settings, folder, self.lines.append)


@pytest.fixture
def open_app(tmp_path):
    """Return a function that opens an application with some settings."""
    apps = []

    def open_with(**settings):
        apps.append(HeldApp(tmp_path, Settings(**settings)))
        return apps[-1]

    yield open_with
    for app in apps:
        app.model.may_go.set()
        app.close()


async def send(app, path="/predict", body=BODY, parts=None):
    """Send a request, and return status, headers and JSON. `parts` are those of the body; None of them: it stalls."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}] if parts is None else parts)
    sent = []

    async def receive():
        message = next(messages, None)
        if message is None:
            await asyncio.sleep(60)
        return message

    async def collect(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("test", 1),
        "server": ("test", 1),
        "scheme": "http",
        "root_path": "",
    }
    await app.asgi(scope, receive, collect)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(content)


def test_requests_that_wait_are_predicted_together(open_app):
    app = open_app()

    async def send_many():
        waiting = [asyncio.create_task(send(app)) for _ in range(9)]
        await asyncio.sleep(0.2)
        app.model.may_go.set()
        return await asyncio.gather(*waiting)

    answers = asyncio.run(send_many())
    assert [status for status, _, _ in answers] == [200] * 9
    assert {answer["rows"][0]["predictions"]["label"]["prediction"] for _, _, answer in answers} == {"b"}
    assert len(app.model.batches) <= 3


def test_a_full_queue_is_503_with_a_time_to_wait(open_app):
    app = open_app(max_queue=1, max_batch=1)

    async def send_many():
        waiting = []
        for _ in range(3):  # one is predicted, one waits
            waiting.append(asyncio.create_task(send(app)))
            await asyncio.sleep(0.1)
        status, headers, answer = await waiting[2]
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert answer["error"]["what"] == "too many rows wait"
        app.model.may_go.set()
        return await asyncio.gather(*waiting[:2])

    assert [status for status, _, _ in asyncio.run(send_many())] == [200, 200]


def test_many_explanations_are_503(open_app):
    app = open_app(max_explanations=1)

    async def send_many():
        waiting = []
        for _ in range(3):
            waiting.append(asyncio.create_task(send(app, "/explain")))
            await asyncio.sleep(0.1)
        app.model.may_go.set()
        return await asyncio.gather(*waiting)

    assert [status for status, _, _ in asyncio.run(send_many())] == [200, 200, 503]


def test_a_prediction_that_takes_too_long_is_503(open_app):
    status, _, answer = asyncio.run(send(open_app(answer_seconds=0.05)))
    assert (status, answer["error"]["what"]) == (503, "no answer within 0.05 s")


def test_a_body_that_does_not_arrive_is_408(open_app):
    parts = [{"type": "http.request", "body": b"{", "more_body": True}]
    status, _, answer = asyncio.run(send(open_app(body_seconds=0.05), parts=parts))
    assert (status, answer["error"]["what"]) == (408, "did not arrive within 0.05 s")


def test_a_client_that_hangs_up_is_400(open_app):
    status, _, answer = asyncio.run(send(open_app(), parts=[{"type": "http.disconnect"}]))
    assert (status, answer["error"]["what"]) == (400, "ended early")


def test_large_bodies_at_once_are_503(open_app):
    app = open_app(max_body=100, max_bodies=40)

    async def send_two():
        first = asyncio.create_task(send(app))
        await asyncio.sleep(0.1)
        second = await send(app)
        app.model.may_go.set()
        return await first, second, await send(app)

    first, second, third = asyncio.run(send_two())
    assert [status for status, _, _ in (first, second, third)] == [200, 503, 200]
    assert second[2]["error"]["what"] == "too many large requests at once"


def test_a_failure_is_that_of_its_request_and_says_no_secret(open_app):
    app = open_app(max_wait=0.2)
    app.model.may_go.set()
    bad = json.dumps({"rows": [{"note": "bad"}]}).encode()

    async def send_both():
        return await asyncio.gather(send(app), send(app, body=bad))

    good, failed = asyncio.run(send_both())
    assert good[0] == 200
    assert failed[0] == 500
    assert failed[2]["error"]["what"] == "it failed (RuntimeError)"
    assert "POST /predict failed: RuntimeError: a secret reason" in app.lines


def test_a_server_that_stops_is_not_ready(open_app):
    app = open_app()
    app.model.may_go.set()
    app.close()
    status, _, answer = asyncio.run(send(app))
    assert (status, answer["error"]["where"]) == (503, "server")
