"""The JSON Schema of a study file, for editors: generated from `spaces.forms`, shipped as `study.schema.json`.

`python -P -m spaces.schema` writes the file again; a test says when that is due.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from spaces.builtin import BUILT_IN
from spaces.forms import KINDS, Form, StudyForm
from spaces.library import library
from spaces.parse import NAME
from spaces.study import SCHEDULERS, SEARCHERS
from spaces.task import FUNCTION

FILE = Path(__file__).with_name("study.schema.json")


def study_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a whole study file."""
    forms: list[type[Form]] = [StudyForm, *(task.form for task in BUILT_IN.values()), *KINDS.values()]
    _, generated = models_json_schema([(f, "validation") for f in forms], by_alias=True)
    defs: dict[str, Any] = generated["$defs"]
    study = defs.pop("StudyForm")
    kinds = [{"$ref": f"#/$defs/{form.__name__}"} for form in KINDS.values()]
    defs["Parameter"] = {"anyOf": [*kinds, {"type": ["string", "number", "boolean", "null"]}]}
    defs["Space"] = {
        "type": "object",
        "propertyNames": {"pattern": NAME.pattern},
        "additionalProperties": {"$ref": "#/$defs/Parameter"},
    }
    for branch in defs["ChoiceForm"]["properties"]["choice"]["anyOf"]:
        if branch.get("type") == "object":
            branch["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/Space"}, {"type": "null"}]}
    properties = study["properties"]
    properties["space"] = {"$ref": "#/$defs/Space", "description": properties["space"]["description"]}
    properties["use"]["items"] = {"enum": sorted(library())}
    properties["task"] = _task(properties["task"]["description"])
    search = defs["SearchForm"]["properties"]
    search["scheduler"] = {**search["scheduler"], "enum": list(SCHEDULERS)}
    search["searcher"] = {**search["searcher"], "enum": list(SEARCHERS)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **study, "title": "searchd study", "$defs": defs}


def text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(study_schema(), indent=1) + "\n"


def _task(description: str) -> dict[str, Any]:
    named = {"type": "string", "pattern": FUNCTION.pattern}
    limit = {"time_limit_s": {"type": "number", "exclusiveMinimum": 0}}
    argv = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}]}
    forms = {name: f"#/$defs/{task.form.__name__}" for name, task in BUILT_IN.items()}
    built_in = [
        {
            "type": "object", "required": [name], "additionalProperties": False,
            "properties": {name: {"anyOf": [{"$ref": form}, {"type": "null"}]}},
        }
        for name, form in forms.items()
    ]  # fmt: skip
    return {
        "description": description,
        "default": "classify",
        "anyOf": [
            {"enum": list(BUILT_IN)},
            named,
            *built_in,
            {
                "type": "object", "required": ["function"],
                "properties": {"function": named, "describe": named, **limit},
            },
            {
                "type": "object", "required": ["command"],
                "properties": {"command": argv, "describe": argv, **limit},
            },
        ],
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(text())
    print(f"wrote {FILE}")
