"""Mail through a submission server, in a thread: the standard library's client blocks."""

from __future__ import annotations

import asyncio
import hashlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import httpx

from adapters.channel_http import utc_now
from adapters.channel_settings import failure, secret
from adapters.notice_text import facts, headline, link, one_line
from adapters.public_address import ForbiddenAddressError, Resolver, UnresolvedHostError, judged_addresses
from domain.catalog import EmailChannel
from domain.notice import Delivery, NotifierError

LONGEST_MAILING = 20.0
"""Seconds for everything; more than for HTTP, because mail servers let strangers wait before they greet them."""
_GREETING = 220
_SENDABLE = re.compile(r"^[\x20-\x7e]+$")


class EmailNotifier:
    """Tells people by mail. Name and password come from ``environ`` at the time of the call.

    ``tls`` makes the context that certificates are checked with: by the same authorities as for HTTPS. ``threads`` do
    the waiting.
    """

    def __init__(
        self,
        resolver: Resolver,
        threads: Executor,
        environ: Mapping[str, str],
        console_url: str | None,
        *,
        now: Callable[[], datetime] = utc_now,
        tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        seconds: float = LONGEST_MAILING,
    ) -> None:
        self._resolver = resolver
        self._threads = threads
        self._environ = environ
        self._console_url = console_url
        self._now = now
        self._tls = tls
        self._seconds = seconds

    async def send(self, entry: EmailChannel, delivery: Delivery) -> None:
        """Hand the mail to the server. Raises ``NotifierError``, also where only some recipients were accepted.

        **Correctness:** a connection that breaks after the server took the mail leads to a second one with the same
        Message-ID. Where some recipients were accepted, nothing is sent again.
        """
        channel = delivery.channel
        account = _account(channel, entry, self._environ)
        mail = compose(entry, delivery, self._console_url, self._now()).as_bytes()
        try:
            async with asyncio.timeout(self._seconds):
                allow = entry.allow_private
                addresses = await judged_addresses(entry.host, entry.port, self._resolver, allow_private=allow)
                submission = _Submission(entry, addresses, account, mail, self._tls, self._seconds)
                refused = await self._submit(submission)
        except ForbiddenAddressError as error:
            raise failure(channel, str(error), transient=False) from None
        except UnresolvedHostError as error:
            raise failure(channel, str(error), transient=True) from None
        except TimeoutError:
            raise failure(channel, f"did not take the mail within {self._seconds:g} s", transient=True) from None
        except OSError as error:  # smtplib's own errors are among them
            raise _failure(channel, error) from None
        if refused:
            why = f"took the mail, but refused {refused} of {len(entry.to)} recipients; correct them in the catalog"
            raise failure(channel, why, transient=False)

    async def _submit(self, submission: _Submission) -> int:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, submission.run)
        finally:
            submission.abort()  # a thread cannot be cancelled, but it ends with its connection


def compose(entry: EmailChannel, delivery: Delivery, console_url: str | None, now: datetime) -> EmailMessage:
    """The mail, in plain text. Its Message-ID follows from ``delivery_id``."""
    notice = delivery.notice
    page = link(notice, console_url)
    lines = [f"{name}: {value}" for name, value in facts(notice)]
    mail = EmailMessage(policy=SMTP)
    mail["From"] = entry.sender
    mail["To"] = ", ".join(entry.to)
    mail["Subject"] = one_line(f"{headline(notice)} ({notice.request_id})")
    mail["Date"] = format_datetime(now)
    digest = hashlib.sha256(delivery.delivery_id.encode("utf-8")).hexdigest()
    mail["Message-ID"] = f"<{digest[:32]}@{_domain(entry)}>"
    mail["Auto-Submitted"] = "auto-generated"  # so that nobody's absence is answered to us
    mail.set_content("\n".join([headline(notice), "", *lines, *(["", page] if page else [])]) + "\n")
    return mail


class _PinnedSmtp(smtplib.SMTP):
    """Connects by address, and yet asks for the certificate of ``host``."""

    def __init__(self, host: str, local_hostname: str, seconds: float) -> None:
        super().__init__(local_hostname=local_hostname, timeout=seconds)
        # What starttls() takes for the server's name. Were it called otherwise one day, no certificate would fit.
        self._host = host


class _Submission:
    """One mail on its way to one server, at addresses that were judged. ``run`` blocks; ``abort`` ends it."""

    def __init__(
        self,
        entry: EmailChannel,
        addresses: Sequence[str],
        account: tuple[str, str] | None,
        mail: bytes,
        tls: Callable[[], ssl.SSLContext],
        seconds: float,
    ) -> None:
        self._entry = entry
        self._addresses = addresses
        self._account = account
        self._mail = mail
        self._tls = tls
        self._smtp = _PinnedSmtp(entry.host, _domain(entry), seconds / 2)
        self._aborted = threading.Event()

    def run(self) -> int:
        """Hand over the mail; how many recipients were refused while others were accepted. Raises ``OSError``."""
        entry, smtp = self._entry, self._smtp
        try:
            self._connect()
            if entry.starttls:
                smtp.starttls(context=self._tls())
            if self._account is not None:
                smtp.login(*self._account)
            self._refuse_if_aborted()
            refused = smtp.sendmail(entry.sender, entry.to, self._mail)
            with suppress(OSError):  # the mail is taken; a goodbye that fails changes nothing
                smtp.quit()
            return len(refused)
        finally:
            smtp.close()

    def abort(self) -> None:
        """Break the connection, if there is one, so that ``run`` ends and sends nothing any more."""
        self._aborted.set()
        connection = self._smtp.sock
        if connection is not None:
            with suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> None:
        unreached: OSError = smtplib.SMTPServerDisconnected()
        for address in self._addresses:
            self._refuse_if_aborted()
            try:
                code, said = self._smtp.connect(address, self._entry.port)
            except OSError as error:
                unreached = error
                continue
            if code != _GREETING:
                raise smtplib.SMTPConnectError(code, said)
            return
        raise unreached

    def _refuse_if_aborted(self) -> None:
        # A connection that is being made, or made secure, cannot be broken from outside.
        if self._aborted.is_set():
            raise smtplib.SMTPServerDisconnected


def _account(channel: str, entry: EmailChannel, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if entry.username_env is None or entry.password_env is None:
        return None
    found = []
    for name in (entry.username_env, entry.password_env):
        value = secret(channel, name, environ)
        if not _SENDABLE.match(value):
            why = f"{name} holds characters that cannot be sent to a mail server; set it again"
            raise failure(channel, why, transient=False)
        found.append(value)
    return found[0], found[1]


def _domain(entry: EmailChannel) -> str:
    """What we call ourselves: never the name of this machine."""
    return entry.sender.rpartition("@")[2]


def _failure(channel: str, error: OSError) -> NotifierError:
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = sorted({code for code, _ in error.recipients.values()})
            why = f"refused every recipient ({', '.join(map(str, codes))})"
            return failure(channel, why, transient=any(not _final(code) for code in codes))
        case smtplib.SMTPResponseException():
            return failure(channel, f"answered {error.smtp_code}", transient=not _final(error.smtp_code))
        case smtplib.SMTPServerDisconnected():
            return failure(channel, "broke off", transient=True)
        case smtplib.SMTPException():
            return failure(channel, "does not offer STARTTLS, or no way to sign in that is known here", transient=False)
    return failure(channel, f"could not be reached ({type(error).__name__})", transient=True)


def _final(code: int) -> bool:
    return 500 <= code < 600
