"""From a name and its hyperparameters to what a training loop steps: `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec

from torch.optim import Optimizer

from searchd.errors import Missing
from spaces.optimizers import FAMILIES, OPTIMIZERS, complete
from workers.optimizers.curvature import sophia
from workers.optimizers.distance import DistanceOverGradients
from workers.optimizers.filters import Hyper, filters
from workers.optimizers.frugal import Frugal
from workers.optimizers.low_bit import CLASSES, low_bit
from workers.optimizers.matrix import matrix
from workers.optimizers.mfac import Mfac
from workers.optimizers.microadam import MicroAdam
from workers.optimizers.mkor import Mkor
from workers.optimizers.norm_test import NormTest
from workers.optimizers.packed import KINDS, packed
from workers.optimizers.plain import PLAIN, plain
from workers.optimizers.roles import Flat, Group, Roles
from workers.optimizers.together import Optimizers

Made = tuple[dict[str, Optimizer], tuple[Flat, ...]]
Builder = Callable[[Roles, Hyper], Made]


def _one(make: Callable[[Roles, Hyper], Optimizer]) -> Builder:
    return lambda roles, h: ({"optimizer": make(roles, h)}, ())


def _distance(kind: str, roles: Roles, h: Hyper) -> Optimizer:
    groups = roles.groups(float(h["weight_decay"]))
    return DistanceOverGradients(groups, kind, lr=float(h["lr"]), reps=float(h["reps"]))  # type: ignore[arg-type]


def _frugal(roles: Roles, h: Hyper) -> Optimizer:
    decay = float(h["weight_decay"])
    split = [(roles.hidden, decay, True), (roles.heads, decay, False), (roles.rest, 0.0, False)]
    groups: list[Group] = [{"params": list(p), "weight_decay": d, "sparse": s} for p, d, s in split if p]
    return Frugal(
        groups, lr=float(h["lr"]), betas=(float(h["beta1"]), float(h["beta2"])), eps=float(h["eps"]),
        density=float(h["density"]), period=int(h["period"]), sign_scale=float(h["sign_scale"]),
    )  # fmt: skip


def _mkor(roles: Roles, h: Hyper) -> Optimizer:
    decay = float(h["weight_decay"])
    split = [(roles.hidden + roles.heads, decay, True), (roles.rest, 0.0, False)]
    groups: list[Group] = [{"params": list(p), "weight_decay": d, "factored": f} for p, d, f in split if p]
    return Mkor(
        groups, lr=float(h["lr"]), momentum=float(h["momentum"]), gamma=float(h["gamma"]),
        frequency=int(h["frequency"]), stabilise=float(h["stabilise"]),
    )  # fmt: skip


def _mfac(roles: Roles, h: Hyper) -> Optimizer:
    return Mfac(
        roles.groups(float(h["weight_decay"])), lr=float(h["lr"]), momentum=float(h["momentum"]),
        window=int(h["window"]), damp=float(h["damp"]),
    )  # fmt: skip


def _microadam(roles: Roles, h: Hyper) -> Optimizer:
    return MicroAdam(
        roles.groups(float(h["weight_decay"])), lr=float(h["lr"]), betas=(float(h["beta1"]), float(h["beta2"])),
        eps=float(h["eps"]), density=float(h["density"]), window=int(h["window"]),
    )  # fmt: skip


BUILDERS: Mapping[str, Builder] = {
    **{name: _one(partial(plain, name)) for name in PLAIN},
    **{name: _one(partial(low_bit, name)) for name in CLASSES},
    **{name: _one(partial(packed, name)) for name in KINDS},
    **{name: _one(partial(_distance, name)) for name in ("dog", "ldog", "dowg")},
    **{name: partial(matrix, name) for name in ("muon", "normuon", "drop_muon")},
    "sophia": _one(sophia),
    "frugal": _one(_frugal),
    "mkor": _one(_mkor),
    "mfac": _one(_mfac),
    "microadam": _one(_microadam),
}
"""What each name of `spaces.optimizers.OPTIMIZERS` (which lists its hyperparameters too) builds."""


def build(name: str, roles: Roles, hyper: Hyper) -> Optimizers:
    """The optimizer `name` over `roles`. SpaceError for a name, a hyperparameter or a value that cannot be, Missing
    where its library is not installed."""
    said = {k: v for k, v in hyper.items() if k != "name"}
    h = complete(name, said)
    part = FAMILIES[name].part
    if part and find_spec(part) is None:
        raise Missing(f"the optimizer {name} needs {part}: pip install 'searchd[worker]', or use adamw")
    optimizers, flats = BUILDERS[name](roles, h)
    return Optimizers(
        optimizers, roles.all, flats, filters(said, h), h, second_order=name == "sophia",
        norm_test=NormTest(float(h["theta"]), int(h["max_batch"])) if "theta" in OPTIMIZERS[name] else None,
    )  # fmt: skip
