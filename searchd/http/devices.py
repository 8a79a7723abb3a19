"""The routes of registered devices: `/v1/devices`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from searchd.devices.shown import shown, table
from searchd.errors import NotFound
from searchd.http import models as m
from searchd.http.parts import ERRORS, Here, Parts
from searchd.store.base import DeviceRow
from searchd.views.plain import plain

devices = APIRouter(prefix="/v1/devices", tags=["devices"], responses=ERRORS)


def _row(parts: Parts, name: str) -> DeviceRow:
    with parts.store.reading() as reader:
        row = reader.device(name)
        there = ", ".join(r.name for r in reader.devices()) or "none yet"
    if row is None:
        raise NotFound(f"no device {name!r}; there are: {there}; `searchd device add {name}` registers one")
    return row


def _shown(parts: Parts, row: DeviceRow) -> dict[str, Any]:
    live = [w for w in parts.workers() if w.device_class == row.name and w.state != "stopping"]
    found: dict[str, Any] = plain(shown(row, live))
    return found


@devices.get("", summary="every registered device", response_model=list[m.Device])
def listed(parts: Here) -> list[dict[str, Any]]:
    with parts.store.reading() as reader:
        rows = reader.devices()
    return [_shown(parts, row) for row in rows]


@devices.post("", status_code=201, summary="register what live workers measure on", response_model=m.Device)
def add(body: m.AddDeviceBody, parts: Here) -> dict[str, Any]:
    found: dict[str, Any] = plain(parts.commands.add_device(body.name, body.runtime))
    return found


@devices.get("/{name}", summary="one device and its profile at a glance", response_model=m.Device)
def show(name: str, parts: Here) -> dict[str, Any]:
    return _shown(parts, _row(parts, name))


@devices.get("/{name}/profile", summary="the whole table: operators, architectures, predictor")
def whole(name: str, parts: Here) -> dict[str, Any]:
    found: dict[str, Any] = plain(table(_row(parts, name)))
    return found


@devices.post("/{name}/profile", status_code=202, summary="time a study's operators there", response_model=m.Device)
def profile(name: str, body: m.ProfileBody, parts: Here) -> dict[str, Any]:
    found: dict[str, Any] = plain(parts.commands.profile_device(name, body.spec, body.architectures))
    return found


@devices.delete("/{name}", summary="forget a device and its profile")
def remove(name: str, parts: Here) -> dict[str, str]:
    parts.commands.remove_device(name)
    return {"removed": name}
