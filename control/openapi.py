"""The OpenAPI 3.1 document, out of the table of operations."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from control.answers import PAGE_ITEMS, PAGE_ITEMS_MAX
from control.http import SAFE_METHODS
from control.operations import Operation
from control.schemas import SCHEMAS

# Every code of the contract with the statuses that it is sent with.
STATUSES: dict[str, tuple[int, ...]] = {
    "invalid_request": (400, 422),
    "not_found": (404,),
    "not_signed_in": (401,),
    "wrong_credentials": (401,),
    "bad_origin": (403,),
    "not_teacher": (403,),
    "not_owner": (403,),
    "link_invalid": (404,),
    "class_not_live": (409,),
    "class_ended": (410,),
    "active_elsewhere": (409,),
    "role_busy": (409,),
    "email_taken": (409,),
    "capacity_below_used": (409,),
    "too_large": (413,),
    "rate_limited": (429,),
    "try_again": (503,),
}


def document(operations: list[Operation]) -> dict[str, Any]:
    """Return the whole document, ready for JSON."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lectern",
            "version": "1",
            "description": "Live classes: accounts, classes, links and attendance. Media follows "
            "WHIP (RFC 9725) and WHEP under /live.",
        },
        "paths": dict(paths),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "lectern_session"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.purpose,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.signed_in:
        described["security"] = [{"cookie": []}, {"bearer": []}]
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": operation.body.schema()}},
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.paged:
        limit = {"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX, "default": PAGE_ITEMS}
        found.append({"name": "limit", "in": "query", "required": False, "schema": limit})
        cursor = {"type": "string"}
        found.append({"name": "cursor", "in": "query", "required": False, "schema": cursor})
    for name in operation.headers:
        found.append(
            {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        )
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {"description": operation.purpose}
    if operation.answer is not None:
        schema = {"$ref": f"#/components/schemas/{operation.answer}"}
        done["content"] = {operation.media_type: {"schema": schema}}
    responses: dict[str, Any] = {str(operation.status): done}
    codes_by_status: dict[int, list[str]] = defaultdict(list)
    for code in all_codes(operation):
        for status in STATUSES[code]:
            codes_by_status[status].append(code)
    for status, codes in sorted(codes_by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(codes),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
    return responses


def all_codes(operation: Operation) -> list[str]:
    """Return every code the operation may answer with, in a fixed order."""
    codes = set(operation.codes) | {"try_again"}
    if operation.signed_in:
        codes.add("not_signed_in")
    if operation.method not in SAFE_METHODS:
        codes.add("bad_origin")
    if operation.body is not None or operation.paged or operation.headers:
        codes.add("invalid_request")
    if operation.body is not None:
        codes.add("too_large")
    return sorted(codes)
