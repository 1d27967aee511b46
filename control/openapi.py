"""The OpenAPI 3.1 document, out of the table of operations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from control.answers import PAGE_ITEMS, PAGE_ITEMS_MAX
from control.http import SAFE_METHODS
from control.operations import Operation
from control.schemas import SCHEMAS

# Every code of the contract with the statuses that it is sent with.
STATUSES: dict[str, tuple[int, ...]] = {
    "invalid_request": (400, 408, 422),
    "not_found": (404,),
    "not_signed_in": (401,),
    "wrong_credentials": (401,),
    "wrong_password": (403,),
    "password_common": (422,),
    "bad_origin": (403,),
    "not_teacher": (403,),
    "not_operator": (403,),
    "not_owner": (403,),
    "link_invalid": (404,),
    "class_not_live": (409,),
    "class_ended": (410,),
    "class_full": (409,),
    "active_elsewhere": (409,),
    "own_class": (409,),
    "replaced": (409,),
    "role_busy": (409,),
    "email_taken": (409,),
    "capacity_below_used": (409,),
    "bad_offer": (400,),
    "too_large": (413,),
    "rate_limited": (429,),
    "no_capacity": (503,),
    "try_again": (503,),
}

# A client that comes back sooner is turned away again.
RETRIED = frozenset({429, 503})
SECURITY: list[dict[str, list[str]]] = [{"cookie": []}, {"bearer": []}]


def document(
    operations: list[Operation], more_paths: dict[str, dict[str, Any]], *, cookie: str
) -> dict[str, Any]:
    """Return the whole document, ready for JSON; `more_paths` are path items that others describe."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lectern",
            "version": "1",
            "description": "Live classes: accounts, classes, links and attendance; media by WHIP "
            "(RFC 9725) and WHEP. Every error is application/problem+json (RFC 9457) with a stable "
            "`code`. Sign in by POST /api/session for a cookie, or make a token and send it as "
            "`Authorization: Bearer`. Unsafe requests with a cookie need an Origin of this site. "
            "Times are RFC 3339 in UTC, durations seconds. Lists are pages: `next` is the cursor of "
            "the following one.",
        },
        "paths": dict(paths) | more_paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.purpose,
        "tags": [operation.path.split("/")[2] if operation.path.startswith("/api/") else "health"],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.signed_in:
        described["security"] = SECURITY
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
    found += [
        {"name": name, "in": "query", "required": True, "schema": schema}
        for name, schema in operation.query.items()
    ]
    found += [
        {"name": name, "in": "header", "required": False, "schema": schema}
        for name, schema in operation.headers.items()
    ]
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {"description": operation.purpose}
    if operation.answer is not None:
        schema = {"$ref": f"#/components/schemas/{operation.answer}"}
        done["content"] = {operation.media_type: {"schema": schema}}
    return {str(operation.status): done} | problem_responses(all_codes(operation))


def problem_responses(
    codes: Iterable[str], statuses: dict[str, tuple[int, ...]] = STATUSES
) -> dict[str, Any]:
    """Return the responses by status of an operation that answers with these codes."""
    codes_by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        for status in statuses[code]:
            codes_by_status[status].append(code)
    responses: dict[str, Any] = {}
    for status, found in sorted(codes_by_status.items()):
        code_of_these = {"properties": {"code": {"enum": sorted(found)}}}
        schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, code_of_these]}
        responses[str(status)] = {
            "description": ", ".join(sorted(found)),
            "content": {"application/problem+json": {"schema": schema}},
        }
        if status in RETRIED:
            seconds = {"schema": {"type": "integer", "minimum": 0}}
            responses[str(status)]["headers"] = {"Retry-After": seconds}
    return responses


def all_codes(operation: Operation) -> list[str]:
    """Return every code the operation may answer with, in a fixed order."""
    # Any query may say something twice.
    codes = set(operation.codes) | {"try_again", "invalid_request"}
    if operation.signed_in:
        codes.add("not_signed_in")
    if operation.method not in SAFE_METHODS:
        codes.add("bad_origin")
    if operation.body is not None:
        codes.add("too_large")
    return sorted(codes)
