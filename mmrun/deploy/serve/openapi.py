"""Describes bodies and answers for /openapi.json."""

from typing import Any

from mmrun.deploy.serve.schema import Field, Schema

JsonSchema = dict[str, Any]

TYPES: dict[str, JsonSchema] = {
    "image": {"type": "string", "format": "byte", "description": "a picture as base64, or as a data URL"},
    "audio": {"type": "string", "format": "byte", "description": "a recording as base64, or as a data URL"},
    "points": {"type": "string", "format": "byte", "description": "a point cloud as base64, or as a data URL"},
    "video": {"type": "string", "format": "byte", "description": "a video or GIF as base64, or as a data URL"},
    "text": {"type": "string"},
    "series": {"type": "array", "items": {}, "description": "numbers, or a list of numbers for each channel"},
    "number": {"type": "number"},
    "category": {"type": "string"},
    "date": {"type": "string"},
}


def describe_request(schema: Schema, has_rows: bool = True) -> JsonSchema:
    """Return the body of a request: rows as JSON, or one row as a form.

    Args:
        schema: of the run.
        has_rows: whether several rows may be sent.
    """
    properties = {name: _describe_field(column) for name, column in schema.fields.items()}
    properties["id"] = {"type": "string"}
    rows: JsonSchema = {"type": "array", "minItems": 1, "items": {"type": "object", "properties": properties}}
    if not has_rows:
        rows["maxItems"] = 1
    form = {}
    for name, column in schema.fields.items():
        is_file = TYPES[column.type].get("format") == "byte"
        form[name] = {"type": "string"} | ({"format": "binary"} if is_file else {})
    as_json = {"schema": {"type": "object", "properties": {"rows": rows}, "required": ["rows"]}}
    as_form = {"schema": {"type": "object", "properties": form}}
    return {"requestBody": {"content": {"application/json": as_json, "multipart/form-data": as_form}}}


def _describe_field(column: Field) -> JsonSchema:
    described = {**TYPES[column.type], "nullable": True}
    if column.type == "category":
        described["examples"] = column.categories[:10]
    return described


ERROR: JsonSchema = {
    "description": "An error: where it is, what is wrong there, and what to send instead.",
    "content": {
        "application/json": {
            "example": {
                "error": {
                    "status": 422,
                    "where": "rows[0].photo",
                    "what": "is not base64: 'photos/a.png'",
                    "mend": "send the content of the image as base64 or as a data URL",
                }
            }
        }
    },
}
ERRORS: dict[int | str, JsonSchema] = dict.fromkeys((400, 408, 413, 415, 422, 503), ERROR)
