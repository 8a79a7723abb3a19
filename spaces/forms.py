"""The border: what a study file may say, as pydantic models. The JSON Schema for editors is generated from these."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from spaces.checks import jsonable

Goal = Literal["minimize", "maximize"]


class Form(BaseModel):
    """Strict (no text for a number), closed (an unknown key is an error)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite: give a number")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise ValueError(f"{value!r} is not a plain value: use numbers, strings, true, false or null")
    return value


Number = Annotated[int | float, AfterValidator(_finite)]
Plain = Annotated[bool | int | float | str | None, BeforeValidator(_scalar)]
Repeat = Annotated[
    int | str, Field(description="Per-layer: how many elements, a number or the name of an int parameter.")
]


class NormalForm(Form):
    """A normal prior, truncated to the range; on a log scale `sd` is in decades."""

    mean: Number
    sd: Number


class WeightsForm(Form):
    """A prior over options: one weight each, in the order of the options."""

    weights: list[Number]


class ScheduleForm(Form):
    """A parameter that changes while a trial trains: its values at these steps are searched, between them are lines."""

    piecewise: list[int]


class FloatForm(Form):
    """Real numbers in [low, high]."""

    bounds: list[Number] = Field(alias="float", min_length=2, max_length=2)
    log: bool = False
    step: Number | None = None
    prior: NormalForm | None = None
    repeat: Repeat | None = None
    schedule: ScheduleForm | None = None


class IntForm(Form):
    """Whole numbers in [low, high], ends included."""

    bounds: list[int] = Field(alias="int", min_length=2, max_length=2)
    log: bool = False
    step: int = 1
    prior: NormalForm | None = None
    repeat: Repeat | None = None
    schedule: ScheduleForm | None = None


class ChoiceForm(Form):
    """One of the options: a list of plain values, or a mapping of option to a nested space (conditional parameters)."""

    options: list[Plain] | dict[str, dict[str, Any] | None] = Field(alias="choice")
    ordered: bool = False
    prior: WeightsForm | None = None
    repeat: Repeat | None = None


class SubsetForm(Form):
    """A subset of the items, with between `min` and `max` members."""

    items: list[Plain] = Field(alias="subset")
    min: int = 0
    max: int | None = None
    repeat: Repeat | None = None


class ConstForm(Form):
    """A fixed value; a bare scalar says the same."""

    value: Any = Field(alias="const")
    repeat: Repeat | None = None


KINDS: dict[str, type[Form]] = {
    "float": FloatForm, "int": IntForm, "choice": ChoiceForm, "subset": SubsetForm, "const": ConstForm,
}  # fmt: skip


class ObjectiveForm(Form):
    """What a metric is for. A bound makes it a constraint: configs beyond it rank behind all that keep it."""

    goal: Goal
    at_most: Number | None = None
    at_least: Number | None = None
    formula: str | None = Field(default=None, description="Computed from metrics: val_error + 5 * log(train_s / 60).")


class SearchForm(Form):
    """How to search. `r`, `R`, `eta` as in the Hyperband paper, in units of `unit` (one step of training)."""

    scheduler: str = "auto"
    searcher: str = "auto"
    r: Annotated[int, Field(ge=1)] = 1
    R: Annotated[int, Field(ge=1, le=10**9)] = 27
    eta: Annotated[int, Field(ge=2)] = 3
    unit: str = "epoch"
    brackets: Annotated[int, Field(ge=1)] | None = None
    options: Annotated[dict[str, Any], AfterValidator(jsonable)] = Field(default_factory=dict)


class BudgetForm(Form):
    """When to stop asking for new trials: whichever comes first. `parallel`: jobs in flight, else one a worker slot."""

    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[Number, Field(gt=0)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    parallel: Annotated[int, Field(ge=1)] | None = None


class EarlierTrialForm(Form):
    """A trial of an earlier study: what its losses are by this study's objectives (lower is better; null: diverged)."""

    config: dict[str, Any]
    values: list[Number] | None = None
    violation: Annotated[Number, Field(ge=0)] = 0.0


class EarlierForm(Form):
    """What a name of `warm_start` stood for when the study was submitted: written by searchd, read by its search."""

    name: str
    study: str
    step: int
    trials: list[EarlierTrialForm]


class ReplayedForm(Form):
    """One training that is done again: a trial of the reproduced study, its config, and the step it is trained to.

    `begins`: from nothing, or with the weights of the one before it in the list, copied or morphed. `files`: what its
    folder gets before it begins, by name, as JSON: figures that its training rested on.
    """

    trial: Annotated[int, Field(ge=0)]
    until: Annotated[int, Field(ge=1)]
    config: dict[str, Any]
    begins: Literal["fresh", "copy", "morph"] = "fresh"
    files: Annotated[dict[str, Any], AfterValidator(jsonable)] = Field(default_factory=dict)


class ReproducedPointForm(Form):
    """An operating point of the last of them: what `selects` it, and what was `recorded` of it."""

    point: Annotated[int, Field(ge=0)]
    selects: Annotated[dict[str, Any], AfterValidator(jsonable)] = Field(default_factory=dict)
    recorded: dict[str, Number] = Field(default_factory=dict)


class ReproducesForm(Form):
    """The trials of another study that are trained again, oldest first, each with the seed that it had there."""

    study: str
    trials: list[ReplayedForm] = Field(min_length=1)
    points: list[ReproducedPointForm] = Field(default_factory=list)
    made_with: dict[str, str] = Field(default_factory=dict, description="Versions and processor of then.")


def _goal_alone(value: Any) -> Any:
    return {"goal": value} if isinstance(value, str) else value


Objective = Annotated[ObjectiveForm, BeforeValidator(_goal_alone, json_schema_input_type=Goal | ObjectiveForm)]


class StudyForm(Form):
    """One study file."""

    study: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        description="The name: lower-case letters, digits, _ and -; at most 64."
    )
    space: dict[str, Any] = Field(default_factory=dict, description="Parameters by name.")
    use: list[str] = Field(default_factory=list, description="Named library sub-spaces, merged into the space.")
    constraints: list[str] = Field(
        default_factory=list, description="Expressions over parameters, such as width * depth <= 96."
    )
    objectives: dict[str, Objective] = Field(min_length=1, description="Metrics by name, and which way is better.")
    search: SearchForm = SearchForm()
    budget: BudgetForm = BudgetForm()
    warm_start: list[str] = Field(
        default_factory=list, description="Earlier studies to learn from: names, ids, or folders of runs."
    )
    earlier: list[EarlierForm] = Field(
        default_factory=list, description="What warm_start found; written by searchd when the study is submitted."
    )
    task: str | dict[str, Any] = Field(
        default="classify", description="classify, package.module:function, or a mapping with one of these keys."
    )
    device: str = "cpu"
    needs: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Labels that a worker must have: those of `searchd worker --label KEY=VALUE`."
    )
    priority: Annotated[Number, Field(gt=0, le=1000)] = Field(
        default=1, description="The study's weight where studies share worker slots: twice the weight, twice the slots."
    )
    latency: Literal["measured", "predicted"] = Field(
        default="measured", description="What the search goes by: a measure job a shape, or the device's profile."
    )
    predictor: dict[str, Any] | None = Field(
        default=None, description="What latency: predicted found; written by searchd when the study is submitted."
    )
    runtime: Literal["onnxruntime", "torch", "torch-cuda"] | None = Field(
        default=None, description="What measures the models; if not said, what the device is registered with."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    reproduces: ReproducesForm | None = Field(
        default=None, description="Trains given trials of another study again; written by searchd beside every export."
    )
