"""WHIP, WHEP and their session resources as OpenAPI path items."""

from __future__ import annotations

from typing import Any

from control import problem_responses
from signaling.body import FRAGMENT_TYPE, OFFER_TYPE
from signaling.reports import FIELDS

Item = dict[str, Any]

SECURITY: list[dict[str, list[str]]] = [{"cookie": []}, {"bearer": []}]
TEXT: Item = {"type": "string"}

# Besides its usual statuses a malformed request has those of RFC 9725 and of HTTP itself.
STATUSES: dict[str, tuple[int, ...]] = {
    "invalid_request": (408, 415),
    "precondition": (412, 428),
    "bad_offer": (400,),
    "not_signed_in": (401,),
    "bad_origin": (403,),
    "not_owner": (403,),
    "not_found": (404,),
    "link_invalid": (404,),
    "class_not_live": (409,),
    "class_full": (409,),
    "active_elsewhere": (409,),
    "own_class": (409,),
    "replaced": (409,),
    "class_ended": (410,),
    "too_large": (413,),
    "rate_limited": (429,),
    "no_capacity": (503,),
    "try_again": (503,),
}
OFFERED = (
    "invalid_request", "bad_offer", "not_signed_in", "bad_origin", "not_found", "class_not_live",
    "class_ended", "too_large", "no_capacity", "try_again", "replaced", "rate_limited",
)  # fmt: skip
JOINED = (*OFFERED, "class_full", "active_elsewhere", "own_class")


def paths() -> dict[str, Item]:
    """Return the path items of everything below /live."""
    takeover = _query("takeover", "`1` leaves another live class for this one.")
    resume = _query("resume", "The Lectern-Resume of a session to continue.")
    return figures() | {
        "/live/classes/{class_id}/whip": {
            "parameters": [_path("class_id"), resume],
            "post": _offer("publish", "Publish into an own class (WHIP, RFC 9725).",
                           (*OFFERED, "not_owner")),
        },
        "/live/classes/{class_id}/whep": {
            "parameters": [_path("class_id"), takeover, resume],
            "post": _offer("rejoinClass", "Come back to a seat that one holds (WHEP).", JOINED),
        },
        "/live/links/{token}/whep": {
            "parameters": [_path("token"), takeover, resume],
            "post": _offer("joinClass", "Join a class by its link (WHEP).",
                           (*JOINED, "link_invalid")),
        },
        "/live/sessions/{node_id}/{session_id}": {
            "parameters": [_path("node_id"), _path("session_id")],
            "patch": _patch(),
            "delete": _operation(
                "leave", "Leave; `?reason=pagehide` keeps the place for a moment.",
                {"204": {"description": "Left."}},
                ("not_signed_in", "bad_origin", "not_found", "try_again"),
            ) | {"parameters": [_query("reason", "`pagehide`; leaving never fails for a word.")]},
        },
    }  # fmt: skip


def figures() -> dict[str, Item]:
    """Return the path items of what pages report and operators read, and of TURN."""
    told = {
        "200": {
            "description": "As Prometheus reads it.",
            "content": {"text/plain": {"schema": TEXT}},
        }
    }
    targets: Item = {"type": "array", "items": {"type": "object"}}
    listed = {
        "200": {
            "description": "HTTP service discovery.",
            "content": {"application/json": {"schema": targets}},
        }
    }
    servers: Item = {
        "type": "object",
        "required": ["iceServers", "ttl_s"],
        "properties": {
            "iceServers": {"type": "array", "items": {"type": "object"}},
            "ttl_s": {"type": "integer"},
        },
    }
    given = {
        "200": {
            "description": "What an RTCPeerConnection takes.",
            "content": {"application/json": {"schema": servers}},
        }
    }
    report: Item = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {"type": "integer", "minimum": 0, "maximum": most}
            for name, most in FIELDS.items()
        },
    }
    taken = {"204": {"description": "Taken."}}
    return {
        "/live/reports": {
            "post": _operation(
                "report", "Say how watching was: first frame, freezes.", taken,
                ("malformed", "not_signed_in", "bad_origin", "too_large", "rate_limited", "try_again"),
            ) | {"requestBody": {"required": True, "content": {"application/json": {"schema": report}}}},
        },
        "/live/ice-servers": {
            "get": _operation("iceServers", "Get credentials for the operator's TURN server.", given,
                              ("not_signed_in", "try_again")),
        },
        "/metrics/nodes": {
            "get": _operation("nodeTargets", "List the nodes that live, for Prometheus.", listed,
                              ("not_signed_in", "not_found", "try_again")) | {"security": []},
        },
        "/metrics/nodes/{node_id}": {
            "parameters": [_path("node_id")],
            "get": _operation("nodeMetrics", "Tell a node's figures.", told,
                              ("not_signed_in", "not_found", "try_again")) | {"security": []},
        },
    }  # fmt: skip


def _operation(name: str, summary: str, done: Item, codes: tuple[str, ...]) -> Item:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["live"],
        "security": SECURITY,
        "responses": done | _problems(codes),
    }


def _problems(codes: tuple[str, ...]) -> Item:
    special = ("precondition", "malformed")
    # Any query may say something twice.
    responses: Item = problem_responses(["invalid_request"], {"invalid_request": (422,)})
    responses |= problem_responses([c for c in codes if c not in special], STATUSES)
    if "malformed" in codes:
        responses |= problem_responses(["invalid_request"], {"invalid_request": (415,)})
    if "precondition" in codes:
        refused = problem_responses(
            ["invalid_request"], {"invalid_request": STATUSES["precondition"]}
        )
        responses |= refused
    return responses


def _offer(name: str, summary: str, codes: tuple[str, ...]) -> Item:
    headers = {
        "Location": "The session: PATCH it, DELETE it.",
        "ETag": "The ICE session, for If-Match.",
        "Lectern-Resume": "What `resume` continues this session with.",
        "Lectern-Ice-Servers": "Where TURN credentials are, for whom the answer's candidates do not "
        "work; only where there is a TURN server.",
    }
    done = {
        "201": {
            "description": "The answer.",
            "headers": {n: {"description": d, "schema": TEXT} for n, d in headers.items()},
            "content": {OFFER_TYPE: {"schema": TEXT}},
        }
    }
    return _operation(name, summary, done, codes) | {"requestBody": _body(OFFER_TYPE)}


def _patch() -> Item:
    tag = {"description": "The ICE session now.", "schema": TEXT}
    done: Item = {
        "200": {
            "description": "ICE was restarted.",
            "headers": {"ETag": tag},
            "content": {FRAGMENT_TYPE: {"schema": TEXT}},
        },
        "204": {"description": "The candidates were taken."},
    }
    codes = (
        "invalid_request", "precondition", "bad_offer", "too_large", "not_signed_in", "bad_origin",
        "not_found", "try_again",
    )  # fmt: skip
    match = {
        "name": "If-Match", "in": "header", "required": False, "schema": TEXT,
        "description": "The ETag for candidates, * to restart ICE.",
    }  # fmt: skip
    return _operation("patchSession", "Trickle candidates or restart ICE.", done, codes) | {
        "parameters": [match],
        "requestBody": _body(FRAGMENT_TYPE),
    }


def _body(content_type: str) -> Item:
    return {"required": True, "content": {content_type: {"schema": TEXT}}}


def _path(name: str) -> Item:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


def _query(name: str, description: str) -> Item:
    return {
        "name": name, "in": "query", "required": False, "description": description,
        "schema": TEXT,
    }  # fmt: skip
