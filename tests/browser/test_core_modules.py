"""The pages' modules without a page: what they make of odd and hostile input."""

from __future__ import annotations

import re
import zlib
from typing import Any

import msgpack
import pytest
from playwright.sync_api import Page

from control.openapi import STATUSES
from sfu.live import encode
from tests.protocol_examples import examples

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

# What aiohttp and a bug of ours answer with, besides the contract.
CODES = [*STATUSES, "method_not_allowed", "internal"]


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
        # Something with every look, then nothing: given up within a second.
        ([(t, t) for t in range(0, 10_000, 150)], 10_650),
        # Packets are lost: the path is given twice its longest gap.
        ([(t, t // 600) for t in range(0, 10_000, 150)], 10_800),
        # A gap that it has outlived says nothing about what follows.
        ([(t, 0 if 4_000 < t < 7_000 else t) for t in range(0, 10_000, 150)], 10_650),
        # Connected a moment ago: little is known of it yet.
        ([(t, t) for t in range(9_000, 10_000, 150)], 11_400),
        # Came back a moment ago from a cut.
        ([(t, 0 if 4_000 < t < 9_000 else t) for t in range(0, 10_000, 150)], 18_000),
        # Moved only now and then (consent checks): held to the longer time.
        ([(t, t // 4000) for t in range(0, 10_000, 150)], 16_200),
        # A browser that counts nothing never ends a path.
        ([(t, 7) for t in range(0, 10_000, 150)], None),
    ],
)
def test_silence_is_judged_by_what_the_path_has_shown(
    page: Page, samples: list[tuple[int, int]], silent_at_ms: int | None
) -> None:
    last = samples[-1][1]
    still = [(t, last) for t in range(10_050, 40_000, 150)]
    verdicts = run(
        page,
        "liveness.js",
        "const path = new m.Liveness(); return x.map(([t, n]) => path.note(t, n))",
        [*samples, *still],
    )
    silent = [
        t
        for (t, _), said in zip([*samples, *still], verdicts, strict=True)
        if said == "silent" and t >= 10_050
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
    # Long ones come packed; what only looks so is dropped.
    assert read_live(page, zlib.compress(packed)) == message
    long = {"type": "comments", "items": ["ж" * 500] * 90}
    assert read_live(page, encode(long)) == long
    for rubbish in (
        b"x",
        zlib.compress(packed)[:-6],
        zlib.compress(b"\xc1"),
        zlib.compress(packed + b"\x00" * 50_000_000),
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
        let made;
        for (const bytes of x) {
          talk.take(await messageOf(new Uint8Array(bytes).buffer));
          made ??= talk.say("Is that a minus?");
        }
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


def test_a_comment_without_an_answer_is_given_back_only_where_it_did_not_arrive(page: Page) -> None:
    mine = {"id": 5, "at": 1, "text": "arrived", "from": {"id": "me", "name": "Bob"}}
    hello = {"type": "hello", "you": {"id": "me"}, "comments": {"recent": [mine]}}
    heard = run(
        page,
        "conversation.js",
        """
        const talk = new m.Conversation(), heard = [];
        for (const type of ["refused", "accepted"]) {
          talk.addEventListener(type, ({ detail }) => heard.push([type, detail.code, detail.text]));
        }
        talk.say("arrived"), talk.say("arrived"), talk.say("lost");
        talk.take(x), talk.take(x);
        return heard;
        """,
        hello,
    )
    assert heard == [
        ["accepted", "", "arrived"],
        ["refused", "interrupted", "arrived"],
        ["refused", "interrupted", "lost"],
    ]


def test_a_roster_has_everybody_once(page: Page) -> None:
    def person(name: str, state: str = "here") -> dict[str, str]:
        return {"id": name.lower(), "name": name, "state": state}

    told = run(
        page,
        "roster.js",
        """
        const asked = [], roster = new m.Roster(message => asked.push(message));
        for (const message of x) message === "read" ? roster.read() : roster.take(message);
        return { asked, people: roster.people, count: roster.count, more: roster.more };
        """,
        [
            {"type": "hello", "count": 150},
            "read",
            {"type": "roster", "people": [person("Cem"), person("Ann")], "next": "p", "count": 150},
            {"type": "presence", "joined": [{"id": "bob", "name": "Bob"}], "left": [{"id": "ann"}]},
            {"type": "roster", "people": [person("Bob"), person("Dan")], "next": None, "count": 4},
            {"type": "presence", "disconnected": [{"id": "dan"}], "joined": [None, 7, {"id": 9}]},
            # A new connection reads it anew, and forgets whom it does not name.
            {"type": "hello", "count": 2},
            {"type": "roster", "people": [person("Dan", "away"), person("Bob")], "next": None},
            {"type": "presence", "back": [{"id": "dan"}]},
        ],
    )
    first = {"type": "roster", "after": None, "limit": 100}
    assert told["asked"] == [first, {**first, "after": "p"}, first]
    assert told["people"] == [
        {"id": "bob", "name": "Bob", "here": True},
        {"id": "dan", "name": "Dan", "here": True},
    ]
    assert (told["count"], told["more"]) == (2, False)


def test_a_large_class_is_read_by_pages_on_request(page: Page) -> None:
    def part(first: int, following: str | None) -> dict[str, Any]:
        people = [
            {"id": f"{n}", "name": f"{n:04}", "state": "here"} for n in range(first, first + 100)
        ]
        return {"type": "roster", "people": people, "next": following, "count": 5000}

    told = run(
        page,
        "roster.js",
        """
        const asked = [], roster = new m.Roster(message => asked.push(message.after));
        roster.take({ type: "hello", count: 5000 });
        roster.read();
        const seen = x.map(message => {
          roster.take(message);
          roster.readMore();
          return roster.people.length;
        });
        return { asked, seen, more: roster.more };
        """,
        [part(n * 100, f"after {n}") for n in range(12)],
    )
    assert told["asked"] == [None, *[f"after {n}" for n in range(12)]]
    assert told["seen"] == [min(1000, 100 * (n + 1)) for n in range(12)], "kept within its bound"
    assert told["more"] is False


ANSWER = "\r\n".join(
    [
        "v=0",
        "a=ice-lite",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=ice-ufrag:old",
        "a=ice-pwd:oldoldoldoldoldoldoldold",
        "a=candidate:1 1 udp 2130706431 10.0.0.1 7900 typ host",
        "a=candidate:2 1 tcp 2105458943 10.0.0.1 7900 typ host tcptype passive",
        "a=setup:passive",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=ice-ufrag:old",
        "a=ice-pwd:oldoldoldoldoldoldoldold",
        "",
    ]
)


def test_a_restart_changes_credentials_and_candidates_alone(page: Page) -> None:
    offer = "v=0\r\nm=video 9 X 96\r\na=ice-ufrag:mine\r\na=ice-pwd:secret\r\na=mid:0\r\nm=audio 9 X 1\r\n"
    fragment = run(page, "sdp.js", "return m.fragmentOf(x)", offer)
    assert fragment == "a=ice-ufrag:mine\r\na=ice-pwd:secret\r\nm=video 9 X 96\r\na=mid:0\r\n"
    told = (
        "a=ice-lite\r\na=ice-ufrag:new\r\na=ice-pwd:newnew\r\nm=video 9 X 96\r\na=mid:0\r\n"
        "a=candidate:9 1 udp 1 10.0.0.2 1 typ host\r\n"
    )
    answer = run(page, "sdp.js", "return m.withRestart(...x)", [ANSWER, told])
    wanted = ANSWER.replace("ufrag:old", "ufrag:new").replace("oldoldoldoldoldoldoldold", "newnew")
    lines = [line for line in wanted.split("\r\n") if not line.startswith("a=candidate:2")]
    assert answer == "\r\n".join(lines).replace(
        "a=candidate:1 1 udp 2130706431 10.0.0.1 7900 typ host",
        "a=candidate:9 1 udp 1 10.0.0.2 1 typ host",
    )


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


@pytest.mark.parametrize(
    ("target", "voice", "screen", "told"),
    [
        (None, 60, 90, None),  # nobody notices
        (None, 60, 400, 160),  # in steps
        (160, 160, 400, 260),
        (260, 260, 300, 260),
        (300, 300, 60, 200),  # the picture has caught up
        (60, 150, 60, None),  # it waits by itself now
        (None, 300, 60, None),  # nor can it wait less than that
        (780, 780, 5000, 800),  # people do not wait for words for ever
    ],
)
def test_the_voice_waits_as_long_as_the_screens_sound(
    page: Page, target: float | None, voice: float, screen: float, told: float | None
) -> None:
    script = "return m.nextTargetMs(...x)"
    assert run(page, "voice.js", script, [target, voice, screen]) == told
