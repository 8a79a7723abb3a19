"""`python -P -m workers --broker URL --slots 2`: the supervisor of this machine's slots.

It starts one process a slot, starts a slot again that died (at once, then with growing pauses), and on SIGTERM or
Ctrl-C lets every job write its checkpoint and ends all of them within seconds. Whatever dies, nothing is orphaned.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

import redis.exceptions

from searchd import lines
from searchd.errors import Refused, SearchdError, SpaceError, Unreachable
from searchd.storage import StorageGone, open_storage, remote
from spaces.labels import label
from workers.device import device
from workers.kept import KEEP_MB
from workers.tether import adopt_orphans, end_orphans
from workers.uplink import connect

log = logging.getLogger("searchd.worker")

LOOK_S = 0.1
CALM_S = 20.0
"""A slot that lived this long starts again at once."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
ASKED = frozenset({0, -signal.SIGTERM, -signal.SIGKILL})
"""Ends that came from outside: no sign that the next slot would not live."""
LONGEST_ASKED_S = 1.0
BEYOND_GRACE_S = 5.0
"""What a slot gets beside its job's grace to say the end and leave, before it is killed."""


@dataclass(slots=True)
class Member:
    """One slot's process and its restarts."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause_s: float = 0.0
    due: float = 0.0


class Supervisor:
    """Keeps `slots` processes alive until `stop` is called."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._members = [Member(n) for n in range(options.slots)]
        self._stopping = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: end soon."""
        del number, frame
        self._stopping = True

    def run(self) -> None:
        """Until stopped."""
        adopt_orphans()
        self._await_broker()
        log.info("%s: %d slots for %s", self._options.name, len(self._members), self._options.device)
        while not self._stopping:
            for member in self._members:
                self._tend(member)
            time.sleep(LOOK_S)
        self._end()

    def _await_broker(self) -> None:
        """Wait for a broker that does not answer yet; one that refuses us is an error. Raises Unreachable."""
        client, told = connect(self._options.broker), False
        while not self._stopping:
            try:
                client.ping()
            except redis.exceptions.AuthenticationError as error:
                raise Unreachable(f"the broker refuses this URL's credentials: {error}") from error
            except redis.exceptions.RedisError as error:
                if "certificate verify failed" in str(error):  # that does not mend itself
                    remedy = "name the authority that signed it in the URL: …/0?ssl_ca_certs=/path/ca.pem"
                    raise Unreachable(f"the broker's certificate is not trusted here ({error}): {remedy}") from error
                if not told:
                    log.warning("the broker does not answer yet (%s); waiting for it", error)
                told = True
                time.sleep(LOOK_S)
            else:
                return

    def _tend(self, member: Member) -> None:
        now = time.monotonic()
        if member.process is not None:
            code = member.process.poll()
            if code is None:
                return
            orphans = end_orphans({m.process.pid for m in self._members if m.process is not None and m is not member})
            calm = now - member.started >= CALM_S
            longest = LONGEST_ASKED_S if code in ASKED else LONGEST_PAUSE_S
            member.pause_s = 0.0 if calm else min(longest, max(FIRST_PAUSE_S, member.pause_s * 2))
            member.due = now + member.pause_s
            member.process = None
            log.warning(
                "slot %d ended (%s)%s; starting it again in %.1f s", member.number,
                signal.Signals(-code).name if code < 0 else f"code {code}",
                f", {orphans} processes left behind ended" if orphans else "", member.pause_s,
            )  # fmt: skip
        if now >= member.due:
            self._start(member)

    def _start(self, member: Member) -> None:
        options = self._options
        settings = {
            "name": f"{options.name}-{member.number}", "device": options.device,
            "slot": 0 if options.share else member.number, "labels": dict(options.label),
            "memory_bytes": (options.memory or 0) << 20, "shared": options.share,
            "threads": options.threads, "grace_s": options.grace, "parent": os.getpid(),
            "child": {"allow": options.allow, "path": options.path, "artifacts": options.artifacts,
                      "keep_mb": options.keep_mb},
        }  # fmt: skip
        member.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.app", json.dumps(settings)],
            stdin=subprocess.DEVNULL, start_new_session=True, env=os.environ | {"SEARCHD_BROKER": options.broker},
        )  # fmt: skip
        member.started = time.monotonic()

    def _end(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not leave in time, and to whatever they leave behind."""
        living = [m.process for m in self._members if m.process is not None and m.process.poll() is None]
        for process in living:
            process.terminate()
        deadline = time.monotonic() + self._options.grace + BEYOND_GRACE_S
        for process in living:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("a slot (pid %d) did not end in time; killed", process.pid)
                process.kill()
                process.wait()
        end_orphans(set())


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -P -m workers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--broker", default=os.environ.get("SEARCHD_BROKER"),
                        help="redis://… or unix:///… [$SEARCHD_BROKER]")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda (slot n takes accelerator n) or cuda:N [cpu]")
    parser.add_argument("--slots", type=int, default=1, help="jobs at a time [1]")
    parser.add_argument("--threads", type=int, help="threads of a job [1 on a CPU]")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}", help="unique; slots are NAME-0, …")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME",
                        help="what it may run: pkg.module:name, pkg.*, command, command:PROGRAM")  # fmt: skip
    parser.add_argument("--path", action="append", default=[], metavar="DIR", help="where users' code lies")
    parser.add_argument("--artifacts", metavar="DIR", default=os.environ.get("SEARCHD_ARTIFACTS"),
                        help="the only folder or URL that jobs may write in [$SEARCHD_ARTIFACTS]")  # fmt: skip
    parser.add_argument("--label", action="append", default=[], type=_label, metavar="KEY=VALUE",
                        help="what studies may need (again for more)")  # fmt: skip
    parser.add_argument("--share", action="store_true",
                        help="all slots are on one device: jobs begin where their memory fits beside the others'")
    parser.add_argument("--memory", type=int, metavar="MB",
                        help="what a job may hold on a CPU, all together with --share [what there is]")  # fmt: skip
    parser.add_argument("--keep-mb", type=int, default=KEEP_MB, metavar="MB",
                        help=f"memory of a slot for checkpoints of trials that may go on here [{KEEP_MB}]")  # fmt: skip
    parser.add_argument("--grace", type=float, default=5.0, metavar="S", help="for a last checkpoint at SIGTERM [5]")
    parser.add_argument("--log-format", choices=["text", "json"], help="[SEARCHD_LOG_FORMAT, else text]")
    options = parser.parse_args(argv)
    if not options.broker:
        parser.error("no broker: give --broker URL or set SEARCHD_BROKER")
    if options.slots < 1:
        parser.error(f"--slots {options.slots}: a worker needs at least 1")
    if options.memory is not None and options.memory < 1:
        parser.error(f"--memory {options.memory}: give MiB, at least 1")
    return options


def _label(said: str) -> tuple[str, str]:
    try:
        return label(said)
    except SpaceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _writable(root: str) -> None:
    """Refused when no job could write its files there: better now than in every trial. A remote storage that does not
    answer yet may do so by then."""
    storage = open_storage(root)
    try:
        storage.probe()
    except StorageGone as error:
        if remote(root):
            log.warning("%s; jobs will wait for it", error)
            return
        raise Refused(f"cannot write in the folder of artifacts: {error}. Mount it, change its permissions, or give "
                      "another --artifacts, the daemon's") from None  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended as asked, 2 bad usage, 4 the broker refuses us."""
    options = parse(argv)
    if options.log_format:
        os.environ["SEARCHD_LOG_FORMAT"] = options.log_format  # slots and children too
    lines.set_up()
    try:
        device(options.device)
        if options.artifacts:
            _writable(options.artifacts)
        supervisor = Supervisor(options)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.stop)
        supervisor.run()
    except Unreachable as error:
        print(f"workers: {error}", file=sys.stderr)
        return 4
    except SearchdError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
