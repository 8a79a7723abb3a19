"""A server of the S3 protocol over HTTP for tests: moto's, in a process of its own. It is the protocol with what real
clients send and get, and its objects live in memory; no other S3 server can be had from the package registries."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from types import TracebackType

import httpx

from tests.support.broker import free_port

NO_S3 = "needs moto, flask and s3fs (pip install 'searchd[dev]')"


def have_s3() -> bool:
    return all(importlib.util.find_spec(name) for name in ("moto", "flask", "flask_cors", "s3fs"))


class S3:
    """`environ` is what a process needs to reach it; `pause` makes it hang as a server that is overloaded does."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bucket = f"b{uuid.uuid4().hex[:8]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ACCESS_KEY_ID": "test-id",
            "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/prefix"

    def start(self) -> None:
        """Empty, with the bucket."""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | dict(self.environ),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/moto-api/", timeout=5)
                break
            except httpx.TransportError:
                assert self.process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not start"
                time.sleep(0.05)
        assert httpx.put(f"http://127.0.0.1:{self.port}/{self.bucket}", timeout=30).is_success

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> S3:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
