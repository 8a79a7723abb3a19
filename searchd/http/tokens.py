"""The routes of bearer tokens: `/v1/tokens`, for `admin` only; and `/v1/me`, who asks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from searchd.http import models as m
from searchd.http.parts import ERRORS, Here, Me
from searchd.store.base import TokenRow

tokens = APIRouter(prefix="/v1", tags=["tokens"], responses=ERRORS)


def _shown(row: TokenRow, now: float) -> dict[str, Any]:
    over = row.expires_at is not None and row.expires_at <= now
    return {"name": row.name, "scope": row.scope, "created": row.created_at, "expires": row.expires_at, "expired": over}


@tokens.get("/me", summary="whose token this is, and how far it reaches", response_model=m.Me)
def me(caller: Me) -> dict[str, str]:
    return {"name": caller.name, "scope": caller.scope}


@tokens.get("/tokens", summary="every token but the daemon's own; never a secret", response_model=list[m.Token])
def listed(parts: Here) -> list[dict[str, Any]]:
    return [_shown(row, parts.now()) for row in parts.keys.listed()]


@tokens.post("/tokens", status_code=201, summary="a new token, its secret this once", response_model=m.NewToken)
def add(body: m.AddTokenBody, parts: Here) -> dict[str, Any]:
    row, secret = parts.keys.add(body.name, body.scope, body.expires_s, parts.now())
    return {**_shown(row, parts.now()), "token": secret}


@tokens.delete("/tokens/{name}", summary="the token is none from now on")
def remove(name: str, parts: Here) -> dict[str, str]:
    parts.keys.remove(name)
    return {"removed": name}
