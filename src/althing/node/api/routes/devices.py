"""Devices: by name, with the account that holds their keys."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from althing.ledger.query import LedgerView
from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT, SCANNED_MAX, STREAMS_OF_DEVICE_MAX
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.problems import NotThereError
from althing.node.api.render import enum_name, time_of_s
from althing.node.api.routes.accounts import KeyAnswer, keys_json
from althing.protocol.address import did, format_address, parse_address
from althing.protocol.messages.devices import Device

__all__ = ["DeviceAnswer", "DeviceSummary", "DevicesPage", "Named", "device", "devices", "matching_account", "router"]

router = APIRouter(prefix="/v1", tags=["devices"])

Named = Annotated[str, Path(min_length=1, max_length=63, examples=["pump-1"])]
_CHUNK = 500  # records read at a time while filtering


class DeviceSummary(BaseModel):
    name: str
    address: str
    did: str
    organisation: str
    gateway: str | None
    state: str = Field(description="active, suspended or retired")
    status: str = Field(description="Status of its account: active, suspended or closed")
    registered_at: str
    metadata: dict[str, str]
    keys: list[KeyAnswer] = Field(description="Empty for a device that cannot sign; its gateway attests")


class DevicesPage(BaseModel):
    devices: list[DeviceSummary]
    next: str | None


class DeviceAnswer(DeviceSummary):
    streams: list[str] = Field(description="Paths of its streams", examples=[["pump-1/temperature"]])


@router.get("/devices", response_model=DevicesPage)
async def devices(
    api: Context,
    organisation: Annotated[str | None, Query(max_length=63, description="Name or address")] = None,
    gateway: Annotated[str | None, Query(max_length=41, description="Address of the gateway")] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> DevicesPage:
    """Devices by name. With a filter a page may be short although more follow: go on while `next` is not null."""
    return await api.reads.state(_page, api, organisation, gateway, limit, parse_cursor("devices", cursor, str))


@router.get("/devices/{name}", response_model=DeviceAnswer)
async def device(api: Context, name: Named) -> DeviceAnswer:
    """One device with its keys and streams."""
    return await api.reads.state(_device, api, name)


def matching_account(view: LedgerView, text: str) -> bytes:
    """The address of an organisation's name, or of an address's text."""
    if text.startswith("al1") and len(text) == 41:
        return parse_address(text)
    found = view.organisation_by_name(text)
    if found is None:
        raise NotThereError("query.organisation", f"there is no organisation {text}")
    return found.address


def _page(
    api: Api, organisation: str | None, gateway: str | None, limit: int, position: list[Any] | None
) -> DevicesPage:
    view = api.node.view()
    owner = None if organisation is None else matching_account(view, organisation)
    speaker = None if gateway is None else parse_address(gateway)
    after = None if position is None else str(position[0])
    found: list[DeviceSummary] = []
    scanned = 0
    while True:
        chunk = view.devices(after, _CHUNK if owner or speaker else limit + 1)
        for record in chunk:
            if len(found) == limit or scanned == SCANNED_MAX:
                assert after is not None, "something was read before"
                return DevicesPage(devices=found, next=write_cursor("devices", after))
            after = record.name
            scanned += 1
            if (owner is None or record.organisation == owner) and (speaker is None or record.gateway == speaker):
                found.append(DeviceSummary(**_fields(api, view, record)))
        if len(chunk) < (_CHUNK if owner or speaker else limit + 1):
            return DevicesPage(devices=found, next=None)


def _device(api: Api, name: str) -> DeviceAnswer:
    view = api.node.view()
    record = view.device(name)
    paths = [definition.path for definition in view.streams_of(name)[:STREAMS_OF_DEVICE_MAX]]
    return DeviceAnswer(**_fields(api, view, record), streams=paths)


def _fields(api: Api, view: LedgerView, record: Device) -> dict[str, Any]:
    account = view.account(record.address)
    return {
        "name": record.name,
        "address": format_address(record.address),
        "did": did(api.node.genesis.chain_id, record.address),
        "organisation": format_address(record.organisation),
        "gateway": None if record.gateway is None else format_address(record.gateway),
        "state": enum_name(record.state),
        "status": enum_name(account.status),
        "registered_at": time_of_s(record.registered_at),
        "metadata": dict(record.metadata),
        "keys": keys_json(account.keys),
    }
