"""Every state of the pages outside a running class, and how a person comes to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.attended import Stay, attend, attend_as, begin_earlier, connection
from tests.browser.journeys import PASSWORD
from tests.lectern.running import Up

_numbers = itertools.count(1)

# What people may call themselves and their classes, and what must stay text and in its place.
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
RIGHT_TO_LEFT = "שלום עולם (123) abc"
# The server takes no such name; one from before that rule must still do no harm.
OVERRIDE = "\u202eredrO\u202c \u2067שלום\u2069"
EMOJI = "👩🏽‍🏫🏳️‍🌈 Zoë 𝒜lgebra"
ENDLESS = "Donaudampfschifffahrtsgesellschaftskapitän" * 4
HOSTILE = (MARKUP, RIGHT_TO_LEFT, EMOJI, ENDLESS)
CLASS_MINUTES = 45


@dataclass(frozen=True)
class State:
    """A page in one state: whose, where, and what is done there."""

    name: str
    who: str  # a context of the world
    path: str
    seen: str  # a selector that is there once the state is reached
    act: Callable[[Page], None] = lambda page: None

    def open(self, world: World) -> Page:
        page = world.contexts[self.who].new_page()
        page.goto(world.url + self.path)
        self.act(page)
        expect(page.locator(self.seen).first).to_be_visible(timeout=10_000)
        return page


class World:
    """A server with a teacher, a student and a stranger, and classes in every state."""

    def __init__(self, up: Up, browser: Browser, language: str = "en") -> None:
        self.up = up
        self.language = language
        self.url = up.url.replace("127.0.0.1", "localhost")
        options = {"viewport": {"width": 1440, "height": 900}, "locale": language}
        self.contexts: dict[str, BrowserContext] = {
            who: browser.new_context(**options)  # type: ignore[arg-type]
            for who in ("stranger", "teacher", "newcomer", "student", "operator")
        }
        self.teacher = self.sign_up("teacher", "teacher", "Ada Lovelace")
        self.sign_up("newcomer", "teacher", "Grace Hopper")
        self.student = self.sign_up("student", "student", "Emmy Noether")
        self._make_operator(self.sign_up("operator", "student", "Klara Dan")["id"])
        self.created = self.create("Algebra, Monday 9:00")
        self.hostile = [self.create(title) for title in HOSTILE]
        self.ended = self._ended("Analysis II: limits, series and continuity")
        self.live = self.create("Physics")
        self.post("teacher", f"/api/classes/{self.live['id']}/start")

    def post(self, who: str, path: str, data: Any = None) -> dict[str, Any]:
        response = self.contexts[who].request.post(
            self.url + path, data=data, headers={"Origin": self.url}
        )
        assert response.ok, response.text()
        answer: dict[str, Any] = response.json()
        return answer

    def sign_up(self, who: str, role: str, name: str) -> dict[str, Any]:
        email = f"{who}{next(_numbers)}@states.example.org"
        account = {"email": email, "name": name, "password": PASSWORD, "role": role}
        return self.post(who, "/api/accounts", account)

    def create(self, title: str, capacity: int = 30) -> dict[str, Any]:
        return self.post("teacher", "/api/classes", {"title": title, "capacity": capacity})

    def _make_operator(self, account_id: str) -> None:
        with connection(self.up) as sql:
            sql.execute(
                "UPDATE account SET is_operator = true WHERE account_id = %s", (account_id,)
            )

    def _ended(self, title: str) -> dict[str, Any]:
        made = self.create(title, 200)
        self.post("teacher", f"/api/classes/{made['id']}/start")
        began = begin_earlier(self.up, made["id"], CLASS_MINUTES)
        attend(self.up, made["id"], began, _people())
        with connection(self.up) as sql, sql.cursor() as cursor:
            attend_as(cursor, made["id"], self.student["id"], began, [(0.5, CLASS_MINUTES)])
        return self.post("teacher", f"/api/classes/{made['id']}/end")

    def token(self, made: dict[str, Any]) -> str:
        link: str = made["link"]
        return link.rpartition("/")[2]

    def states(self) -> list[State]:
        of = f"/classes/{self.created['id']}"
        ended = f"/classes/{self.ended['id']}"
        return [
            State("landing", "stranger", "/", ".card--sign"),
            State("landing-sign-in", "stranger", "/", ".form__error", _wrong_password),
            State("landing-signed-in", "teacher", "/", ".card--sign"),
            State("dashboard-teacher", "teacher", "/dashboard", ".table__row"),
            State("dashboard-newcomer", "newcomer", "/dashboard", ".table__none"),
            State("dashboard-student", "student", "/dashboard", ".table__row"),
            State("class-created", "teacher", of, ".facts"),
            State("class-qr", "teacher", of, ".qr", _press("button[aria-expanded]")),
            State("class-rotate", "teacher", of, "dialog", _press("text=/…$/")),
            State("class-live", "teacher", f"/classes/{self.live['id']}", ".table__none"),
            State("class-ended", "teacher", ended, ".timeline"),
            State("class-of-another", "newcomer", of, ".notice"),
            State("account", "teacher", "/account", ".row"),
            State("account-token", "teacher", "/account", ".link", _make_token),
            State("account-delete", "teacher", "/account", "[role=group].box", _ask_to_delete),
            State("operator", "operator", "/operator", ".chip--serving"),
            State("operator-found", "operator", "/operator", ".chip--serving", _search("PHYS")),
            State("operator-none", "operator", "/operator", ".table__none", _search("Latin")),
            State("operator-refused", "newcomer", "/operator", ".notice"),
            State("account-operator", "operator", "/account", ".row"),
            State("link-dead", "stranger", "/c/bm90IGEgbGluayBhdCBhbGw", ".notice"),
            State("link-sign-up", "stranger", f"/c/{self.token(self.created)}", ".card--sign"),
            State("link-waiting", "student", f"/c/{self.token(self.created)}", ".notice"),
            State("link-ended", "student", f"/c/{self.token(self.ended)}", ".notice"),
            State("link-own", "teacher", f"/c/{self.token(self.live)}", ".notice"),
            State("api", "stranger", "/api/docs", ".docs__operation"),
        ]


def _people() -> dict[str, list[Stay]]:
    people: dict[str, list[Stay]] = {
        f"Student {n:02}": [(n * 0.4, CLASS_MINUTES - (n % 7) * 3)] for n in range(24)
    }
    people |= {name: [(3, 9), (12, 20), (31, CLASS_MINUTES)] for name in (*HOSTILE[:3], OVERRIDE)}
    return people | {ENDLESS[:100]: [(0, CLASS_MINUTES)], "A moment": [(20, 20.1)]}


def _press(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def _search(text: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.locator("input[name=q]").fill(text)
        page.locator("form[role=search] button[type=submit]").click()

    return act


def _wrong_password(page: Page) -> None:
    page.locator(".tabs__tab").nth(1).click()
    page.locator("input[name=email]").fill("nobody@example.org")
    page.locator("input[name=password]").fill("not the password")
    page.locator("form button[type=submit]").click()


def _make_token(page: Page) -> None:
    page.locator("form:has(input[placeholder=OBS]) input").fill("OBS")
    page.locator("form:has(input[placeholder=OBS]) button").click()


def _ask_to_delete(page: Page) -> None:
    page.locator(".button--danger").first.click()
