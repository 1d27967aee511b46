"""The pages' modules without a page: what they make of odd and hostile input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from playwright.sync_api import Browser, Page

from control.openapi import STATUSES
from tests.lectern.running import Up
from tests.protocol_examples import examples

pytestmark = pytest.mark.browser("chromium")

# What aiohttp and a bug of ours answer with, besides the contract.
CODES = [*STATUSES, "method_not_allowed", "internal"]


@pytest.fixture
def page(server: Up, student_browser: Browser) -> Iterator[Page]:
    page = student_browser.new_page()
    page.goto(server.url)
    yield page
    page.close()


def run(page: Page, module: str, body: str, argument: Any = None) -> Any:
    """Run `body` with the module as `m` and the argument as `x`."""
    return page.evaluate(
        f"async x => {{ const m = await import('/static/core/{module}'); {body} }}", argument
    )


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_code_of_the_contract_has_its_sentence(page: Page, language: str) -> None:
    say = "await m.speak(x[0]); return x[1].map(code => m.sentence(code, 'a detail'))"
    told = run(page, "strings.js", say, [language, [*CODES, "no such code"]])
    unexpected = told.pop()
    assert len(set(told)) == len(CODES) >= 22
    assert unexpected not in told


def test_every_language_says_everything_the_same_way(page: Page) -> None:
    """Same keys, none empty, and the same places to fill in."""
    english = run(page, "strings.js", "return Object.fromEntries(m.keys().map(k => [k, m.t(k)]))")
    german = run(page, "strings.de.js", "return m.default")
    assert sorted(german) == sorted(english)
    for key, text in german.items():
        assert text.strip(), key
        places = sorted(re.findall(r"\{\w+\}", text))
        assert places == sorted(re.findall(r"\{\w+\}", english[key])), key
    same = [key for key in english if english[key] == german[key]]
    assert len(same) < len(english) / 10, same


@pytest.mark.parametrize(
    ("samples", "silent_at_ms"),
    [
        # Regular for 10 s, then nothing: given up early.
        ([(t, t) for t in range(0, 10_000, 500)], 11_500),
        # Moved only now and then (consent checks): held to the longer time.
        ([(t, t // 4000) for t in range(0, 10_000, 500)], 16_000),
        # A browser that counts nothing never ends a path.
        ([(t, 7) for t in range(0, 10_000, 500)], None),
    ],
)
def test_silence_is_judged_by_what_the_path_has_shown(
    page: Page, samples: list[tuple[int, int]], silent_at_ms: int | None
) -> None:
    last = samples[-1][1]
    still = [(t, last) for t in range(10_000, 40_000, 500)]
    verdicts = run(
        page,
        "liveness.js",
        "const path = new m.Liveness(); return x.map(([t, n]) => path.note(t, n))",
        [*samples, *still],
    )
    silent = [
        t for (t, _), said in zip([*samples, *still], verdicts, strict=True) if said == "silent"
    ]
    assert silent[:1] == ([] if silent_at_ms is None else [silent_at_ms])


def test_waits_grow_are_bounded_and_heed_the_server(page: Page) -> None:
    waits = run(
        page,
        "backoff.js",
        "return [0, 1, 5, 9, 1000].map(n => [m.waitMs(n, () => 0), m.waitMs(n, () => 1)])",
    )
    assert waits == [[125, 250], [250, 500], [4000, 8000], [4000, 8000], [4000, 8000]]
    assert run(page, "backoff.js", "return m.waitMs(0, () => 0, 30)") == 30_000


OFFER = "\r\n".join(
    [
        "v=0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=rtpmap:96 VP8/90000",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 9",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "m=audio 9 UDP/TLS/RTP/SAVPF 109",
        "a=rtpmap:109 opus/48000/2",
        "",
    ]
)


def test_stereo_is_asked_for_in_opus_alone(page: Page) -> None:
    both = run(page, "sdp.js", "return m.withOpusParameters(x, 'stereo=1')", OFFER)
    assert both == OFFER.replace("useinbandfec=1", "useinbandfec=1;stereo=1").replace(
        "a=rtpmap:109 opus/48000/2\r\n", "a=rtpmap:109 opus/48000/2\r\na=fmtp:109 stereo=1\r\n"
    )
    second = run(page, "sdp.js", "return m.withOpusParameters(x, 'stereo=1', n => n === 1)", OFFER)
    assert "useinbandfec=1;stereo" not in second
    assert "a=fmtp:109 stereo=1" in second


@pytest.mark.parametrize(
    ("addresses", "only_loopback"),
    [(["127.0.0.1"], True), (["127.0.0.1", "::1"], True), (["127.0.0.1", "10.0.0.4"], False)],
)
def test_loopback_answers_are_told_apart(
    page: Page, addresses: list[str], only_loopback: bool
) -> None:
    answer = "v=0\r\n" + "".join(
        f"a=candidate:{n} 1 udp 2130706431 {address} 7900 typ host\r\n"
        for n, address in enumerate(addresses)
    )
    assert run(page, "sdp.js", "return m.hasOnlyLoopback(x)", answer) is only_loopback
    assert run(page, "sdp.js", "return m.hasOnlyLoopback(x)", "v=0\r\n") is False


def read_live(page: Page, data: bytes) -> Any:
    return run(page, "live.js", "return m.messageOf(new Uint8Array(x).buffer)", list(data))


def test_live_messages_are_read_and_rubbish_is_dropped(page: Page) -> None:
    message = {"type": "count", "count": 3, "new": [1, {"a": "ж"}]}
    packed = msgpack.packb(message)
    assert read_live(page, packed) == message
    for length in range(len(packed)):
        assert read_live(page, packed[:length]) is None
    for rubbish in (
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({"type": 7}),
        msgpack.packb(None),
        b"\xdf\xff\xff\xff\xff",  # a map of 2^32 - 1 entries that are not there
        b"\xdd\x7f\xff\xff\xff" + b"\x90" * 100,
        b"\x91" * 20_000,  # arrays in arrays
        packed + b"\x00",
    ):
        assert read_live(page, rubbish) is None
    assert run(page, "live.js", "return m.messageOf('text')") is None
    assert run(page, "live.js", "return m.messageOf(new ArrayBuffer(300_000))") is None


def test_the_page_reads_what_the_protocol_document_shows(page: Page) -> None:
    documented, to_node = examples()
    told = run(
        page,
        "conversation.js",
        """
        const { messageOf } = await import('/static/core/live.js');
        const talk = new m.Conversation(), heard = [];
        for (const type of ["comments", "missed", "commenting", "refused", "accepted"]) {
          talk.addEventListener(type, event => heard.push([type, event.detail]));
        }
        const made = talk.say("Is that a minus?");
        for (const bytes of x) talk.take(await messageOf(new Uint8Array(bytes).buffer));
        return { heard, made, comments: talk.comments, paused: talk.paused };
        """,
        [
            list(
                msgpack.packb(
                    {**documented[kind], "ref": 1}
                    if "ref" in documented[kind]
                    else documented[kind]
                )
            )
            for kind in ("hello", "comments", "comments", "accepted", "refused", "commenting")
        ],
    )
    assert told["made"] == {**to_node["comment"], "ref": 1}
    assert told["comments"] == documented["comments"]["items"], "each once"
    assert [kind for kind, _ in told["heard"]] == ["comments", "accepted", "commenting"]
    assert told["paused"] is True


@pytest.mark.parametrize(
    "hostile",
    [
        {"type": "comments"},
        {"type": "comments", "items": None},
        {"type": "comments", "items": [None, 7, "x", [], {}, {"id": "9"}, {"id": 1.5}]},
        {"type": "comments", "items": [{"id": 9, "text": 7, "from": {"name": "x"}}]},
        {"type": "comments", "items": [{"id": 9, "text": "x", "from": None}]},
        {"type": "hello", "comments": []},
        {"type": "hello", "comments": {"recent": {"length": 5}}},
        {"type": "accepted"},
        {"type": "refused", "ref": "1"},
    ],
)
def test_a_conversation_takes_no_nonsense(page: Page, hostile: dict[str, Any]) -> None:
    count = run(
        page,
        "conversation.js",
        "const c = new m.Conversation(); c.take(x); return c.comments.length",
        hostile,
    )
    assert count == 0


@pytest.mark.parametrize(
    ("message", "unsupported"),
    [
        ({"type": "playback", "video": "codec_unsupported", "mic": "ok"}, True),
        ({"type": "playback", "video": "ok", "mic": "ok"}, False),
        ({"type": "playback", "video": "a code of tomorrow"}, False),
        ({"type": "hello", "playback": {"video": "codec_unsupported"}}, True),
        ({"type": "hello"}, None),
        ({"type": "count", "count": 1}, None),
    ],
)
def test_a_codec_that_is_missing_is_read(
    page: Page, message: dict[str, Any], unsupported: bool | None
) -> None:
    assert run(page, "live.js", "return m.isUnsupported(x)", message) is unsupported
