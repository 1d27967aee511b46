"""Seats as `signaling` sees them: admission, the session behind a seat, and its ends."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from control.admission import Admissions, Request
from control.batcher import Batcher
from control.database import Connection, Database, rows, try_again
from control.endings import Ending, Endings, ending
from control.metrics import ADMISSION_DURATION, timed
from control.model import Account, Admission, NodeAddress
from control.problem import Problem
from control.tokens import digest

log = logging.getLogger(__name__)

_Bound = Literal["bound", "lost", "no_edge"]

# Each lane has one transaction under way; more lanes than cores of the database gain nothing.
ADMISSION_LANES = 4
ENDING_LANES = 2
BINDING_LANES = 2
LINK_LANES = 2
LINKS_MAX = 10_000
# Reasons with which a client may leave; everything else is ours to say.
LEAVE_REASONS = frozenset({"left", "pagehide"})


@dataclass(frozen=True, slots=True)
class _Binding:
    admission: Admission
    node_id: UUID
    as_edge: bool


class Seats:
    """Takes, renews and ends seats, many at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._admissions: Batcher[Request, Admission] = Batcher(
            "admission", ADMISSION_LANES, Admissions(database).admit
        )
        self._endings: Batcher[Ending, bool] = Batcher(
            "ending", ENDING_LANES, Endings(database).apply
        )
        self._bindings: Batcher[_Binding, _Bound] = Batcher("binding", BINDING_LANES, self._bind)
        self._resolving: Batcher[str, tuple[UUID, int]] = Batcher(
            "links", LINK_LANES, self._look_up
        )
        # What a link meant once, by its hash. A link never changes its class or its version, and
        # whether the version still counts is asked under the class's lock.
        self._links: OrderedDict[bytes, tuple[UUID, int]] = OrderedDict()

    def start(self) -> None:
        self._resolving.start()
        self._admissions.start()
        self._endings.start()
        self._bindings.start()

    async def close(self) -> None:
        await self._resolving.close()
        await self._admissions.close()
        await self._endings.close()
        await self._bindings.close()

    async def admit(
        self,
        account: Account,
        *,
        link_token: str | None,
        class_id: UUID | None,
        takeover: bool,
        resume_of: UUID | None,
    ) -> Admission:
        """See `Control.admit`."""
        version: int | None = None
        if link_token is not None:
            class_id, version = await self._resolve(link_token)
        if class_id is None:
            raise ValueError("admit needs a link or a class")
        request = Request(account, class_id, version, takeover, resume_of)
        with timed(ADMISSION_DURATION):
            return await self._admissions.do(class_id, request)

    async def _resolve(self, link_token: str) -> tuple[UUID, int]:
        key = digest(link_token)
        known = self._links.get(key)
        if known is None:
            if not link_token.isascii() or "\0" in link_token:
                raise _link_invalid()
            known = self._links[key] = await self._resolving.do(link_token, link_token)
            if len(self._links) > LINKS_MAX:
                self._links.popitem(last=False)
        else:
            self._links.move_to_end(key)
        return known

    async def _look_up(self, links: list[str]) -> list[tuple[UUID, int] | Exception]:
        found = await self._database.rows("class.resolve_links", links)
        known = {row["link"]: (row["class_id"], row["link_version"]) for row in found}
        return [known.get(link) or _link_invalid() for link in links]

    async def session_of(
        self, account: Account, session_id: UUID
    ) -> tuple[Admission, NodeAddress | None]:
        """See `Control.session_of`."""
        found = await self._database.row("seat.by_session", session_id, account.account_id)
        if found is None:
            raise Problem(404, "not_found", "There is no such session.")
        node = None
        if found["internal_url"] is not None:
            node = NodeAddress(found["node_id"], found["internal_url"], found["secret"])
        admission = Admission(
            session_id=found["session_id"],
            fence=found["fence"],
            class_id=found["class_id"],
            class_title=found["title"],
            capacity=found["capacity"],
            user_id=found["user_id"],
            name=found["name"],
            is_host=found["is_host"],
            node_id=found["node_id"],
            epoch=found["placement_epoch"],
        )
        return admission, node

    async def leave(
        self, account: Account, session_id: UUID, reason: str, class_id: UUID | None
    ) -> None:
        """See `Control.leave`."""
        if reason not in LEAVE_REASONS:
            raise Problem(422, "invalid_request", "One leaves by `left` or `pagehide`.")
        end = ending(session_id, reason, user_id=account.account_id)
        # By class, as admissions are: batches that share no class do not wait for each other.
        await self._endings.do(class_id or session_id, end)

    async def abandon(self, admission: Admission, reason: str) -> None:
        """See `Control.abandon`."""
        kind = "handshake_failed" if reason == "handshake_failed" else "never_connected"
        end = ending(admission.session_id, kind, fence=admission.fence, user_id=admission.user_id)
        held = await self._endings.do(admission.class_id, end)
        log.info("session %s was given up (%s), seated: %s", admission.session_id, reason, held)

    async def bind(self, admission: Admission, node_id: UUID, *, as_edge: bool = False) -> bool:
        """See `Control.bind_session`."""
        if admission.node_id == node_id and not as_edge:
            return True
        bound = await self._bindings.do(admission.class_id, _Binding(admission, node_id, as_edge))
        if bound == "bound":
            return True
        if bound == "no_edge":
            return False
        waits = await self._database.value(
            "seat.waits", admission.user_id, admission.session_id, admission.class_id
        )
        if waits:
            raise try_again()
        raise Problem(409, "replaced", "This session was replaced before it was opened.")

    async def _bind(self, bindings: list[_Binding]) -> list[_Bound | Exception]:
        # One row may be updated once per statement; of two attempts of a session the later one counts.
        last = {(b.admission.session_id, b.admission.fence): b for b in bindings}

        async def work(connection: Connection) -> dict[tuple[UUID, int], _Bound]:
            some = list(last.values())
            await rows(connection, "class.lock", list({b.admission.class_id for b in some}), 0.0)
            found = await rows(
                connection,
                "seat.bind",
                [b.admission.user_id for b in some],
                [b.admission.session_id for b in some],
                [b.admission.fence for b in some],
                [b.node_id for b in some],
                [b.as_edge for b in some],
                [b.admission.class_id for b in some],
            )
            return {
                (f["session_id"], f["fence"]): "bound" if f["bound"] else
                "lost" if f["stands"] else "no_edge"
                for f in found
            }  # fmt: skip

        outcomes = await self._database.retried(work)
        return [
            outcomes[b.admission.session_id, b.admission.fence]
            if last[b.admission.session_id, b.admission.fence] is b
            else try_again()
            for b in bindings
        ]


def _link_invalid() -> Problem:
    return Problem(404, "link_invalid", "This link leads to no class.")
