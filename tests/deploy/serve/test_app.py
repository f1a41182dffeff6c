"""Requests to a served run, over HTTP."""

import contextlib
import re
from urllib.parse import unquote

import pytest

import mmrun
from tests.deploy.serve.malformed import encode, list_malformed
from tests.deploy.serve.things import draw_photo, play_sound

ROW = {
    "photo": encode(draw_photo(1)),
    "sound": "data:audio/wav;base64," + encode(play_sound(1)),
    "note": "a large thing",
    "weight": 31,
    "city": "Oslo",
    "pulse": [0.1, 0.5, 0.9],
}


def test_rows_get_labels_by_name_and_scores(served, things_run):
    rows = [
        {"note": "a large thing", "weight": 31, "city": "Oslo", "id": "x"},
        {"note": "a small thing", "body": {"weight": "11", "city": "Rome"}},
    ]
    expected = mmrun.load(str(things_run)).predict(rows)
    answer = served.post_rows(rows)
    assert answer.status == 200
    assert answer.json["run"] == things_run.name
    assert [row["id"] for row in answer.json["rows"]] == ["x", "1"]
    for row, line in zip(answer.json["rows"], expected, strict=True):
        assert row["predictions"]["label"]["prediction"] == line["label"]
        scores = {"cup": line["label=cup"], "box": line["label=box"]}
        assert row["predictions"]["label"]["scores"] == pytest.approx(scores, abs=1e-5)
        assert row["notes"] == [f"no {name}: predicted without it" for name in ("photo", "sound", "pulse")]


def test_a_form_with_files_is_the_same_row(served):
    files = {"photo": draw_photo(1), "sound": play_sound(1)}
    form = files | {"note": "a large thing", "weight": "31", "city": "Oslo", "pulse": "0.1, 0.5, 0.9"}
    [as_form] = served.post_form(form).json["rows"]
    [as_json] = served.post_rows([ROW]).json["rows"]
    assert as_form["notes"] == as_json["notes"] == []
    assert as_form["predictions"]["label"]["scores"] == pytest.approx(
        as_json["predictions"]["label"]["scores"], abs=1e-5
    )


def test_what_no_training_row_has_is_said(served):
    [row] = served.post_rows([{**ROW, "city": "Paris", "label": "cup"}]).json["rows"]
    assert row["notes"] == [
        "'label' is a target, and not read",
        "'city' is 'Paris', which no training row has: read as unknown",
    ]


def test_a_row_is_explained(served):
    explained = served.post_rows([{**ROW, "pulse": None}], "/explain").json
    contributions = explained["contributions"]
    assert list(contributions) == ["photo", "sound", "note", "body"]
    assert sum(contributions.values()) == pytest.approx(explained["score"] - explained["empty_score"], abs=1e-5)
    assert list(explained["without"]) == ["photo", "sound", "note", "body"]
    [without_note] = served.post_rows([{**ROW, "pulse": None, "note": None}]).json["rows"]
    scores = without_note["predictions"]["label"]["scores"]
    assert explained["without"]["note"] == pytest.approx(scores[explained["explained"]], abs=1e-5)
    panels = {panel["modality"]: panel for panel in explained["panels"]}
    assert {bar["name"] for bar in panels["body"]["bars"]} == {"weight", "city"}
    assert "".join(span["text"] for span in panels["note"]["spans"]) == "a large thing"
    assert panels["photo"]["images"][0][0].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("target", "what"),
    [("labels", "the run has no such target"), ("label=mug", "'label' has no 'mug' (there are box, cup)")],
)
def test_a_target_that_does_not_exist_is_named(served, target, what):
    answer = served.post_rows([ROW], f"/explain?target={target}")
    assert (answer.status, answer.error["where"]) == (422, "target")
    assert what in answer.error["what"]


def test_one_row_is_explained_at_a_time(served):
    answer = served.post_rows([ROW, ROW], "/explain")
    assert (answer.status, answer.error["where"], answer.error["mend"]) == (422, "rows", "send one row")


def check_error(answer, status, where):
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer
    assert list(answer.error) == ["status", "where", "what", "mend"]
    assert (answer.error["status"], answer.error["where"]) == (status, where), answer.error
    assert min(len(answer.error["what"]), len(answer.error["mend"])) > 4
    assert len(answer.content) < 3000
    assert "/tmp" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_malformed_rows_are_clear_errors(served, path):
    malformed = list(list_malformed())
    assert len(malformed) >= 130  # at either path
    for body, status, where in malformed:
        check_error(served.send("POST", path, body, "application/json"), status, where)
    assert served.post_rows([ROW]).status == 200
    assert not any("Traceback" in line or " 500 " in line for line in served.log)


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ({}, "rows[0]"),
        ({"note": " "}, "rows[0]"),
        ({"nots": "a"}, "rows[0].nots"),
        ({"photo": b"no picture"}, "rows[0].photo"),
        ({"photo": "a.png"}, "rows[0].photo"),
        ({"sound": b"no sound"}, "rows[0].sound"),
        ({"note": b"\xff\xff\xff"}, "rows[0].note"),
        ({"weight": b"12"}, "rows[0].weight"),
        ({"weight": "heavy"}, "rows[0].body"),
        ({"pulse": b"\x93NUMPY"}, "rows[0].pulse"),
        ({"pulse": b"a,b"}, "rows[0].pulse"),
    ],
)  # fmt: skip
def test_malformed_forms_are_clear_errors(served, cells, where):
    check_error(served.post_form(cells), 422, where)


