"""A teacher publishes by WHIP, students watch by WHEP: the whole way through a real node."""

from __future__ import annotations

from tests.sfu.conftest import Site


async def test_a_students_screen_gets_the_teachers_media(site: Site) -> None:
    teacher = await site.teacher()
    await teacher.state("connected")
    student = await site.student()
    await student.state("connected")
    hello = await student.message("hello")
    assert hello["version"] == 1
    assert hello["you"]["name"] == "Bob" and hello["you"]["role"] == "viewer"
    assert hello["class"]["title"] == "Algebra"
    assert hello["resume"] == student.resume
    await student.media("audio", 20)
    await student.media("video", 20)
    await site.control.until(lambda: site.control.connected(teacher.session_id))
    await site.control.until(lambda: site.control.connected(student.session_id))
