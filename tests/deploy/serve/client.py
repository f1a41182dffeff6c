"""A client of a server that `mmrun serve` started."""

import http.client
import json
import re
import time
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4


class Response(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict
    content: bytes

    @property
    def json(self):
        return json.loads(self.content)

    @property
    def error(self):
        return self.json["error"]


class Client:
    """Sends requests to a server.

    Args:
        process: of the server.
        folder: that holds what it writes to stdout and stderr.
    """

    def __init__(self, process, folder):
        self.process, self.folder = process, folder
        self.port = 0

    def wait(self, seconds=60):
        """Wait until the server has written its address."""
        end = time.monotonic() + seconds
        while not (match := re.search(r":(\d+)\n", (self.folder / "out").read_text())):
            assert self.process.poll() is None, (self.folder / "err").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        self.port = int(match[1])
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        return (self.folder / "err").read_text().splitlines()

    def send(self, method, path, body=None, content_type=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        types = {} if content_type is None else {"Content-Type": content_type}
        connection.request(method, path, body, {**types, **dict(headers)})
        response = connection.getresponse()
        answer = Response(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer

    def get(self, path):
        return self.send("GET", path)

    def post_rows(self, rows, path="/predict"):
        return self.send("POST", path, json.dumps({"rows": rows}).encode(), "application/json")

    def post_form(self, cells, path="/predict"):
        """Send a form; cells that are bytes are files."""
        boundary = uuid4().hex
        body = b""
        for name, cell in cells.items():
            file = "; filename=x" if isinstance(cell, bytes) else ""
            content = cell if isinstance(cell, bytes) else cell.encode()
            body += (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
                + content
                + b"\r\n"
            )
        body += f"--{boundary}--\r\n".encode()
        return self.send("POST", path, body, f"multipart/form-data; boundary={boundary}")


def start(fork_server, folder: Path, *arguments, cwd="."):
    """Start `mmrun serve`, and return its client at once."""
    folder.mkdir(exist_ok=True, parents=True)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err, open("/dev/null") as nothing:
        files = [nothing.fileno(), out.fileno(), err.fileno()]
        process = fork_server.start("-m", "mmrun", "serve", *arguments, cwd=cwd, files=files)
    return Client(process, folder)
