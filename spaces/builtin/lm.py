"""The built-in task `lm`: a small character language model whose layers can be skipped (`spaces.transformers`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from spaces.builtin.base import BuiltIn, Description, Nested, Options
from spaces.builtin.classify import check_buildable, check_schedules
from spaces.chains import Segments
from spaces.errors import SpaceError
from spaces.forms import Form
from spaces.formulas import TRAIN_S
from spaces.problems import Path as KeyPath
from spaces.problems import Problems
from spaces.space import Space
from spaces.texts import text_path
from spaces.training_checks import check_training
from spaces.transformers import DEFAULTS, SHAPE, transformer, warm

METRICS: tuple[str, ...] = (
    "val_loss", "val_error", "train_loss", "latency_ms", "latency_p95_ms", "params", "macs", "bytes", TRAIN_S,
)  # fmt: skip
"""Loss in nats a character, error in % of the next characters, latency in ms a decoded character."""
SCHEDULES = ("batch_size", "optimizer")
CONTEXT = 64
UPDATES = 50


class LmForm(Form):
    """Options of the task. `updates`: optimizer steps in one step; `context`: characters that a prediction sees."""

    text: str = "python-help"
    context: Annotated[int, Field(ge=8, le=1024)] = CONTEXT
    updates: Annotated[int, Field(ge=1)] = UPDATES
    time_limit_s: Annotated[float, Field(gt=0)] | None = None


def read_text(form: Form, at: KeyPath, problems: Problems, base: Path | None) -> dict[str, Any] | None:
    """The options, the text's path made absolute."""
    out = form.model_dump(exclude_none=True)
    try:
        return out | {"text": text_path(str(out["text"]), base)}
    except SpaceError as error:
        problems.add((*at, "text"), str(error))
        return None


def describe(options: Options, nested: Nested) -> Description:
    """Parameters, bytes, the MACs of a token through all layers; a signature for every number of layers."""
    said = tuple(nested.get(name) for name in SHAPE)
    if any(isinstance(value, list | dict) for value in said):
        raise SpaceError(f"{', '.join(SHAPE)} are one number each for the whole network: take repeat or options away")
    found = _describe(said, int(options.get("context", CONTEXT)))
    if warm(nested) > len(found.prefixes):
        raise SpaceError(
            f"warm = {warm(nested)} layers always run, but there are {len(found.prefixes)}: lower warm or raise depth"
        )
    return found


@lru_cache(maxsize=8192, typed=True)
def _describe(said: tuple[Any, ...], context: int) -> Description:
    net = transformer({n: v for n, v in zip(SHAPE, said, strict=True) if v is not None}, context)
    prefixes = tuple(net.signature(k) for k in range(1, net.depth + 1))
    exact = {"params": float(net.params), "macs": float(net.macs(net.depth)), "bytes": float(net.bytes)}
    return Description(MappingProxyType(exact), prefixes[-1], prefixes)


def operators(options: Options, nested: Nested) -> Segments:
    """The operators of a decoded character by number of layers."""
    describe(options, nested)
    return transformer(nested, int(options.get("context", CONTEXT))).chains()


def check(space: Space, options: Options, problems: Problems, typed: bool) -> None:
    """What every trial would refuse."""
    check_training(space, problems, typed=typed)
    if check_schedules(space, SCHEDULES, problems):
        check_buildable(LM, space, options, problems)


LM = BuiltIn(
    name="lm", form=LmForm, metrics=METRICS, reads=tuple(DEFAULTS), describe=describe, schedules=SCHEDULES,
    architecture=SHAPE, exact=("params", "macs", "bytes"), options=read_text, operators=operators,
    check=check,
)  # fmt: skip
