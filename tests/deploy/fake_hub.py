"""A hub on the loopback address, as far as huggingface_hub asks it: repositories of models, branches, commits, files.

Files above LFS_SIZE are stored by LFS, smaller ones in the commit. A test may make the next answers fail, and change
what is stored as a hostile owner or a hostile hub would.
"""

import base64
import hashlib
import json
import re
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "a" * 34
LFS_SIZE = 10_000
ROUTES = [
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("GET", r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", "info"),
    ("GET", r"/api/models/([^/]+/[^/]+)", "info"),
    ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
    ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
    ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/([0-9a-f]{64})", "store"),
    ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
    ("HEAD", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "file"),
    ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "file"),
    ("HEAD", r"/", "index"),
]


class RefusedError(Exception):
    """An answer that is an error: its status, its message, and the code that huggingface_hub reads."""

    def __init__(self, status, message="", code=""):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Server(ThreadingHTTPServer):
    """Says nothing of clients that leave early."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Repository:
    """Branches of commits, each a mapping of files to their bytes."""

    def __init__(self, private=False):
        self.private = private
        self.commits = {}  # by id, in order
        self.branches = {"main": self.add({".gitattributes": b"*.safetensors filter=lfs\n"})}

    def add(self, files):
        """Store a commit, and return its id."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode() + bytes([len(self.commits)])).hexdigest()
        self.commits[commit] = dict(files)
        return commit

    def resolve(self, revision):
        """Return the id of the commit that a branch or an id names."""
        commit = self.branches.get(unquote(revision), unquote(revision))
        if commit not in self.commits:
            raise RefusedError(404, "Invalid rev id", "RevisionNotFound")
        return commit

    def change(self, files, branch="main"):
        """Commit files as their owner; None removes one."""
        changed = self.commits[self.branches[branch]] | files
        self.branches[branch] = self.add({name: content for name, content in changed.items() if content is not None})


