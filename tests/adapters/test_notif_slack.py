"""What people read in Slack: all of it visible, none of it a command, and a way to the review."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.channel_http import channel_client
from adapters.notice_text import LONGEST, facts, headline, link, one_line
from adapters.notifiers import Notifiers
from adapters.slack_notifier import escaped, slack_message
from domain.notice import NoticeEvent, NotifierError
from domain.request import Outcome, Status
from tests.adapters.fake_receiver import receiver, status
from tests.adapters.notice_examples import PUBLIC, NameServer, assert_discreet, catalog, delivery, notice

CONSOLE = "https://sluice.test/"
PAGE = "https://sluice.test/console/reviews/req_a"
CHANNEL: dict[str, Any] = {"kind": "slack", "url_env": "OPS_SLACK_URL", "allow_private": True}


def texts(message: dict[str, Any]) -> list[str]:
    """Every text in the message that somebody sees."""
    found = [message["text"]]
    for block in message["blocks"]:
        found += [part["text"] for part in block.get("fields", [block.get("text")])]
    return found


async def test_a_message_says_what_happened_and_leads_to_the_review() -> None:
    names = NameServer({"hooks.test": [["127.0.0.1"]]})
    async with receiver(status(200)) as got, channel_client() as http:
        environ = {"OPS_SLACK_URL": f"http://hooks.test:{got.port}/services/path-token"}
        await Notifiers(catalog(ops=CHANNEL), http, environ, CONSOLE, resolver=names).send(delivery())
    message = json.loads(got.requests[0].body)
    assert got.requests[0].line == "POST /services/path-token HTTP/1.1"
    assert got.requests[0].headers["content-type"] == "application/json"
    assert message["text"] == f"An answer waits for a review: support-triage <{PAGE}|Open the review>"
    header, fields, opens = message["blocks"]
    assert header["text"]["text"] == "An answer waits for a review: support-triage"
    assert [part["text"] for part in fields["fields"]] == [
        "*Why*\ntoo risky to let out",
        "*Risk*\nhigh",
        "*Queue*\nlegal",
        "*Decide before*\n2026-11-25 12:30 UTC",
        "*Status*\nheld",
        "*Tenant*\nacme",
        "*Request*\nreq_a",
        "*Policy version*\n0123456789abcdef",
    ]
    assert opens["text"]["text"] == f"<{PAGE}|Open the review>"


async def test_an_address_that_slack_no_longer_knows_is_given_up() -> None:
    names = NameServer({"hooks.test": [[PUBLIC]]})
    transport = httpx.MockTransport(lambda _: httpx.Response(404, text="no_service"))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        for environ in ({"OPS_SLACK_URL": "https://hooks.test/path-token"}, {}):
            notifiers = Notifiers(catalog(ops=CHANNEL), http, environ, None, resolver=names)
            with pytest.raises(NotifierError) as caught:
                await notifiers.send(delivery())
            assert_discreet(caught.value)
            assert not caught.value.transient


HOSTILE = st.text(alphabet="<>&!@#|*`: \n\r\t\u2028\u202eabhttps/", max_size=40) | st.text(max_size=400)


@given(why=HOSTILE, policy=HOSTILE, queue=HOSTILE, tenant=HOSTILE, id=HOSTILE)
def test_nothing_that_others_wrote_means_anything_to_slack(
    why: str, policy: str, queue: str, tenant: str, id: str
) -> None:
    told = notice().model_copy(
        update={"why": why, "policy": policy, "queue": queue, "tenant": tenant, "request_id": id}
    )
    message = json.loads(json.dumps(slack_message(told, CONSOLE)))
    for text in texts(message):
        alone = text.removesuffix("|Open the review>")
        if alone != text:
            alone = re.sub(r"<https://sluice\.test/console/reviews/[A-Za-z0-9%_.~-]*\Z", "", alone)
        assert not set(alone) & {"<", ">"}
        assert len(text) <= 2000
        assert "\n" not in text.removeprefix("*").partition("*\n")[2]
    header = message["blocks"][0]["text"]
    assert (header["type"], header["emoji"], len(header["text"]) <= 150) == ("plain_text", False, True)
    assert len(message["blocks"][1]["fields"]) <= 10
    assert all(part["verbatim"] for part in message["blocks"][1]["fields"])


def test_what_slack_reads_is_escaped_once() -> None:
    assert escaped("<!channel> & <https://a|b>") == "&lt;!channel&gt; &amp; &lt;https://a|b&gt;"
    fields = slack_message(notice(why="a < b && <@U1>"), None)["blocks"][1]["fields"]
    assert fields[0]["text"] == "*Why*\na &lt; b &amp;&amp; &lt;@U1&gt;"


@pytest.mark.parametrize("event", list(NoticeEvent))
def test_every_event_has_words_of_its_own(event: NoticeEvent) -> None:
    said = headline(notice(event=event))
    assert [other for other in NoticeEvent if headline(notice(event=other)) == said] == [event]
    assert said.endswith(": support-triage")


def test_there_is_a_link_where_there_is_a_console_and_a_review() -> None:
    ended = {"event": NoticeEvent.REQUEST_COMPLETED, "status": Status.COMPLETED, "outcome": Outcome.ACCEPTED}
    assert link(notice(), None) is None
    assert link(notice(), "http://127.0.0.1:8080") == "http://127.0.0.1:8080/console/reviews/req_a"
    assert link(notice(**ended), CONSOLE) == PAGE
    assert link(notice(**ended, review_version=None), CONSOLE) is None
    assert link(notice(request_id="../a?b#c|d>"), CONSOLE) == PAGE[:-5] + "..%2Fa%3Fb%23c%7Cd%3E"
    assert len(slack_message(notice(), None)["blocks"]) == 2


def test_what_is_not_known_is_left_out() -> None:
    told = notice(risk=None, queue=None, due=None, why="", outcome=Outcome.EXPIRED, status=Status.REFUSED)
    assert [name for name, _ in facts(told)] == ["Status", "Outcome", "Tenant", "Request", "Policy version"]


@given(st.text())
def test_one_line_is_one_visible_line(text: str) -> None:
    line = one_line(text)
    assert line.splitlines() in ([line], [])
    assert len(line) <= LONGEST
    assert all(character.isprintable() or character.isspace() for character in line)
    assert one_line(line) == line
    assert line.encode("utf-8").decode("utf-8") == line
