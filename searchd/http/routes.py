"""The routes: reads are views over the store, changes are commands to the daemon. A study is named by id or name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from searchd import views
from searchd.deepen import deepening as price
from searchd.errors import NotFound, Refused
from searchd.garbage import collect, garbage
from searchd.http import models as m
from searchd.http.parts import ERRORS, Here, Parts
from searchd.http.stream import server_sent_events
from searchd.lookup import find
from searchd.storage import open_storage, remote
from searchd.store.base import Reader, StudyRow
from searchd.views.plain import plain
from spaces.study import Study

MAX_BODY = 1 << 20
SERVED = ("trials/", "report.html", "front.csv", "front.png")
"""What `/files` hands out of a study's folder: never its database, its broker or the daemon's token."""


health = APIRouter(tags=["health"])
v1 = APIRouter(prefix="/v1", tags=["studies"], responses=ERRORS)


@contextmanager
def _reading(parts: Parts, study: str) -> Iterator[tuple[Reader, StudyRow]]:
    with parts.store.reading() as reader:
        yield reader, find(reader, study)


def _id(parts: Parts, study: str) -> str:
    with _reading(parts, study) as (_, row):
        return row.id


def _done(parts: Parts, study: str) -> dict[str, Any]:
    with _reading(parts, study) as (_, row):
        return {"id": row.id, "status": row.status}


# ---------------------------------------------------------------- health
@health.get("/healthz", summary="the process is alive")
def healthz() -> m.Health:
    from searchd import __version__

    return m.Health(ok=True, version=__version__, pid=os.getpid())


@health.get("/readyz", summary="the store answers", responses={503: {"model": m.ErrorModel}})
def readyz(parts: Here) -> m.Health:
    with parts.store.reading() as reader:
        reader.studies()
    return healthz()


# ---------------------------------------------------------------- studies
@v1.post("/studies", status_code=201, summary="submit a study, as JSON or as a YAML file")
async def submit(request: Request, parts: Here) -> m.Submitted:
    body = await _body(request)
    if "yaml" in request.headers.get("content-type", ""):
        study, artifacts = Study.loads(body), None
    else:
        try:
            given = m.SubmitBody.model_validate_json(body)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        study, artifacts = Study.parse(given.spec), _below(given.artifacts)
    identity = await run_in_threadpool(parts.commands.submit, study.dump(), artifacts)
    return m.Submitted(id=identity, name=study.name)


def _below(artifacts: str | None) -> str | None:
    """The folder as it was given, when it stays below the daemon's artifact root."""
    if artifacts is not None and (Path(artifacts).is_absolute() or ".." in Path(artifacts).parts):
        raise Refused(f"artifacts {artifacts!r} leaves the daemon's artifact root; give a folder below it")
    return artifacts


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Refused(f"a study of more than {MAX_BODY >> 20} MiB is refused; data belongs in files, not in it")
    return body


@v1.get("/studies", summary="every study at a glance, newest first", response_model=list[m.Summary])
def studies(parts: Here) -> list[dict[str, Any]]:
    with parts.store.reading() as reader:
        rows = sorted(reader.studies(), key=lambda r: r.created_at, reverse=True)
        return [views.summary(reader, row.id, parts.now()) for row in rows]


@v1.get("/studies/{study}", summary="one study at a glance", response_model=m.Summary)
def show(study: str, parts: Here) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return views.summary(reader, row.id, parts.now())


@v1.get("/studies/{study}/spec", summary="the study file, defaults written out")
def spec(study: str, parts: Here) -> dict[str, Any]:
    with _reading(parts, study) as (_, row):
        return dict(row.spec)


@v1.get("/studies/{study}/front", summary="points that no other dominates", response_model=list[m.FrontPoint])
def front(study: str, parts: Here) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.front(reader, row.id)


@v1.get("/studies/{study}/trials", response_model=list[m.TrialModel])
def trials(study: str, parts: Here) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.trials(reader, row.id)


@v1.get("/studies/{study}/trials/{n}", summary="a trial's whole life", response_model=m.TrialDetail)
def trial(study: str, n: int, parts: Here) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return views.trial(reader, row.id, n)


@v1.get("/studies/{study}/curves", summary="a metric over steps, by trial", response_model=list[m.CurvePoint])
def curves(study: str, parts: Here, metric: str | None = None) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.curves(reader, row.id, metric or Study.parse(dict(row.spec)).objectives[0].name)


@v1.get("/studies/{study}/rungs", summary="who stands on which rung", response_model=list[m.Rung])
def rungs(study: str, parts: Here) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.rungs(reader, row.id)


@v1.get("/studies/{study}/compare", summary="the options of a choice side by side", response_model=m.Comparison)
def compare(
    study: str, parameter: str, parts: Here, metric: str | None = None, step: int | None = None
) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return views.compare(reader, row.id, parameter, metric, step)


