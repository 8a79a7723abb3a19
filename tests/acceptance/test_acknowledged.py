"""A slot whose broker is away just when it acknowledges a job takes the next one all the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from searchd.wire import Begun
from tests.support.broker import Broker
from tests.support.fleet import Fleet, until
from tests.support.proxy import LossyProxy

pytestmark = pytest.mark.acceptance


def test_a_lost_acknowledgement_stops_no_slot(own_broker: Broker, tmp_path: Path) -> None:
    """The answers to a job's acknowledgement are lost, each with its connection, until the slot gives up: it connects
    anew, drops the message that comes again, and runs the next job, in the same process."""
    with LossyProxy(own_broker.socket) as proxy:
        way: Any = SimpleNamespace(url=f"unix://{proxy.path}", client=own_broker.client)
        with Fleet(way, tmp_path) as fleet:
            slot = fleet.ready().pid
            first = fleet.send(fleet.job(until=20))
            fleet.report(first)

            def given_up() -> bool:
                said = fleet.log.read_text()
                return "not acknowledged" in said or "Couldn't ack" in said

            proxy.for_good = True
            proxy.lose_answer_to = b"ZREM"  # of the index of messages that are not acknowledged
            until(given_up, "an acknowledgement fails")
            proxy.lose_answer_to = None
            second = fleet.send(fleet.job())
            assert fleet.ended(second).outcome == "finished"
            assert fleet.ended(first).outcome == "finished"
            assert len([m for m in fleet.messages(first.id) if isinstance(m, Begun)]) == 1
            assert fleet.ready().pid == slot
