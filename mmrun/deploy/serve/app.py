"""The HTTP interface of a served run."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mmrun.deploy.serve import openapi
from mmrun.deploy.serve.batcher import Batcher, QueueFullError
from mmrun.deploy.serve.bodies import BodyReader
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.gate import Gate, Log, answer_error
from mmrun.deploy.serve.metrics import CONTENT_TYPE, ServerMetrics
from mmrun.deploy.serve.model import Answer, ServedModel
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.settings import Settings
from mmrun.version import __version__

T = TypeVar("T")
R = TypeVar("R")

PAGES = Path(__file__).parent / "page"
STATIC = ("page.css", "page.js", "dom.js", "fields.js", "results.js", "recorder.js", "docs.js")
FILES = {"/": "index.html", "/docs": "docs.html"}  # by path
FILES |= {f"/static/{name}": name for name in STATIC}
RETRY_AFTER = 1  # seconds


class App:
    """Answers requests to a served run.

    Args:
        model: the run.
        settings: limits.
        folder: for files while their request is answered.
        log: receives a line for each request.

    Attributes:
        asgi: the application.
    """

    def __init__(self, model: ServedModel, settings: Settings, folder: Path, log: Log) -> None:
        self._model, self._settings = model, settings
        self._metrics = ServerMetrics()
        self._bodies = BodyReader(settings, model.schema, folder)
        self._turn = threading.Lock()  # of the model: predictions and explanations take turns
        self._predictions: Batcher[Sequence[ReadRow], list[Answer]] = Batcher(
            self._predict, settings.max_batch, settings.max_wait, settings.max_queue
        )
        self._explanations: Batcher[tuple[ReadRow, str | None], Answer] = Batcher(
            self._explain, 1, 0.0, settings.max_explanations
        )
        self._metrics.queued_rows = lambda: self._predictions.queued_rows
        self.asgi = self._build(log)

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._predictions.close()
        self._explanations.close()

    # ------------------------------------------------------------------------------------------------- the model

    def _predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | Exception]:
        """Predict requests together; where that fails, one by one, so that only the cause fails."""
        self._metrics.batch_rows.observe(sum(map(len, requests)))
        try:
            with self._turn:
                return list(self._model.predict(requests))
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [self._predict([request])[0] for request in requests]

    def _explain(self, items: Sequence[tuple[ReadRow, str | None]]) -> list[Answer | Exception]:
        [(row, target)] = items
        with self._turn:
            return [self._model.explain(row, target)]

    # ------------------------------------------------------------------------------------------------------- endpoints

    async def predict(self, request: Request) -> JSONResponse:
        """Predict rows: JSON with many, or a form with one."""
        async with self._bodies.read(request) as rows:
            request.state.num_rows = len(rows)
            answers = await self._wait(self._predictions, rows, len(rows))
        self._metrics.rows += len(rows)
        return JSONResponse({"run": self._model.schema.run, "rows": answers})

    async def explain(self, request: Request, target: str | None = None) -> JSONResponse:
        """Explain one row: the contribution of each modality, and the saliency inside it."""
        if not self._model.explains:
            raise RequestError(404, "/explain", "is not offered with ONNX", "serve the run with --backend torch")
        async with self._bodies.read(request) as rows:
            request.state.num_rows = len(rows)
            if len(rows) > 1:
                raise RequestError(422, "rows", f"has {len(rows)} rows", "send one row")
            return JSONResponse(await self._wait(self._explanations, (rows[0], target), 1))

    async def _wait(self, batcher: Batcher[T, R], item: T, num_rows: int) -> R:
        """Wait for a result of a batcher."""
        try:
            future = asyncio.wrap_future(batcher.submit(item, num_rows))
        except QueueFullError:
            raise RequestError(503, "server", "too many rows wait", "send it again later", RETRY_AFTER) from None
        try:
            return await asyncio.wait_for(future, self._settings.answer_seconds)
        except TimeoutError:
            what = f"no answer within {self._settings.answer_seconds:g} s"
            raise RequestError(503, "server", what, "send fewer rows, or send it again later", RETRY_AFTER) from None

    async def health(self) -> JSONResponse:
        """Return whether the process answers."""
        return JSONResponse({"status": "ok", "version": __version__})

    async def ready(self) -> JSONResponse:
        """Return whether rows are accepted."""
        if not self._predictions.is_working:
            raise RequestError(503, "server", "it is stopping", "send it to another server", RETRY_AFTER)
        return JSONResponse({"status": "ready", "run": self._model.schema.run})

    async def metrics(self) -> PlainTextResponse:
        """Return counts in the text format of Prometheus."""
        return PlainTextResponse(self._metrics.format(), media_type=CONTENT_TYPE)

    async def schema(self) -> JSONResponse:
        """Return the inputs and targets of the run."""
        served = {"backend": self._model.backend, "explains": self._model.explains}
        limits = {"limits": self._settings.to_json()}
        return JSONResponse({**self._model.schema.to_json(), **served, **limits})

    def _build(self, log: Log) -> ASGIApp:
        app = FastAPI(title=f"mmrun: {self._model.schema.run}", version=__version__, docs_url=None, redoc_url=None)
        for path, endpoint in (("/predict", self.predict), ("/explain", self.explain)):
            body = openapi.describe_request(self._model.schema, has_rows=path == "/predict")
            app.add_api_route(path, endpoint, methods=["POST"], responses=openapi.ERRORS, openapi_extra=body)
        for path, reader in (
            ("/schema", self.schema),
            ("/health", self.health),
            ("/ready", self.ready),
            ("/metrics", self.metrics),
        ):
            app.add_api_route(path, reader, methods=["GET"])
        for path, name in FILES.items():
            app.add_api_route(path, _serve_file(name), methods=["GET"], include_in_schema=False)
        app.add_exception_handler(RequestError, _answer_request_error)
        app.add_exception_handler(HTTPException, _answer_http_error)
        app.add_exception_handler(Exception, _answer_failure)
        paths = frozenset(("/predict", "/explain", "/schema", "/health", "/ready", "/metrics", "/openapi.json", *FILES))
        return Gate(app, paths, self._metrics, log)


def _serve_file(name: str) -> Callable[[], Awaitable[FileResponse]]:
    async def serve_file() -> FileResponse:
        return FileResponse(PAGES / name)

    return serve_file


async def _answer_request_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return answer_error(error)


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a path or method that does not exist in the shape of all errors."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    what, mend = str(error.detail), "GET /docs lists what is served"
    if error.status_code == 405:
        what = "is not a method of this path"
    elif error.status_code == 404:
        what = "is not served here"
    answer = answer_error(RequestError(error.status_code, where, what, mend))
    answer.headers.update(error.headers or {})
    return answer


async def _answer_failure(request: Request, error: Exception) -> JSONResponse:
    mend = "send it again; the log of the server says more"
    return answer_error(RequestError(500, "server", f"it failed ({type(error).__name__})", mend))
