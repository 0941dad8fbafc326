"""Mail to people: what it says, to whom it goes, what a server's answer means, and what never leaves."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from hypothesis import given
from hypothesis import strategies as st

from adapters.channel_http import channel_client
from adapters.email_notifier import EmailNotifier, compose
from adapters.notifiers import Notifiers
from domain.catalog import EmailChannel
from domain.notice import NotifierError
from tests.adapters.fake_receiver import certified
from tests.adapters.notice_examples import NOTICE, NameServer, assert_discreet, catalog, delivery

HERE = NameServer({"hooks.test": [["127.0.0.1"]]})
ENVIRON = {"OPS_USER": "sluice", "OPS_PASSWORD": "hunter2"}
ACCOUNT: dict[str, Any] = {"username_env": "OPS_USER", "password_env": "OPS_PASSWORD"}


@dataclass
class MailServer:
    """A handler of aiosmtpd that keeps what it takes. ``refusals`` are answers instead of the good ones."""

    refusals: Mapping[str, str]
    mails: list[Envelope] = field(default_factory=list)
    greeted: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.greeted.append(str(session.host_name))
        self.secure.append(session.ssl is not None)
        if "MAIL" in self.refusals:
            return self.refusals["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.refusals:
            return self.refusals["DATA"]
        self.mails.append(envelope)
        return "250 OK"

    def read(self) -> EmailMessage:
        """The only mail, parsed."""
        (taken,) = self.mails
        return parsed(taken)


def parsed(taken: Envelope) -> EmailMessage:
    assert isinstance(taken.content, bytes)
    return email.message_from_bytes(taken.content, EmailMessage, policy=SMTP_POLICY)


@asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, refusals: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[MailServer]:
    """A real mail server on loopback for as long as the block runs."""
    handler = MailServer(refusals)

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
        known = (login.login, login.password) == (b"sluice", b"hunter2")
        return AuthResult(success=known, handled=False)

    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            handler,
            hostname="hooks.test",
            tls_context=tls,
            require_starttls=tls is not None,
            auth_require_tls=tls is not None,
            authenticator=authenticate,
            loop=loop,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    handler.port = server.sockets[0].getsockname()[1]
    async with server:
        yield handler


@asynccontextmanager
async def talking(*lines: bytes) -> AsyncIterator[int]:
    """A server that says these lines, whatever it is told, and then nothing; its port."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            await writer.drain()
            await reader.read(1000)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        done.set()


