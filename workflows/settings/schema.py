"""The JSON schema of workflow files, for editors and other tools.

It is published as ``docs/workflow.schema.json``; ``python -m workflows.settings.schema FILE``
writes it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from protocols.registry import PROTOCOLS
from workflows.settings.configuration import RoleCast, Workflow
from workflows.settings.sections import PairSpec

_TEXT = {"type": "string"}
_PROMPTS: dict[str, Any] = {
    "description": "Prompts in other words: template.section to text, or a file of them.",
    "anyOf": [
        _TEXT,
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [_TEXT, {"type": "object", "additionalProperties": _TEXT}]
            },
        },
    ],
}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a workflow file, with the parameters of every protocol.

    It says what may be written, short forms included; that a name exists and that a protocol can
    take a question is checked with the data at hand (``moot validate``).
    """
    schema = Workflow.model_json_schema()
    definitions = schema["$defs"]
    del definitions["ProtocolSpec"]
    role = {"$ref": f"#/$defs/{RoleCast.__name__}"}
    label = {"type": "string"}
    short_role = {"anyOf": [label, {"type": "array", "items": label}, role]}
    definitions[RoleCast.__name__]["properties"]["experts"] = {
        "anyOf": [label, {"type": "array", "items": label}]
    }
    schema["properties"]["cast"]["additionalProperties"] = short_role
    schema["properties"]["casts"]["additionalProperties"] = {
        "anyOf": [label, {"type": "array", "items": short_role, "minItems": 1}, role]
    }
    schema["properties"]["experts"]["additionalProperties"] = {
        "anyOf": [label, {"$ref": "#/$defs/Expert"}]
    }
    pair = {"$ref": f"#/$defs/{PairSpec.__name__}"}
    definitions["QuestionsSpec"]["properties"]["pair"] = {
        "anyOf": [{"type": "boolean"}, pair, {"type": "null"}],
        "description": "Turn many options or a number into two options.",
    }
    schema["properties"]["protocols"]["items"] = {
        "anyOf": [_protocol_schema(kind, short_role, definitions) for kind in PROTOCOLS]
    }
    schema["properties"]["teams"]["additionalProperties"] = {"$ref": "#/properties/protocols/items"}
    schema["properties"]["fleet"] = {
        "anyOf": [definitions["FleetSpec"]["properties"]["kind"], {"$ref": "#/$defs/FleetSpec"}],
        "default": "local",
        "description": "Where engines live: a name, or a mapping.",
    }
    schema["properties"]["budget"] = _short(schema, "budget", {"type": "number", "minimum": 0})
    schema["properties"]["cache"] = _short(schema, "cache", {"type": ["boolean", "string"]})
    _either_protocols_or_crossplay(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "moot workflow",
        "description": "What a run of moot is to do.",
    }


def _short(schema: dict[str, Any], key: str, form: dict[str, Any]) -> dict[str, Any]:
    """Return a key's schema with a short form beside the others."""
    present = schema["properties"][key]
    return {**present, "anyOf": [form, *present["anyOf"]]}


def _either_protocols_or_crossplay(schema: dict[str, Any]) -> None:
    """Let a workflow without protocols of its own name debaters that meet; a label is short."""
    debaters = schema["$defs"]["CrossplaySpec"]["properties"]["debaters"]
    debaters["items"] = {"anyOf": [{"type": "string"}, debaters["items"]]}
    schema["required"].remove("protocols")
    del schema["properties"]["protocols"]["minItems"]
    named = {"required": ["protocols"], "properties": {"protocols": {"minItems": 1}}}
    met = {"required": ["crossplay"], "properties": {"crossplay": {"type": "object"}}}
    schema["anyOf"] = [named, met]


def _protocol_schema(
    kind: str, short_role: dict[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of one entry of ``protocols``."""
    cls = PROTOCOLS[kind]
    own = cls.model_json_schema()
    definitions.update(own.pop("$defs", {}))
    return {
        "type": "object",
        "title": kind,
        "description": cls.about,
        "properties": {
            "kind": {"const": kind},
            "name": {"type": "string", "description": "What tables call it."},
            "cast": {"type": "object", "additionalProperties": short_role},
            **own.get("properties", {}),
            "prompts": _PROMPTS,
        },
        "required": ["kind", *own.get("required", [])],
        "additionalProperties": False,
    }


def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
