"""What a `searchd run` measured on its front, for the next study: its database is not the one that knows devices."""

from __future__ import annotations

import dataclasses
from typing import Any

from searchd.devices.profile import taught
from searchd.store.base import Reader, Store
from spaces.study import Study


def learn(study: str, reader: Reader, devices: Store) -> int:
    """Put the figures that a study was refitted to into its device's profile; how many were new there."""
    row = reader.study(study)
    said: dict[str, Any] | None = None if row is None else Study.parse(dict(row.spec)).predictor
    figures = [f for event in reader.events(study, kinds=("refitted",)) for f in event.payload["figures"]]
    if said is None or not figures:
        return 0
    with devices.transaction() as tx:
        device = tx.device(str(said["device"]))
        if device is None or device.profile is None:
            return 0
        known = [(dict(f["counts"]), f["ms"]) for f in device.profile.get("front", ())]
        fresh = [f for f in figures if (dict(f["counts"]), f["ms"]) not in known]
        profile = taught(device, said, fresh) if fresh else None
        if profile is None:
            return 0
        tx.put_device(dataclasses.replace(device, profile=profile))
    return len(fresh)
