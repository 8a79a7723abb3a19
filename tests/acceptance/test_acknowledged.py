"""A slot whose broker is away just when it acknowledges a job takes the next one all the same."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from searchd.wire import Begun
from tests.support.broker import Broker
from tests.support.fleet import Fleet, until
from tests.support.proxy import LossyProxy

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("away_s", [0.0, 3.0])
def test_a_lost_acknowledgement_stops_no_slot(own_broker: Broker, tmp_path: Path, away_s: float) -> None:
    """The broker goes just then, and comes back at once or later: the slot connects anew, drops the message that comes
    again, and runs the next job, in the same process."""
    with LossyProxy(own_broker.socket) as proxy:
        way: Any = SimpleNamespace(url=f"unix://{proxy.path}", client=own_broker.client)
        with Fleet(way, tmp_path) as fleet:
            slot = fleet.ready().pid
            first = fleet.send(fleet.job(until=20))
            fleet.report(first)

            def given_up() -> bool:
                said = fleet.log.read_text()
                return "Connection to broker lost" in said or "Couldn't ack" in said

            proxy.for_good = True
            proxy.lose_answer_to = b"ZREM"  # of the index of messages that are not acknowledged
            if away_s:
                until(lambda: proxy.lost, "an acknowledgement is sent")
                own_broker.kill()
                time.sleep(away_s)
                own_broker.start()
            else:
                until(given_up, "an acknowledgement fails")
            proxy.lose_answer_to = None
            second = fleet.send(fleet.job())
            assert fleet.ended(second).outcome == "finished"
            assert fleet.ended(first).outcome == "finished"
            assert len([m for m in fleet.messages(first.id) if isinstance(m, Begun)]) == 1
            assert fleet.ready().pid == slot
