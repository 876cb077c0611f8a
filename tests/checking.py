"""Checks of a tool's output schema, each once per process.

In every session the SDK's client checks the schema of each tool that it calls against the metaschema, which took a
sixth of the time of all tests. That is jsonschema's own, and nothing but the schema decides the outcome, so a schema
that passed is not checked again. Results are validated against it as ever, and test_schemas checks all of them.
"""

import json
from typing import Any

from jsonschema import Draft202012Validator

_check: Any = Draft202012Validator.check_schema
_passed: set[str] = set()


def _check_once(schema: Any, *more: Any, **options: Any) -> None:
    text = json.dumps([schema, more, options], sort_keys=True, default=repr)
    if text not in _passed:
        _check(schema, *more, **options)
        _passed.add(text)


def check_schemas_once() -> None:
    Draft202012Validator.check_schema = _check_once  # pyright: ignore[reportAttributeAccessIssue]
