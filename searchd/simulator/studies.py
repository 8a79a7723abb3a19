"""A study with another pair of algorithms: what `simulate` and its command compare."""

from __future__ import annotations

from searchd.errors import SearchdError
from searchd.search.algorithms import COMMON, SCHEDULERS, SEARCHERS, check_options
from spaces.study import Study, check_pair
from spaces.suggest import did_you_mean


def with_pair(
    study: Study, *, scheduler: str | None = None, searcher: str | None = None, suggested: bool = False
) -> Study:
    """The study under another scheduler or searcher, by name. Options and brackets that the new pair does not take
    are left out; SearchdError for a name that there is not, StudyError for two that do not go together. `suggested`:
    by a searcher of the caller's, so that the study's does not matter."""
    if scheduler is None and searcher is None:
        return study
    for what, name, table in (("scheduler", scheduler, SCHEDULERS), ("searcher", searcher, SEARCHERS)):
        if name is not None and name not in table:
            raise SearchdError(f"there is no {what} {name!r}: {did_you_mean(name, table)}")
    search = study.search
    row = SCHEDULERS[scheduler or search.scheduler]
    takes = {*COMMON, *row.options, *SEARCHERS[searcher or search.searcher].options}
    changed = search.model_copy(
        update={
            "scheduler": scheduler or search.scheduler,
            "searcher": searcher or search.searcher,
            "brackets": search.brackets if row.brackets else None,
            "options": {name: value for name, value in search.options.items() if name in takes},
        }
    )
    check_options(changed)
    found = study.model_copy(update={"search": changed})
    if not suggested:
        check_pair(found)
    return found


def ends(study: Study) -> bool:
    """Whether a run of the study comes to an end by itself."""
    budget = study.budget
    return study.search.scheduler in ("hyperband", "acband", "pbt") or not (
        budget.trials is None and budget.hours is None and budget.steps is None
    )


def undescribed(study: Study) -> Study:
    """The study without describe jobs, for a world that says every metric with its steps."""
    return study.model_copy(update={"task": study.task.model_copy(update={"describe": ()})})