class FakeHub:
    """A hub with one user, called `ada`.

    Attributes:
        endpoint: its address.
        repositories: by name.
        requests: the actions asked for, in order.
        received: everything that was uploaded, bodies of requests as they came.
        failures: by action, statuses that the next requests get; "cut": the connection ends within the answer.
        lengths: by file, the number of bytes that are sent in place of its own.
    """

    def __init__(self):
        self.repositories, self.objects = {}, {}
        self.requests, self.received, self.failures, self.lengths = [], [], {}, {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            cut = False

            def answer(self):
                hub.answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def count(self):
        """Return how often each action was asked for."""
        return Counter(self.requests)

    def answer(self, handler):
        """Answer one request."""
        body = self.read_body(handler)
        path = urlsplit(handler.path).path
        try:
            for method, pattern, action in ROUTES:
                match = re.fullmatch(pattern, path)
                if method == handler.command and match:
                    return self.run(handler, action, match.groups(), body)
            raise RefusedError(501, f"{handler.command} {path}")
        except RefusedError as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self.send(handler, {"error": refusal.message}, refusal.status, headers)
        return None

    def run(self, handler, action, groups, body):
        self.requests.append(action)
        planned = self.failures.get(action, [])
        failure = planned.pop(0) if planned else None
        if isinstance(failure, int):
            raise RefusedError(failure, "planned by the test")
        handler.cut = failure == "cut"
        if action in ("create", "preupload", "batch", "commit", "branch"):
            self.check_write(handler)
        if action in ("store", "commit"):
            self.received.append(body)
        return getattr(self, f"do_{action}")(handler, *groups, body=body)

    # ---------------------------------------------------------------------------------------------------- plumbing

    @staticmethod
    def read_body(handler):
        if handler.headers.get("Transfer-Encoding") != "chunked":
            return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        content = b""
        while size := int(handler.rfile.readline(), 16):
            content += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return content

    def send(self, handler, value, status=200, headers=()):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        for name, text in {"Content-Length": len(content), **dict(headers)}.items():
            handler.send_header(name, str(text))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        handler.wfile.write(content[: len(content) // 2] if handler.cut else content)
        handler.close_connection = handler.cut

    def check_write(self, handler):
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN:
            raise RefusedError(401, "Invalid username or password.")

    def get(self, handler, name):
        repository = self.repositories.get(name)
        is_owner = handler.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not is_owner):
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return repository

    # ----------------------------------------------------------------------------------------------------- actions

    def do_index(self, handler, body):
        self.send(handler, {})

    def do_create(self, handler, body):
        asked = json.loads(body)
        if asked["organization"] != "ada":
            raise RefusedError(403, f"You don't have the rights to create a model under {asked['organization']}")
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            raise RefusedError(409, "You already created this model repo")
        self.repositories[name] = Repository(asked.get("visibility") == "private")
        self.send(handler, {"url": f"{self.endpoint}/{name}"})

    def do_validate(self, handler, body):
        assert json.loads(body)["content"].startswith("---\n")
        self.send(handler, {"errors": [], "warnings": []})

    def do_info(self, handler, name, revision="main", body=b""):
        repository = self.get(handler, name)
        commit = repository.resolve(revision)
        files = [{"rfilename": file} for file in sorted(repository.commits[commit])]
        self.send(handler, {"id": name, "sha": commit, "private": repository.private, "siblings": files})

    def do_branch(self, handler, name, branch, body):
        branches = self.get(handler, name).branches
        if branch in branches:
            raise RefusedError(409, "Reference already exists")
        branches[branch] = branches["main"]
        self.send(handler, {})

    def do_preupload(self, handler, name, revision, body):
        repository = self.get(handler, name)
        stored = repository.commits[repository.resolve(revision)]
        files = []
        for file in json.loads(body)["files"]:
            is_large = file["size"] > LFS_SIZE
            answer = {"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
            if file["path"] in stored:
                answer["oid"] = self.compute_id(stored[file["path"]])
            files.append(answer)
        self.send(handler, {"files": files})

    @staticmethod
    def compute_id(content):
        if len(content) > LFS_SIZE:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def do_batch(self, handler, name, body):
        objects = []
        for each in json.loads(body)["objects"]:
            actions = {"upload": {"href": f"{self.endpoint}/lfs/{each['oid']}?X-Amz-Signature=secret"}}
            objects.append(each if each["oid"] in self.objects else {**each, "actions": actions})
        self.send(handler, {"transfer": "basic", "objects": objects})

    def do_store(self, handler, oid, body):
        if hashlib.sha256(body).hexdigest() != oid:
            raise RefusedError(400, "not this object")
        self.objects[oid] = body
        self.send(handler, {})

    def do_commit(self, handler, name, revision, body):
        repository = self.get(handler, name)
        branch, changes = unquote(revision), {}
        for line in body.splitlines():
            key, value = json.loads(line)["key"], json.loads(line)["value"]
            if key == "header" and value.get("parentCommit") not in (None, repository.branches[branch]):
                raise RefusedError(412, "The parent commit is not the head")
            if key == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                changes[value["path"]] = self.objects[value["oid"]]
            elif key == "deletedFile":
                changes[value["path"]] = None
        repository.change(changes, branch)
        commit = repository.branches[branch]
        self.send(handler, {"commitUrl": f"{self.endpoint}/{name}/commit/{commit}", "commitOid": commit})

    def do_file(self, handler, name, revision, file, body):
        repository = self.get(handler, name)
        commit = repository.resolve(revision)
        content = repository.commits[commit].get(unquote(file))
        headers = {"X-Repo-Commit": commit}
        if content is None:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        headers["ETag"] = f'"{self.compute_id(content)}"'
        if unquote(file) in self.lengths and handler.command == "GET":
            content = content.ljust(self.lengths[unquote(file)], b" ")
        start = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if start is None:
            return self.send(handler, content, 200, headers)
        headers["Content-Range"] = f"bytes {start[1]}-{len(content) - 1}/{len(content)}"
        return self.send(handler, content[int(start[1]) :], 206, headers)


def read_uploads(hub):
    """Return all bytes that a hub received, with the files inside of commits decoded."""
    contents = list(hub.received)
    for body in hub.received:
        for line in body.splitlines() if body.startswith(b'{"key"') else ():
            value = json.loads(line)["value"]
            contents.append(base64.b64decode(value.get("content", "")))
    return b"\n".join(contents)