@pytest.mark.parametrize(
    ("content_type", "body", "headers", "status", "where"),
    [
        (None, b"{}", {}, 415, "header Content-Type"),
        ("text/plain", b"{}", {}, 415, "header Content-Type"),
        ("application/x-www-form-urlencoded", b"note=a", {}, 415, "header Content-Type"),
        ("image/png", draw_photo(0), {}, 415, "header Content-Type"),
        ("application/json", b"{}", {"Content-Encoding": "gzip"}, 415, "header Content-Encoding"),
        ("multipart/form-data", b"a", {}, 400, "body"),
        ("multipart/form-data; boundary=x", b"a", {}, 400, "body"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\na", {}, 400, "body"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: x\r\n\r\na\r\n--x--", {}, 400, "body"),
        ("application/json", b"{}", {"Sec-Fetch-Site": "cross-site"}, 403, "header Sec-Fetch-Site"),
        ("application/json", b"{}", {"Content-Length": str(1 << 40)}, 413, "body"),
    ],
)  # fmt: skip
def test_wrong_types_are_clear_errors(served, content_type, body, headers, status, where):
    check_error(served.send("POST", "/predict", body, content_type, headers), status, where)


def test_a_body_without_a_length_is_counted_as_it_comes(served):
    chunks = (b" " * (1 << 20) for _ in range(40))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server hangs up before it has read all
        answer = served.send("POST", "/predict", chunks, "application/json", {"Transfer-Encoding": "chunked"})
        check_error(answer, 413, "body")
    assert served.post_rows([ROW]).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/static/../app.py", 404), ("GET", "/static/%2e%2e/app.py", 404),
     ("GET", "/predict", 405), ("DELETE", "/predict", 405), ("POST", "/", 405), ("POST", "/health", 405)],
)  # fmt: skip
def test_other_paths_and_methods_are_clear_errors(served, method, path, status):
    check_error(served.send(method, path), status, f"{method} {unquote(path)}")


def test_operators_see_health_readiness_and_metrics(served):
    served.post_rows([ROW, ROW])
    assert served.get("/health").json["status"] == "ok"
    assert served.get("/ready").json["status"] == "ready"
    lines = served.get("/metrics").content.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(values["mmrun_rows_total"]) >= 2
    assert int(values['mmrun_requests_total{path="/predict",status="200"}']) >= 1
    assert int(values["mmrun_batch_rows_count"]) >= 1
    assert values["mmrun_queued_rows"] == "0"


def test_the_log_has_a_line_per_request_without_contents(served):
    served.post_rows([{"note": "a secret"}], "/predict?key=secret")
    assert served.get("/health").status == 200  # whose line comes after
    line = [line for line in served.log if "/predict" in line][-1]
    assert re.fullmatch(r"127\.0\.0\.1 POST /predict 200 1 row [\d.]+ ms", line)
    assert not any("secret" in line for line in served.log)


def test_the_schema_names_columns_categories_and_limits(served):
    schema = served.get("/schema").json
    columns = {column["name"]: column for modality in schema["inputs"] for column in modality["columns"]}
    assert {name: column["type"] for name, column in columns.items()} == {
        "photo": "image", "sound": "audio", "note": "text", "weight": "number", "city": "category", "pulse": "series"
    }  # fmt: skip
    assert columns["city"]["categories"] == ["Oslo", "Rome"]
    assert schema["targets"] == [{"name": "label", "task": "classification", "outputs": ["box", "cup"]}]
    assert schema["limits"] == {"rows": 256, "bytes": 32 << 20, "seconds": 60.0}
    paths = served.get("/openapi.json").json["paths"]
    assert set(paths) == {"/predict", "/explain", "/schema", "/health", "/ready", "/metrics"}


def test_pages_load_nothing_from_elsewhere(served):
    for path in ("/", "/docs"):
        answer = served.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        text = answer.content.decode()
        assert "http" not in text.replace("http-equiv", "")
        for asset in re.findall(r'(?:src|href)="(/[^"]*)"', text):
            assert served.get(asset).status == 200
