"""Channels in the catalog's file: what loads, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from adapters.policy_files import _CHANNEL_KINDS, load_catalog, parse_policy
from domain.catalog import Catalog, ChannelEntry, EmailChannel, SlackChannel, WebhookChannel
from domain.errors import PolicyError

SAMPLES = Path(__file__).parent / "policy_samples"
CATALOG = (SAMPLES / "catalog.yaml").read_text(encoding="utf-8")
POLICY = (SAMPLES / "sample.yaml").read_text(encoding="utf-8")
SHIPPED = Path(__file__).parents[2] / "policies" / "catalog.yaml"
CHANNELS = """\
channels:
  shop:
    kind: webhook
    url: https://shop.example.com/hooks/
    secret_env: SHOP_SECRET
  chat:
    kind: slack
    url_env: CHAT_URL
  on-call:
    kind: email
    host: smtp.example.com
    username_env: SMTP_USERNAME
    password_env: SMTP_PASSWORD
    sender: sluice@example.com
    to: [ann@example.com, bob+reviews@example.com]
"""


def loaded(folder: Path, channels: str = CHANNELS) -> Catalog:
    path = folder / "catalog.yaml"
    path.write_text(CATALOG + channels, encoding="utf-8")
    return load_catalog(path)


def test_channels_of_every_kind_are_read(tmp_path: Path) -> None:
    channels = loaded(tmp_path).channels
    assert channels["shop"] == WebhookChannel(
        kind="webhook", url="https://shop.example.com/hooks/", secret_env="SHOP_SECRET"
    )
    assert channels["chat"] == SlackChannel(kind="slack", url_env="CHAT_URL")
    mail = channels["on-call"]
    assert isinstance(mail, EmailChannel)
    assert (mail.port, mail.starttls, mail.allow_private, len(mail.to)) == (587, True, False, 2)


def test_the_kinds_that_are_named_are_those_there_are() -> None:
    kinds = [get_args(entry.model_fields["kind"].annotation)[0] for entry in get_args(get_args(ChannelEntry)[0])]
    assert tuple(kinds) == _CHANNEL_KINDS


def test_a_catalog_without_channels_and_its_policies_stay_as_they_were(tmp_path: Path) -> None:
    without = loaded(tmp_path, "")
    assert without.channels == {}
    with_channels = loaded(tmp_path)
    versions = {parse_policy(POLICY, "sample.yaml", catalog).version for catalog in (without, with_channels)}
    assert len(versions) == 1


def test_the_example_that_is_shipped_loads_without_its_comment_signs(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    start = text.index("# channels:")
    example = "".join(line.removeprefix("# ") + "\n" for line in text[start:].splitlines())
    assert set(yaml.safe_load(example)) == {"channels"}
    path = tmp_path / "catalog.yaml"
    path.write_text(text[:start] + example, encoding="utf-8")
    kinds = [channel.kind for channel in load_catalog(path).channels.values()]
    assert kinds == ["webhook", "slack", "email"]


@pytest.mark.parametrize(
    ("old", "new", "start", "said"),
    [
        ("kind: webhook", "kind: webhok", "kind: webhok",
         "channels.shop.kind: is no kind of channel; did you mean 'webhook'? kinds are webhook, slack, email"),
        ("kind: webhook", "kind: [webhook]", "kind: [", "channels.shop.kind: is no kind of channel"),
        ("    kind: slack\n", "", "chat:",
         "channels.chat.kind: is missing; add kind: with one of webhook, slack, email"),
        ("  chat:\n    kind: slack\n    url_env: CHAT_URL", "  chat: https://hidden.test/", "chat:",
         "channels.chat: holds no keys; add kind:"),
        ("    secret_env: SHOP_SECRET\n", "", "shop:", "channels.shop.secret_env: is missing; add secret_env"),
        ("    url: https://shop.example.com/hooks/\n", "", "shop:", "channels.shop: nothing says where the channel is"),
        ("https://shop", "http://shop", "shop:", "channels.shop: 'url' begins with http://"),
        ("https://shop", "ftp://shop", "url: ftp", "channels.shop.url: must begin with http:// or https://"),
        ("https://shop", "https://ann:hidden@shop", "shop:", "'url' holds a user name or password; remove it"),
        ("https://shop.example.com", "'https://[hidden'", "shop:", "'url' is no address; correct it"),
        ("SHOP_SECRET", "whsec_hidden", "secret_env", "channels.shop.secret_env: must name an environment variable"),
        ("CHAT_URL", "https://hidden.test", "url_env", "channels.chat.url_env: must name an environment variable"),
        ("url_env: CHAT_URL", "url: https://hidden.test", "url: https://hidden", "channels.chat.url: unknown key"),
        ("url_env: CHAT_URL", "url_evn: CHAT_URL", "url_evn", "channels.chat.url_evn: unknown key"),
        ("    password_env: SMTP_PASSWORD\n", "", "on-call:", "'username_env' and 'password_env' go together"),
        ("host: smtp.example.com", "host: smtp example", "host", "channels.on-call.host: must match"),
        ("host: smtp.example.com", "host: smtp.example.com\n    port: 465", "on-call:", "STARTTLS port, mostly 587"),
        ("host: smtp.example.com", "host: smtp.example.com\n    port: 0", "port", "greater than or equal to 1"),
        ("host: smtp.example.com", "host: smtp.example.com\n    starttls: false", "on-call:", "'starttls' is false"),
        ("[ann@example.com, bob+reviews@example.com]", "[]", "to:", "channels.on-call.to: "),
        ("ann@example.com,", "'Ann <ann@example.com>',", "to:", "channels.on-call.to.0: must match"),
        ("sluice@example.com", '"a@b\\nBcc: c@d"', "sender", "channels.on-call.sender: must match"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_channel_is_named(tmp_path: Path, old: str, new: str, start: str, said: str) -> None:
    assert old in CHANNELS
    if old.startswith("https://shop.example.com"):
        old += "/hooks/"
    text = CHANNELS.replace(old, new, 1)
    with pytest.raises(PolicyError) as caught:
        loaded(tmp_path, text)
    lines = [number for number, line in enumerate((CATALOG + text).splitlines(), 1) if line.strip().startswith(start)]
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert caught.value.line == lines[0]


def test_what_is_in_the_own_network_may_be_reached_in_the_clear(tmp_path: Path) -> None:
    text = CHANNELS.replace("https://shop.example.com", "http://shop.internal:8080")
    text = text.replace("secret_env:", "allow_private: true\n    secret_env:")
    text = text.replace("host: smtp.example.com", "host: smtp.internal\n    starttls: false\n    allow_private: true")
    assert set(loaded(tmp_path, text).channels) == {"shop", "chat", "on-call"}
