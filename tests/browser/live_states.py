"""Every state of the two live pages, one after another in one class, with a real share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import signals
from tests.browser.browsers import chromium_context, open_source
from tests.browser.journeys import Journey, expect_watching
from tests.browser.states import EMOJI, ENDLESS, World

# A waiting share is forgotten by the node after 3 s.
SILENT_MS = 15_000

# What browsers do that wait for a click before they play a sound, and what very old ones lack.
NO_SOUND = """HTMLMediaElement.prototype.play =
  () => Promise.reject(new DOMException("a click first", "NotAllowedError"));"""
# What is counted stands still, as on a line that is gone; the last picture is there.
NOTHING_ARRIVES = """async () => {
  const connection = connections.at(-1), last = await connection.getStats();
  connection.getStats = async () => last;
}"""
NO_WEBRTC = "delete globalThis.RTCPeerConnection;"


@dataclass
class Classroom:
    """A teacher's page and a student's, of people that `world` has signed up."""

    world: World
    teaching: BrowserContext
    studying: BrowserContext
    source_url: str
    pages: list[Journey] = field(default_factory=list)

    @classmethod
    def of(
        cls, world: World, teacher_browser: Browser, student_browser: Browser, source_url: str
    ) -> Classroom:
        language = world.language
        teaching = chromium_context(teacher_browser, permissions=["microphone"], locale=language)
        studying = chromium_context(student_browser, locale=language, has_touch=True)
        teaching.add_cookies(world.contexts["newcomer"].cookies())  # type: ignore[arg-type]
        studying.add_cookies(world.contexts["student"].cookies())  # type: ignore[arg-type]
        return cls(world, teaching, studying, source_url)

    def open(self, context: BrowserContext, path: str) -> Page:
        journey = Journey.on(context)
        self.pages.append(journey)
        journey.page.goto(self.world.url + path)
        return journey.page

    def problems(self) -> list[str]:
        return [problem for journey in self.pages for problem in journey.problems]

    def states(self) -> Iterator[tuple[str, Page]]:
        """Yield (name, page) of one state after another; the page stays in it until the next."""
        world = self.world
        made = world.post(
            "newcomer", "/api/classes", {"title": f"{EMOJI} {ENDLESS[:60]}", "capacity": 2}
        )
        link = f"/c/{world.token(made)}"
        teacher = self.open(self.teaching, f"/teach/{made['id']}")
        press(teacher, ".mic .button")
        expect(teacher.locator(".mic .meter")).to_be_visible()
        yield "teach-before", teacher
        yield from self._denied(f"/teach/{made['id']}")
        student = self.open(self.studying, link)
        expect(student.locator(".notice")).to_be_visible()
        yield "watch-waiting", student

        press(teacher, ".panel > .button--primary")
        expect(teacher.locator(".connection[data-state=connected]")).to_be_visible(
            timeout=SILENT_MS
        )
        yield "teach-live", teacher
        expect_watching(student)
        expect(student.locator(".stage__empty").filter(visible=True)).to_be_visible()
        # No reading was made yet of this page: what a browser that asks for a click shows.
        yield "watch-no-picture", student

        source = open_source(self.teaching, self.source_url)
        teacher.bring_to_front()
        press(teacher, ".studio__controls > .button--primary")
        expect(teacher.locator(".studio__glance:not(:empty)")).to_be_visible(timeout=SILENT_MS)
        signals.wait_for_motion(student)
        for page, text in ((teacher, "Is that a minus?"), (student, f"{EMOJI} {ENDLESS}")):
            page.locator(".chat__text").fill(text)
            page.keyboard.press("Enter")
        expect(student.locator(".chat__said")).to_have_count(2)
        yield "teach-sharing", teacher
        yield "watch-live", student
        yield from self._tools(student)
        press(teacher, ".studio__more summary")
        press(teacher, "#tab-people")
        expect(teacher.locator(".person")).to_have_count(1)
        yield "teach-link-and-people", teacher
        press(teacher, ".studio__more summary")
        yield from self._in_trouble(link, student)

        press(teacher, "button:has([href$='#pause'])")
        expect(student.locator(".stage__badges .stage__badge").first).to_be_visible()
        yield "teach-paused", teacher
        yield "watch-paused", student
        yield from self._refused(link, student)

        source.close()
        expect(teacher.locator(".stage__empty")).to_be_visible()
        yield "teach-share-ended", teacher
        press(teacher, ".bar .button--danger")
        expect(teacher.locator("dialog")).to_be_visible()
        yield "teach-end-asked", teacher
        press(teacher, "dialog .button--danger")
        expect(teacher.locator(".facts")).to_be_visible()
        expect(teacher.locator(".fact").last).not_to_contain_text("…")
        yield "teach-ended", teacher
        expect(student.locator(".notice__fact")).to_be_visible(timeout=SILENT_MS)
        yield "watch-ended", student
        yield from self._full(student)

    def _tools(self, student: Page) -> Iterator[tuple[str, Page]]:
        press(student, ".tools details summary")
        yield "watch-volumes", student
        press(student, ".tools details summary")
        student.keyboard.press("+")
        yield "watch-closer", student
        student.keyboard.press("0")
        press(student, ".facts-bar summary")
        expect(student.locator(".quality:not([data-verdict=unknown])")).to_be_visible(
            timeout=SILENT_MS
        )
        yield "watch-facts", student
        press(student, ".facts-bar summary")
        press(student, "#tab-people")
        expect(student.locator(".person")).to_have_count(1)
        yield "watch-people", student
        press(student, "#tab-comments")

    def _denied(self, path: str) -> Iterator[tuple[str, Page]]:
        """A teacher whose browser gives no microphone."""
        context = chromium_context(
            self.teaching.browser,  # type: ignore[arg-type]
            locale=self.world.language,
        )
        context.add_cookies(self.teaching.cookies())  # type: ignore[arg-type]
        page = self.open(context, path)
        press(page, ".mic .button")
        expect(page.locator(".status[data-tone=bad]")).to_be_visible()
        yield "teach-mic-denied", page
        context.close()

    def _in_trouble(self, link: str, student: Page) -> Iterator[tuple[str, Page]]:
        """What a browser or a line may do to somebody who watches; each in a page of its own."""
        silenced = self._page(link, NO_SOUND)
        expect(silenced.locator(".stage__unmute")).to_be_visible(timeout=SILENT_MS)
        signals.wait_for_motion(silenced)
        yield "watch-unmute", silenced
        silenced.close()
        cut_off = self._page(link)
        signals.wait_for_motion(cut_off)
        cut_off.route("**/live/**", lambda route: route.abort())
        cut_off.evaluate(NOTHING_ARRIVES)
        expect(cut_off.locator(".stage__banner")).to_be_visible(timeout=SILENT_MS)
        yield "watch-reconnecting", cut_off
        cut_off.close()
        old = self._page(link, NO_WEBRTC)
        expect(old.locator(".notice")).to_be_visible()
        yield "watch-no-webrtc", old
        old.close()
        elsewhere = self._page(f"/c/{self.world.token(self.world.live)}")
        expect(elsewhere.locator(".notice")).to_be_visible()
        yield "watch-elsewhere", elsewhere
        elsewhere.close()
        expect(student.locator(".notice")).to_be_visible(timeout=SILENT_MS)
        press(student, ".notice .button--primary")
        expect_watching(student)

    def _page(self, path: str, script: str = "") -> Page:
        """Open a page whose console may say what is done to it."""
        page = self.studying.new_page()
        page.add_init_script(script)
        page.goto(self.world.url + path)
        return page

    def _full(self, student: Page) -> Iterator[tuple[str, Page]]:
        """A class that has no place left."""
        world = self.world
        made = world.post("newcomer", "/api/classes", {"title": "Seminar", "capacity": 1})
        world.post("newcomer", f"/api/classes/{made['id']}/start")
        student.goto(f"{world.url}/c/{world.token(made)}")
        expect_watching(student)
        world.sign_up("stranger", "student", "Sofja Kowalewskaja")
        late = self.open(world.contexts["stranger"], f"/c/{world.token(made)}")
        expect(late.locator(".notice[data-busy=yes]")).to_be_visible()
        yield "watch-full", late
        late.close()

    def _refused(self, link: str, student: Page) -> Iterator[tuple[str, Page]]:
        """What keeps one out of this class, or out of it from now on."""
        other = self.open(self.studying, link)
        expect(student.locator(".notice")).to_be_visible(timeout=SILENT_MS)
        yield "watch-replaced", student
        expect_watching(other)
        press(other, ".bar__live > .button")
        expect(other.locator(".notice__fact")).to_be_visible(timeout=SILENT_MS)
        yield "watch-left", other
        other.close()
        press(student, ".notice .button--primary")
        expect_watching(student)


def press(page: Page, selector: str) -> None:
    page.locator(selector).filter(visible=True).first.click()
