"""What surrounds every request: its line in the log, its count, headers of safety, and errors in one shape."""

import traceback
from collections.abc import Callable
from time import perf_counter

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmrun.deploy.serve.metrics import ServerMetrics
from mmrun.deploy.serve.problems import RequestError

MAX_PATH = 80  # letters in the log
# Pages load files of this server alone; saliency and previews are data and blob URLs
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Log = Callable[[str], None]


class Gate:
    """Passes requests on to an application.

    Args:
        app: that answers.
        paths: that it serves; others are counted together.
        metrics: counts requests.
        log: receives a line for each request, without contents.
    """

    def __init__(self, app: ASGIApp, paths: frozenset[str], metrics: ServerMetrics, log: Log) -> None:
        self._app, self._paths, self._metrics, self._log = app, paths, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            if _is_of_another_site(scope):
                error = RequestError(
                    403, "header Sec-Fetch-Site", "another site sent it", "open the page of this server"
                )
                await answer_error(error)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception as error:  # the application has answered 500
            self._log(f"{scope['method']} {scope['path'][:MAX_PATH]} failed: {type(error).__name__}: {error}")
            self._log(traceback.format_exc())
        finally:
            seconds, path = perf_counter() - start, scope["path"]
            self._metrics.count(path if path in self._paths else "other", status)
            if path == "/predict":
                self._metrics.seconds.observe(seconds)
            client = (scope.get("client") or ("-",))[0]
            rows = scope.get("state", {}).get("num_rows")
            shown = "" if rows is None else f" {rows} row{'' if rows == 1 else 's'}"
            self._log(f"{client} {scope['method']} {path[:MAX_PATH]} {status}{shown} {1000 * seconds:.1f} ms")


def _is_of_another_site(scope: Scope) -> bool:
    """Return whether a browser sent the request for a page of another site, which may not use this computer."""
    headers = dict(scope["headers"])
    return scope["method"] == "POST" and headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none")


def answer_error(error: RequestError) -> JSONResponse:
    """Return the answer to a request that cannot be answered as it is."""
    return JSONResponse(error.to_json(), error.status, error.headers)
