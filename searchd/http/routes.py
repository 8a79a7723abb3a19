"""The routes: reads are views over the store, changes are commands to the daemon. A study is named by id or name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from searchd import views
from searchd.deepen import deepening as price
from searchd.errors import NotFound, Problem, Refused, StudyError, TooMany
from searchd.garbage import collect, garbage
from searchd.http import models as m
from searchd.http.parts import ERRORS, Here, Me, Parts
from searchd.http.stream import Feed, server_sent_events
from searchd.lookup import find
from searchd.storage import open_storage, remote
from searchd.store.base import Reader, StudyRow
from searchd.views.plain import plain
from searchd.waiting import unserved
from spaces.study import Study

SERVED = frozenset({"report.html", "front.csv", "front.png"})
"""What `/files` hands out of a study's folder besides `trials/`: never its database, its broker or the daemon's token.
"""
ENDED = frozenset({"done", "stopped", "faulted"})
SUBMITTED = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": m.SubmitBody.model_json_schema()},
                    "text/yaml": {"schema": {"type": "string", "description": "a study file"}}},
    }
}  # fmt: skip
Count = Annotated[int, Query(ge=0, le=2**53)]
Trial = Annotated[int, PathParameter(ge=0, le=2**53)]


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


# ---------------------------------------------------------------- studies
@v1.post("/studies", status_code=201, summary="submit a study, as JSON or as a YAML file", openapi_extra=SUBMITTED)
async def submit(request: Request, parts: Here) -> m.Submitted:
    body = await request.body()
    if "yaml" in request.headers.get("content-type", ""):
        study, artifacts = Study.loads(body), None
    else:
        try:
            given = m.SubmitBody.model_validate_json(body)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                why = str(error.errors()[0]["msg"])
                raise StudyError([Problem("", f"the body is no JSON ({why}); a study file in YAML is taken with the "
                                              "header `Content-Type: text/yaml`")]) from None  # fmt: skip
            raise RequestValidationError(error.errors()) from error
        study, artifacts = Study.parse(given.spec), _below(given.artifacts)
    await run_in_threadpool(_room, parts)
    identity = await run_in_threadpool(parts.commands.submit, study.dump(), artifacts)
    lacks = unserved(study.device, study.needs, parts.workers())
    return m.Submitted(id=identity, name=study.name, waits=lacks)


def _below(artifacts: str | None) -> str | None:
    """The folder as it was given, when it stays below the daemon's artifact root."""
    if artifacts is not None and (Path(artifacts).is_absolute() or ".." in Path(artifacts).parts):
        raise Refused(f"artifacts {artifacts!r} leaves the daemon's artifact root; give a folder below it")
    return artifacts


def _room(parts: Parts) -> None:
    """TooMany when as many studies as the daemon takes have not ended."""
    with parts.store.reading() as reader:
        live = sum(row.status not in ENDED for row in reader.studies())
    if live >= parts.limits.studies:
        raise TooMany(f"{live} studies have not ended, and this daemon takes {parts.limits.studies} at a time: "
                      "wait for one, or stop one", retry_s=60.0)  # fmt: skip


@v1.get("/studies", summary="every study at a glance, newest first", response_model=list[m.Summary])
def studies(parts: Here) -> list[dict[str, Any]]:
    with parts.store.reading() as reader:
        rows = sorted(reader.studies(), key=lambda r: r.created_at, reverse=True)
        return [_summary(parts, reader, row) for row in rows]


def _summary(parts: Parts, reader: Reader, row: StudyRow) -> dict[str, Any]:
    """With why it waits at this moment, rather than what was noted last."""
    return {**views.summary(reader, row.id, parts.now()), "waits": views.waits(reader, row, parts.waits(),
                                                                               parts.workers())}  # fmt: skip


@v1.get("/studies/{study}", summary="one study at a glance", response_model=m.Summary)
def show(study: str, parts: Here) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return _summary(parts, reader, row)


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
def trial(study: str, n: Trial, parts: Here) -> dict[str, Any]:
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
    study: str, parameter: str, parts: Here, metric: str | None = None, step: Count | None = None
) -> dict[str, Any]:
    with _reading(parts, study) as (reader, row):
        return views.compare(reader, row.id, parameter, metric, step)