@dataclass
class Dawdler:
    """A server that greets slowly, each line in time, and keeps what is said to it afterwards."""

    port: int = 0
    heard: bytes = b""
    done: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def dawdler(lines: int) -> AsyncIterator[Dawdler]:
    """The server, with a greeting of so many lines."""
    server = Dawdler()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(lines):
                writer.write(b"220-wait\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)  # far below every limit of a single read
            writer.write(b"220 now\r\n")
            server.heard = await reader.read(1000)
        except ConnectionError:
            pass  # the client has had enough, which is what this is about
        finally:
            writer.close()
            server.done.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


def entry(port: int = 25, **changes: Any) -> EmailChannel:
    plain = {"host": "hooks.test", "port": port, "starttls": False, "allow_private": True}
    to = {"sender": "sluice@sender.test", "to": ("ann@people.test", "bob@people.test")}
    return EmailChannel.model_validate({"kind": "email", **plain, **to, **changes}, extra="forbid")


@asynccontextmanager
async def notifier(
    names: NameServer = HERE,
    tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
    seconds: float = 10,
    environ: dict[str, str] = ENVIRON,
) -> AsyncIterator[EmailNotifier]:
    with ThreadPoolExecutor(2, thread_name_prefix="mail-test") as threads:
        yield EmailNotifier(names, threads, environ, "https://sluice.test", tls=tls, seconds=seconds)


async def failing(subject: EmailNotifier, channel: EmailChannel) -> NotifierError:
    with pytest.raises(NotifierError) as caught:
        await subject.send(channel, delivery())
    assert_discreet(caught.value)
    return caught.value


# What is sent


async def test_people_get_a_mail_they_can_read_and_follow() -> None:
    async with mail_server() as server, channel_client() as http:
        channel = entry(server.port).model_dump()
        notifiers = Notifiers(catalog(ops=channel), http, {}, "https://sluice.test/", resolver=HERE)
        await notifiers.send(delivery())
        notifiers.close()
    assert (server.mails[0].mail_from, server.mails[0].rcpt_tos) == (
        "sluice@sender.test",
        ["ann@people.test", "bob@people.test"],
    )
    assert server.greeted == ["sender.test"]
    mail = server.read()
    assert mail["Subject"] == "An answer waits for a review: support-triage (req_a)"
    assert (mail["From"], mail["To"]) == ("sluice@sender.test", "ann@people.test, bob@people.test")
    assert (mail["Auto-Submitted"], mail.get_content_type()) == ("auto-generated", "text/plain")
    assert mail["Date"].datetime is not None
    assert mail.get_content().splitlines() == [
        "An answer waits for a review: support-triage",
        "",
        "Why: too risky to let out",
        "Risk: high",
        "Queue: legal",
        "Decide before: 2026-11-25 12:30 UTC",
        "Status: held",
        "Tenant: acme",
        "Request: req_a",
        "Policy version: 0123456789abcdef",
        "",
        "https://sluice.test/console/reviews/req_a",
    ]


async def test_a_second_attempt_has_the_same_message_id() -> None:
    async with mail_server() as server, notifier() as subject:
        for id in ("req_a-1-ops", "req_a-1-ops", "req_a-2-ops"):
            await subject.send(entry(server.port), delivery(delivery_id=id))
    ids = [parsed(mail)["Message-ID"] for mail in server.mails]
    assert ids[0] == ids[1] != ids[2]
    assert all(id.endswith("@sender.test>") for id in ids)


HOSTILE = st.text(alphabet="\r\n\t :,<>@.=?\u2028\x0b\x0c\x85BCcé", max_size=30).map(
    lambda text: f"x{text}\r\nBcc: eve@evil.test"
)


@given(policy=HOSTILE, id=HOSTILE, why=HOSTILE, tenant=HOSTILE)
def test_nothing_that_others_wrote_becomes_a_header(policy: str, id: str, why: str, tenant: str) -> None:
    changed = {"policy": policy, "request_id": id, "why": why, "tenant": tenant}
    sent = delivery()
    sent = sent.model_copy(update={"notice": sent.notice.model_copy(update=changed), "delivery_id": id})
    written = compose(entry(), sent, None, NOTICE["occurred_at"]).as_bytes()
    mail = email.message_from_bytes(written, EmailMessage, policy=SMTP_POLICY)
    assert sorted(mail.keys()) == [
        "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "MIME-Version", "Message-ID",
        "Subject", "To",
    ]  # fmt: skip
    assert mail["To"] == "ann@people.test, bob@people.test"
    assert "Bcc: eve@evil.test" in mail["Subject"]
    assert not mail.defects
    lines = mail.get_content().splitlines()
    assert [line.partition(": ")[0] for line in lines[2:]] == [
        "Why", "Risk", "Queue", "Decide before", "Status", "Tenant", "Request", "Policy version",
    ]  # fmt: skip


async def test_a_line_that_is_a_dot_does_not_end_the_mail() -> None:
    async with mail_server() as server, notifier() as subject:
        sent = delivery(why=".\r\n.\r\nRSET\r\nMAIL FROM:<eve@evil.test>")
        await subject.send(entry(server.port), sent)
    assert "Why: . . RSET MAIL FROM:<eve@evil.test>" in server.read().get_content()


# TLS and signing in


def ssl_context(context: ssl.SSLContext) -> ssl.SSLContext:
    return context


async def test_the_server_must_show_a_certificate_for_its_name(tmp_path: Path) -> None:
    for name, taken in (("hooks.test", True), ("other.test", False)):
        server_tls, client_tls = certified(tmp_path, name)
        async with mail_server(server_tls) as server, notifier(tls=partial(ssl_context, client_tls)) as subject:
            channel = entry(server.port, starttls=True, **ACCOUNT)
            if taken:
                await subject.send(channel, delivery())
                assert server.secure == [True]
            else:
                error = await failing(subject, channel)
                assert error.transient
                assert "SSLCertVerificationError" in str(error)
        assert len(server.mails) == taken


async def test_nothing_is_sent_in_the_clear_where_tls_is_not_offered() -> None:
    async with mail_server() as server, notifier() as subject:
        error = await failing(subject, entry(server.port, starttls=True, **ACCOUNT))
    assert not error.transient
    assert "STARTTLS" in str(error)
    assert server.greeted == []


async def test_a_wrong_password_is_permanent_and_never_told() -> None:
    async with mail_server() as server, notifier(environ={**ENVIRON, "OPS_PASSWORD": "hunter2x"}) as subject:
        error = await failing(subject, entry(server.port, **ACCOUNT))
    assert (error.transient, "answered 535" in str(error)) == (False, True)


@pytest.mark.parametrize("password", ["", "hunter2\r\nRSET", "hunter2é", "hunter2\x00"])
async def test_a_password_that_cannot_be_sent_is_refused(password: str) -> None:
    names = NameServer({"hooks.test": [["127.0.0.1"]]})
    async with notifier(names, environ={**ENVIRON, "OPS_PASSWORD": password}) as subject:
        error = await failing(subject, entry(**ACCOUNT))
    assert (error.transient, "OPS_PASSWORD" in str(error), names.asked) == (False, True, [])


# Where it goes


async def test_a_server_at_an_address_that_is_not_public_is_refused() -> None:
    async with mail_server() as server, notifier() as subject:
        error = await failing(subject, entry(server.port, starttls=True, allow_private=False))
    assert not error.transient
    assert server.greeted == []


async def test_the_next_address_is_tried_where_nobody_answers() -> None:
    async with mail_server() as server, notifier(NameServer({"hooks.test": [["127.0.0.2", "127.0.0.1"]]})) as subject:
        await subject.send(entry(server.port), delivery())
    assert len(server.mails) == 1


async def test_a_server_that_is_away_may_come_back() -> None:
    async with mail_server() as server:
        pass
    for names in (HERE, NameServer({})):
        async with notifier(names) as subject:
            assert (await failing(subject, entry(server.port))).transient


# What the server's answers mean


@pytest.mark.parametrize(
    ("refusals", "transient"),
    [
        ({"MAIL": "451 later"}, True),
        ({"MAIL": "550 hunter2"}, False),
        ({"DATA": "452 full"}, True),
        ({"DATA": "554 hunter2"}, False),
        ({"MAIL": "421 closing"}, True),
        ({"ann@people.test": "450 greylisted", "bob@people.test": "550 unknown"}, True),
        ({"ann@people.test": "550 unknown", "bob@people.test": "553 unknown"}, False),
    ],
)
async def test_a_refusal_is_permanent_where_the_server_says_so(refusals: dict[str, str], transient: bool) -> None:
    async with mail_server(refusals=refusals) as server, notifier() as subject:
        error = await failing(subject, entry(server.port))
    assert error.transient is transient
    assert any(said[:3] in str(error) for said in refusals.values())
    assert server.mails == []


async def test_a_recipient_that_is_refused_is_told_and_the_others_get_no_second_mail() -> None:
    refused = {"bob@people.test": "450 mailbox full"}
    async with mail_server(refusals=refused) as server, notifier() as subject:
        error = await failing(subject, entry(server.port))
    assert not error.transient
    assert "refused 1 of 2 recipients" in str(error)
    assert [mail.rcpt_tos for mail in server.mails] == [["ann@people.test"]]


@pytest.mark.parametrize(
    ("greeting", "transient"),
    [
        (b"554 go away\r\n", False),
        (b"421 later\r\n", True),
        (b"", True),
        (b"nonsense\r\n", True),
        (b"250 a wrong place\r\n", True),
        (b"\xff" * 9000, False),
    ],
)
async def test_a_server_that_does_not_speak_as_it_should_is_a_failure(greeting: bytes, transient: bool) -> None:
    async with talking(greeting) as port, notifier(seconds=0.6) as subject, asyncio.timeout(5):
        assert (await failing(subject, entry(port))).transient is transient


async def test_a_server_that_dawdles_is_left_at_the_time_limit_and_told_nothing_any_more() -> None:
    async with dawdler(lines=500) as server, asyncio.timeout(5):
        with ThreadPoolExecutor(1) as threads:
            error = await failing(EmailNotifier(HERE, threads, {}, None, seconds=0.3), entry(server.port))
            await asyncio.get_running_loop().run_in_executor(threads, bool)  # so the only thread is free again
        await server.done.wait()
    assert error.transient
    assert "within 0.3 s" in str(error)
    assert server.heard == b""
