"""As much of JSON Schema as docs/metrics.schema.json uses."""

from typing import Any

TYPES: dict[str, Any] = {
    "object": dict,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def violations(value: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """Say where a value is not as the schema wants it."""
    assert schema.keys() <= {
        *("$schema", "title", "description", "const", "type", "required", "properties", "additionalProperties"),
    }, f"{place}: this checker does not know {schema.keys()}"
    if "const" in schema:
        return [] if value == schema["const"] else [f"{place}: {value!r} is not {schema['const']!r}"]
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[name]) and (not isinstance(value, bool) or name == "boolean") for name in names):
        return [f"{place}: {value!r} is not {' or '.join(names)}"]
    if not isinstance(value, dict):
        return []
    messages = [f"{place}: no '{key}'" for key in schema.get("required", []) if key not in value]
    properties = schema.get("properties", {})
    for key, item in value.items():
        of_key = properties.get(key, schema.get("additionalProperties"))
        if of_key is not None:
            messages += violations(item, of_key, f"{place}.{key}")
    return messages
