"""The shapes of the API's answers, as JSON Schema (2020-12, as OpenAPI 3.1 takes it)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
TEXT: Schema = {"type": "string"}
SECONDS: Schema = {"type": "number", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 0}
STATE: Schema = {"type": "string", "enum": ["created", "live", "ended"]}
CAPACITY: Schema = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
YES_NO: Schema = {"type": "boolean"}
# Why a stay ended; a browser's closed page is `pagehide`.
REASONS = (
    *("left", "pagehide", "disconnected", "replaced", "class_ended", "node_lost"),
    *("never_connected", "handshake_failed", "node_drained"),
)


def _object(**properties: Schema) -> Schema:
    # Answers grow additively, so further properties are allowed; these are always there.
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _page(name: str) -> Schema:
    return _object(items={"type": "array", "items": _ref(name)}, next={"type": ["string", "null"]})


SCHEMAS: dict[str, Schema] = {
    "Status": _object(status=TEXT),
    "Problem": _object(type=TEXT, title=TEXT, status={"type": "integer"}, code=TEXT, detail=TEXT),
    "User": _object(
        id=ID,
        email={"type": ["string", "null"]},
        name=TEXT,
        role={"type": "string", "enum": ["teacher", "student"]},
        # Of the deployment; made so by `lectern user make-operator`.
        is_operator=YES_NO,
        active_class={"anyOf": [{"type": "null"}, _ref("ActiveClass")]},
    ),
    "SignedIn": _object(user={"anyOf": [{"type": "null"}, _ref("User")]}),
    "ActiveClass": _object(id=ID, title=TEXT, state=STATE, is_host=YES_NO),
    "Token": _object(id=ID, name=TEXT, created_at=TIME, used_at=MAYBE_TIME),
    "TokenPage": _page("Token"),
    "NewToken": _object(id=ID, name=TEXT, created_at=TIME, used_at=MAYBE_TIME, token=TEXT),
    "Session": _object(
        id=ID, client=TEXT, created_at=TIME, used_at=TIME, expires_at=TIME, current=YES_NO
    ),
    "SessionPage": _page("Session"),
    "Export": _object(
        exported_at=TIME,
        account={"allOf": [_ref("User"), _object(created_at=TIME)]},
        sessions={"type": "array", "items": _ref("Session")},
        tokens={"type": "array", "items": _ref("Token")},
        classes={"type": "array", "items": _ref("Class")},
        attended={
            "type": "array",
            "items": {
                "allOf": [
                    _ref("Attended"),
                    _object(segments={"type": "array", "items": _ref("Segment")}),
                ]
            },
        },
    ),
    "Deployment": _object(
        at=TIME,
        totals=_object(nodes=COUNT, sessions=COUNT, egress_bps=COUNT, classes=COUNT, present=COUNT),
        # The fullest first; dead ones until their sessions are settled.
        nodes={"type": "array", "items": _ref("Node")},
        # Those with most people present.
        classes={"type": "array", "items": _ref("LiveClass")},
    ),
    "Node": _object(
        id=ID,
        state={"type": "string", "enum": ["serving", "draining", "unreachable", "dead"]},
        # Where browsers reach its media.
        addresses={"type": "array", "items": TEXT},
        version=TEXT,
        sessions=COUNT,
        classes=COUNT,
        egress_bps=COUNT,
        # Cores used in the last second.
        cpu={"type": "number", "minimum": 0},
        loop_lag_ms={"type": "number", "minimum": 0},
        native_lag_ms={"type": "number", "minimum": 0},
        registered_at=TIME,
        beat_at=TIME,
        silent_s=SECONDS,
    ),
    "LiveClass": _object(
        id=ID,
        title=TEXT,
        teacher_name=TEXT,
        node_id={"type": ["string", "null"], "format": "uuid"},
        present=COUNT,
        capacity=CAPACITY,
        started_at=TIME,
        duration_s=SECONDS,
    ),
    "FoundClasses": _object(
        items={"type": "array", "items": _ref("LiveClass")},
        # Whether everything that was asked for is there.
        complete=YES_NO,
    ),
    "Class": _object(
        id=ID,
        title=TEXT,
        capacity=CAPACITY,
        state=STATE,
        link={"type": "string", "format": "uri"},
        created_at=TIME,
        started_at=MAYBE_TIME,
        ended_at=MAYBE_TIME,
        duration_s=SECONDS,
        attendees=COUNT,
        present=COUNT,
    ),
    "ClassPage": _page("Class"),
    "Link": _object(
        class_id=ID,
        title=TEXT,
        teacher_name=TEXT,
        state=STATE,
        attendees=COUNT,
        present=COUNT,
        capacity=CAPACITY,
        started_at=MAYBE_TIME,
        duration_s=SECONDS,
    ),
    "EventStream": TEXT,
    "Csv": TEXT,
    "Metrics": TEXT,
    "Segment": _object(
        joined_at=TIME,
        left_at=MAYBE_TIME,
        # None while it lasts.
        reason={"enum": [*REASONS, None]},
        # The end is our guess: nobody said goodbye, and the node that would know is gone.
        estimated=YES_NO,
    ),
    "Attendance": _object(
        user_id=ID,
        class_id=ID,
        name=TEXT,
        joined_at=TIME,
        left_at=MAYBE_TIME,
        duration_s=SECONDS,
        estimated=YES_NO,
        segments={"type": "array", "items": _ref("Segment")},
    ),
    "AttendancePage": _page("Attendance"),
    "Attended": _object(
        class_id=ID,
        title=TEXT,
        teacher_name=TEXT,
        attendees=COUNT,
        class_duration_s=SECONDS,
        joined_at=TIME,
        left_at=MAYBE_TIME,
        duration_s=SECONDS,
    ),
    "AttendedPage": _page("Attended"),
}
