"""Requests to a served run of things that are wrong in one way each, with the status and the place of the error."""

import base64
import io
import json
import re
import struct
import zlib

import numpy as np
from PIL import Image

from tests.deploy.serve.things import draw_photo, play_sound

JSON = "application/json"


def encode(content):
    return base64.b64encode(content).decode()


def claim_png(width, height):
    """Return a PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def claim_wav(seconds):
    """Return a WAV whose header claims any length."""
    size = 16000 * seconds
    return b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)


def claim_npy(shape):
    """Return a .npy file whose header claims any shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + b"\0" * 16


def save_objects():
    """Return a .npy file that holds a pickle."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def save_eps():
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "EPS")
    return stream.getvalue()


BODIES = {  # JSON bodies: status, where
    b"": (400, "body"),
    b"{": (400, "body"),
    b"null": (422, "body"),
    b"[]": (422, "body"),
    b"7": (422, "body"),
    b'"rows"': (422, "body"),
    b"{}": (422, "body"),
    b'{"rows": null}': (422, "body"),
    b'{"rows": {}}': (422, "body"),
    b'{"rows": "a"}': (422, "body"),
    b'{"row": [{"note": "a"}]}': (422, "body"),
    b'{"rows": []}': (422, "rows"),
    b'{"rows": [{"note": "a"}], "embeddings": true}': (422, "embeddings"),
    b'{"rows": [null]}': (422, "rows[0]"),
    b'{"rows": [[]]}': (422, "rows[0]"),
    b'{"rows": ["a"]}': (422, "rows[0]"),
    b'{"rows": [{}]}': (422, "rows[0]"),
    b'{"rows": [{"id": "a"}]}': (422, "rows[0]"),
    b'{"rows": [{"label": "cup"}]}': (422, "rows[0]"),
    b'{"rows": [{"note": ""}]}': (422, "rows[0]"),
    b'{"rows": [{"note": "a"}, {"note": null}]}': (422, "rows[1]"),
    b'{"rows": [{"note": "a", "id": {}}]}': (422, "rows[0].id"),
    b'{"rows": [{"note": "a", "id": "' + b"x" * 300 + b'"}]}': (422, "rows[0].id"),
    b'{"rows": [{"nots": "a"}]}': (422, "rows[0].nots"),
    b'{"rows": [{"note": "a", "": "b"}]}': (422, "rows[0]."),
    b'{"rows": [{"note": "a", "\\ud800": "b"}]}': (400, "body"),
    b'{"rows": [{"body": {"wieght": 1}}]}': (422, "rows[0].body.wieght"),
    b'{"rows": [{"body": {"weight": 1}, "weight": 2}]}': (422, "rows[0].weight"),
    b'{"rows": [{"body": [1]}]}': (422, "rows[0].body"),
    b'{"rows": [{"body": "heavy"}]}': (422, "rows[0].body"),
    b'{"rows": [{"note": "a"},]}': (400, "body"),
    b'{"rows": [{"note": "a"}]} {}': (400, "body"),
    b"{'rows': []}": (400, "body"),
    b'{"rows": [{"note": "\xff"}]}': (400, "body"),
    b'\xef\xbb\xbf{"rows": []}': (400, "body"),
    '{"rows": [{"note": "a"}]}'.encode("utf-16"): (400, "body"),
    b'{"rows": [{"weight": ' + b"9" * 5000 + b"}]}": (400, "body"),
    b'{"rows": [{"weight": 1' + b"0" * 400 + b"}]}": (422, "rows[0].weight"),
    b'{"rows": [{"pulse": [1' + b"0" * 400 + b"]}]}": (422, "rows[0].pulse"),
    b'{"rows": ' + b"[" * 10_000 + b"]" * 10_000 + b"}": (400, "body"),
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000: (400, "body"),
    b'{"rows": [{"note": "a"}' + b', {"note": "a"}' * 256 + b"]}": (413, "rows"),
}

WRONG = {  # cells by column
    "photo": [
        7, True, [], {}, [1, 2], "a.png", "/etc/passwd", "../../secret.png", "file:///etc/passwd",
        "http://127.0.0.1/a.png",
        "https://example.org/a.png", "data:image/png;base64,", "data:image/png;base64,###", "data:image/png,abc",
        "=====",
        "aGFsbG8=", "data:text/html;base64,PGI+", encode(b"GIF89a"), encode(draw_photo(0)[:60]), encode(save_eps()),
        encode(claim_png(60_000, 60_000)), encode(claim_png(0, 0)), encode(claim_npy((1 << 20, 1 << 20))),
        encode(save_objects()), encode(play_sound(0)), encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "\u00e9\u00e9", "\ud800",
    ],
    "sound": [
        7, False, [], {}, "a.wav", "/dev/zero", "~/a.wav", "ftp://a/b.wav", "data:audio/wav;base64,", "aGFsbG8=",
        encode(b"RIFF"), encode(play_sound(0)[:20]), encode(draw_photo(0)), encode(claim_wav(0)), encode(b"\0" * 1000),
        encode(b"ID3" + b"\0" * 100), encode(b"OggS" + b"\0" * 100), "\udfff",
    ],
    "note": [[], {}, ["a"], {"a": 1}, "\ud800", "a\udc00b"],
    "weight": [
        "heavy", "1,2,3", "12 kg", "0x1f", "1_000", "1e", "--1", "\u0661x", [], {}, [1], "\ud800", "12:30",
        "2026-01-01", "$1", 1e300,
    ],
    "city": [[], {}, ["Rome"], {"name": "Rome"}, "\ud800"],
    "pulse": [
        7, True, {}, [], [[]], [None], ["a"], [[1, 2], [3]], [[[1]]], [{}], "a", "1, b", "a.npy", "/etc/passwd",
        "[1, [2]]", "[" * 1000, [[1, 2], [3, 4]], [True, "x"], "\ud800", {"values": [1]},
    ],
}  # fmt: skip


HALF = re.compile("[\ud800-\udfff]")  # of a character


def list_malformed():
    """Yield JSON bodies, and the status and the place of their errors."""
    for body, (status, where) in BODIES.items():
        yield body, status, where
    for column, cells in WRONG.items():
        for cell in cells:
            body = json.dumps({"rows": [{column: cell}]}).encode()
            if HALF.search(str(cell)):
                yield body, 400, "body"
                continue
            is_decoded_with_others = column == "weight" and not isinstance(cell, list | dict)
            yield body, 422, "rows[0].body" if is_decoded_with_others else f"rows[0].{column}"