@v1.get("/studies/{study}/log", summary="the decision log, a line an event", response_model=list[m.LogEntry])
def log(study: str, parts: Here, after: Count = 0, limit: Count | None = None) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.log(reader, row.id, after, limit)


@v1.get(
    "/studies/{study}/events",
    summary="the log as a feed: JSON, or server-sent events with `Accept: text/event-stream`",
    response_model=list[m.LogEntry],
    responses={200: {"content": {"text/event-stream": {}}}},
)
def events(study: str, request: Request, parts: Here, me: Me, after: Count = 0, limit: Count | None = None) -> Any:
    if "text/event-stream" not in request.headers.get("accept", ""):
        return log(study, parts, after, limit)
    last = request.headers.get("last-event-id", "")
    start = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after
    identity = _id(parts, study)
    leave = parts.feeds.enter(me.name)
    entries = server_sent_events(parts.store, identity, start, lambda: parts.keys.still(me, parts.now()))
    return Feed(entries, leave)


@v1.get("/studies/{study}/files/{path:path}", summary="a file of a trial, or the report", response_class=FileResponse)
def files(study: str, path: str, parts: Here) -> Response:
    with _reading(parts, study) as (_, row):
        root = row.artifacts
    if remote(root):
        return _streamed(study, root, path)
    wanted = _file(Path(root), path)
    if wanted is None:
        raise _no_file(study, path)
    return FileResponse(wanted, filename=wanted.name)


def _file(folder: Path, path: str) -> Path | None:
    """The file of a study that this path names, links followed; None when there is none, or it lies elsewhere."""
    try:
        root = folder.resolve()
        wanted = (root / path).resolve()
        inside = wanted.is_relative_to(root) and wanted.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a loop of links
        return None
    parts = wanted.relative_to(root).parts if inside else ()
    trial, whole = len(parts) > 1 and parts[0] == "trials", len(parts) == 1 and parts[0] in SERVED
    return wanted if trial or whole else None


def _streamed(study: str, root: str, path: str) -> Response:
    """A file of a remote storage; StorageGone (503) when it does not answer."""
    steps = path.split("/")
    if {"", ".", ".."}.intersection(steps) or not ((len(steps) > 1 and steps[0] == "trials") or path in SERVED):
        raise _no_file(study, path)
    try:
        pieces = open_storage(root).chunks(path)
    except (FileNotFoundError, ValueError):
        raise _no_file(study, path) from None
    name = quote(steps[-1])
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
def stop_trial(study: str, n: Trial, parts: Here) -> dict[str, Any]:
    parts.commands.stop_trial(_id(parts, study), n)
    return _done(parts, study)


@v1.post("/studies/{study}/inject", summary="make this config the next trial")
def inject(study: str, body: m.InjectBody, parts: Here) -> m.Injected:
    return m.Injected(trial=parts.commands.inject(_id(parts, study), body.values))


@v1.post("/studies/{study}/extend", summary="replace the budget", response_model=m.Done)
def extend(study: str, body: m.ExtendBody, parts: Here) -> dict[str, Any]:
    parts.commands.extend(_id(parts, study), body.budget)
    return _done(parts, study)


@v1.post("/studies/{study}/priority", summary="its weight where studies share slots", response_model=m.Done)
def prioritize(study: str, body: m.PriorityBody, parts: Here) -> dict[str, Any]:
    parts.commands.prioritize(_id(parts, study), body.priority)
    return _done(parts, study)


@v1.get("/studies/{study}/trials/{n}/logs", summary="what its jobs printed, attempt by attempt",
        response_model=list[m.Captured])  # fmt: skip
def logs(study: str, n: int, parts: Here) -> list[dict[str, Any]]:
    with _reading(parts, study) as (reader, row):
        return views.captured(reader, row.id, n)


@v1.get("/studies/{study}/deepen", summary="what raising R would cost", response_model=m.Deepening)
def deepening(study: str, max_resource: Count, parts: Here, trials: Count | None = None) -> dict[str, Any]:
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
@v1.get("/workers", tags=["workers"], summary="every live worker slot and what it does", response_model=list[m.Worker])
def workers(parts: Here) -> list[dict[str, Any]]:
    with parts.store.reading() as reader:
        return views.working(reader, parts.workers())
