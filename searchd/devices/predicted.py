"""`latency: predicted`: the predictor of the study's device, looked up once, when the study is submitted.

It is stored with the study (`Study.predictor`), so that its search and a replay of its log need no device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.random import Generator, Philox

from searchd.devices.asking import check_known
from searchd.devices.profile import stale
from searchd.errors import NotFound, Refused, SpaceError
from searchd.latency import Predictor
from searchd.store.base import DeviceRow, Reader
from spaces.chains import occurrences
from spaces.describe import drawn
from spaces.study import Study

TRIED = 64


def with_predictor(study: Study, readers: Sequence[Reader]) -> Study:
    """The study with the predictor of its device, if it wants one and has none; the first of the `readers` that knows
    the device says it.

    NotFound for a device that nobody registered; Refused when it was not profiled, its table is stale, or is one of
    another study's operators.
    """
    if study.latency != "predicted" or study.predictor is not None:
        return study
    check_known(study)
    row = next((found for reader in readers if (found := reader.device(study.device)) is not None), None)
    again = f"`searchd device profile {study.device} STUDY`"
    if row is None:
        raise NotFound(f"latency: predicted, but device {study.device!r} is not registered: `searchd device add "
                       f"{study.device}`, then {again}; or latency: measured")  # fmt: skip
    if row.profile is None:
        raise Refused(f"latency: predicted, but device {row.name!r} was not profiled: {again}, or latency: measured")
    if (why := stale(row)) is not None:
        raise Refused(f"the profile of device {row.name!r} is stale ({why}): {again} again, or latency: measured")
    check_known(study, row.runtime)
    check_operators(study, Predictor.of_json(row.profile["predictor"]), row)
    return study.model_copy(update={"predictor": taken(row)})


def check_operators(study: Study, predictor: Predictor, row: DeviceRow) -> None:
    """Refused when a network of the study has an operator that the table says nothing of."""
    rng = Generator(Philox(key=study.seed))
    for _ in range(TRIED):
        try:
            _, chains = drawn(study.task, study.space, study.space.sample(rng), rng)
        except SpaceError:
            continue
        try:
            predictor.ms(occurrences(chains, len(chains) - 1))
        except SpaceError as error:
            profiled = row.profile["study"] if row.profile else "?"
            raise Refused(f"device {row.name!r} was profiled for study {profiled!r}: {error}") from None


def taken(row: DeviceRow) -> dict[str, Any]:
    """What a study keeps of a device's profile: enough to predict, and to fit again with what its front costs."""
    profile = row.profile or {}
    return {
        "device": row.name, "at": profile["at"], "facts": dict(profile["facts"]), "quality": dict(profile["quality"]),
        "measured": [*profile["architectures"], *profile.get("front", ())], "predictor": profile["predictor"],
    }  # fmt: skip
