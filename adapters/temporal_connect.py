"""Connects to Temporal: address, namespace, TLS and key from the environment as every Temporal tool reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from adapters.temporal_plugin import temporal_plugin
from domain.attributes import SEARCH_ATTRIBUTES


async def connect(address: str, namespace: str, *, lazy: bool = False) -> Client:
    """A client of the Temporal service at ``address``. With ``lazy`` it connects with its first call."""
    known = ClientConfig.load_client_connect_config()
    known["target_host"] = address
    known["namespace"] = namespace
    config: dict[str, Any] = {**known, "lazy": lazy, "plugins": [temporal_plugin()]}
    return await Client.connect(**config)


async def register_search_attributes(client: Client) -> None:
    """Add our Search Attributes to a Temporal service that lacks them."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in SEARCH_ATTRIBUTES if name not in known.custom_attributes]
    if missing:
        await add_search_attributes(client, missing)


async def add_search_attributes(client: Client, names: Sequence[str]) -> None:
    """Add Keyword attributes that the service does not know yet."""
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(names, keyword))
    await client.operator_service.add_search_attributes(request)