@v1.get("/studies/{study}/log", summary="the decision log, a line an event", response_model=list[m.LogEntry])
def log(study: str, parts: Here, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.log(reader, row.id, after, limit)


@v1.get(
    "/studies/{study}/events",
    summary="the log as a feed: JSON, or server-sent events with `Accept: text/event-stream`",
    response_model=list[m.LogEntry],
    responses={200: {"content": {"text/event-stream": {}}}},
)
def events(study: str, request: Request, parts: Here, after: int = 0, limit: int | None = None) -> Any:
    if "text/event-stream" not in request.headers.get("accept", ""):
        return log(study, parts, after, limit)
    last = request.headers.get("last-event-id", "")
    start = int(last) if last.isdigit() else after
    feed = server_sent_events(parts.store, _id(parts, study), start)
    return StreamingResponse(feed, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@v1.get("/studies/{study}/files/{path:path}", summary="a file of a trial, or the report", response_class=FileResponse)
def files(study: str, path: str, parts: Here) -> Response:
    with _reading(parts, study) as (_, row):
        root = row.artifacts
    if remote(root):
        return _streamed(study, root, path)
    top = Path(root).resolve()
    wanted = (top / path).resolve()
    inside = wanted.is_relative_to(top) and wanted.relative_to(top).as_posix().startswith(SERVED)
    if not inside or not wanted.is_file():
        raise _no_file(study, path)
    return FileResponse(wanted, filename=wanted.name)


def _streamed(study: str, root: str, path: str) -> Response:
    """A file of a remote storage; StorageGone (503) when it does not answer."""
    if ".." in path.split("/") or not path.startswith(SERVED):
        raise _no_file(study, path)
    try:
        pieces = open_storage(root).chunks(path)
    except FileNotFoundError:
        raise _no_file(study, path) from None
    name = quote(path.rpartition("/")[2])
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{name}"}
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)


def _no_file(study: str, path: str) -> NotFound:
    return NotFound(f"no file {path!r} in study {study!r}; `GET .../trials/N` lists the files of a trial")


# ---------------------------------------------------------------- commands
@v1.post("/studies/{study}/pause", summary="no new jobs; running ones go on", response_model=m.Done)
def pause(study: str, parts: Here) -> dict[str, Any]:
    parts.commands.pause(_id(parts, study))
    return _done(parts, study)


@v1.post("/studies/{study}/resume", response_model=m.Done)
def resume(study: str, parts: Here) -> dict[str, Any]:
    parts.commands.resume(_id(parts, study))
    return _done(parts, study)


@v1.post("/studies/{study}/stop", summary="end the search, then verify the front", response_model=m.Done)
def stop(study: str, parts: Here) -> dict[str, Any]:
    parts.commands.stop(_id(parts, study))
    return _done(parts, study)


@v1.post("/studies/{study}/trials/{n}/stop", summary="give up on one trial", response_model=m.Done)
def stop_trial(study: str, n: int, parts: Here) -> dict[str, Any]:
    parts.commands.stop_trial(_id(parts, study), n)
    return _done(parts, study)


@v1.post("/studies/{study}/inject", summary="make this config the next trial")
def inject(study: str, body: m.InjectBody, parts: Here) -> m.Injected:
    return m.Injected(trial=parts.commands.inject(_id(parts, study), body.values))


@v1.post("/studies/{study}/extend", summary="replace the budget", response_model=m.Done)
def extend(study: str, body: m.ExtendBody, parts: Here) -> dict[str, Any]:
    parts.commands.extend(_id(parts, study), body.budget)
    return _done(parts, study)


@v1.get("/studies/{study}/deepen", summary="what raising R would cost", response_model=m.Deepening)
def deepening(study: str, max_resource: int, parts: Here, trials: int | None = None) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return price(reader, row.id, max_resource, trials)


@v1.post("/studies/{study}/deepen", summary="raise R; training goes on from checkpoints", response_model=m.Done)
def deepen(study: str, body: m.DeepenBody, parts: Here) -> dict[str, Any]:
    parts.commands.deepen(_id(parts, study), body.max_resource, body.trials)
    return _done(parts, study)


@v1.post("/studies/{study}/rebase", summary="let this version decide from here on", response_model=m.Rebased)
def rebase(study: str, body: m.RebaseBody, parts: Here) -> dict[str, Any]:
    found = parts.commands.rebase(_id(parts, study), apply=body.apply)
    return {**_done(parts, study), **plain(found)}


@v1.get("/studies/{study}/gc", summary="checkpoints that can no longer be needed", response_model=m.Garbage)
def unneeded(study: str, parts: Here, final: bool = False) -> dict[str, Any]:
    return garbage(parts.store.reading, _id(parts, study), final=final).told(removed=False)


@v1.post("/studies/{study}/gc", summary="remove checkpoints that can no longer be needed", response_model=m.Garbage)
def gc(study: str, body: m.GarbageBody, parts: Here) -> dict[str, Any]:
    found = garbage(parts.store.reading, _id(parts, study), final=body.final)
    collect(found)
    return found.told(removed=True)


# ---------------------------------------------------------------- workers
@v1.get("/workers", tags=["workers"], summary="every live worker slot", response_model=list[m.Worker])
def workers(parts: Here) -> list[dict[str, Any]]:
    return [w.model_dump(mode="json") for w in parts.workers()]
