"""The memory of a sweep: an Optuna study in .work/sweeps/NAME, which says what to try next and what came out.

A trial that was stopped, killed or failed is run again, under its name, by the next command; a finished one never.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from flows.space import Space, Values
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Plan:
    """What a sweep was asked for, and the files it was asked for on."""

    space: Space
    targets: Sequence[str] = ()
    trials: int = 0
    metric: str = ""
    maximise: bool = False
    baseline: str = ""
    tree: str = ""

    def plain(self) -> dict[str, Any]:
        """The plan as JSON holds it."""
        return {**vars(self), "space": self.space.plain(), "targets": list(self.targets)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Plan:
        """The plan that `plain` gave."""
        return cls(**{**plain, "space": Space.of(plain["space"])})

    @property
    def fixed(self) -> dict[str, Any]:
        """What may not change when a sweep goes on: all but the number of trials and the values of a grid."""
        plain = self.plain()
        return {**plain, "trials": 0, "space": {**plain["space"], "grid": sorted(self.space.grid)}}


@dataclass
class Row:
    """One trial as the table shows it; `value` is its metric, `why` a failure's last lines."""

    name: str
    values: Values
    state: str
    value: float | None = None
    seconds: float = 0.0
    why: str = ""


@dataclass
class Asked:
    """A trial to run now."""

    name: str
    values: Values
    number: int = field(repr=False)


def stored(folder: Path, name: str) -> optuna.Study | None:
    """The study of a sweep that began before."""
    file = folder / "study.db"
    return optuna.load_study(study_name=name, storage=_address(file)) if file.exists() else None


def planned(study: optuna.Study) -> Plan:
    """What a sweep that began before was asked for."""
    return Plan.of(study.user_attrs["plan"])


class Study:
    """A sweep that goes on, or a new one."""

    def __init__(self, folder: Path, name: str, plan: Plan) -> None:
        """Refuses to go on with a sweep that was asked for otherwise or on other files."""
        self.name, self.plan = name, plan
        if found := stored(folder, name):
            _same(name, planned(found), plan)
        folder.mkdir(parents=True, exist_ok=True)
        direction = "maximize" if plan.maximise else "minimize"
        self.study = found or optuna.create_study(
            study_name=name, storage=_address(folder / "study.db"), direction=direction
        )
        self.study.set_user_attr("plan", plan.plain())
        self.again = deque(trial for trial in self._latest().values() if trial.state is not TrialState.COMPLETE)

    @property
    def run_id(self) -> str:
        """The MLflow run of the sweep; empty before it has one."""
        return str(self.study.user_attrs.get("mlflow", ""))

    def note_run(self, run_id: str) -> None:
        """Keep the MLflow run of the sweep, for when it goes on."""
        self.study.set_user_attr("mlflow", run_id)

    def _latest(self) -> dict[str, FrozenTrial]:
        """The last try of each trial by its name; what was killed before it had values does not count."""
        trials = self.study.get_trials(deepcopy=False)
        return {trial.user_attrs["name"]: trial for trial in trials if "name" in trial.user_attrs}

    @property
    def total(self) -> int:
        """How many trials there are when all have ended."""
        known = len(self._latest())
        return known + len(self._untried()) if self.plan.space.grid else max(known, self.plan.trials)

    def _untried(self) -> list[Values]:
        """Points of the grid that no trial had yet."""
        tried = [trial.user_attrs["values"] for trial in self._latest().values()]
        return [point for point in self.plan.space.combinations() if point not in tried]

    def next(self) -> Asked | None:
        """The next trial to run, None when there is none: first those to be run again, then new ones."""
        if self.again:
            return self._again(self.again.popleft())
        known = self._latest()
        name = f"{self.name}-{len(known) + 1}"
        if self.plan.space.grid:
            points = self._untried()
            return self._note(self.study.ask(), name, points[0]) if points else None
        if len(known) >= self.plan.trials:
            return None
        # Seeded by its place, so that a sweep which was stopped goes on as one that was not.
        self.study.sampler = _sampler(len(known))
        trial = self.study.ask()
        return self._note(trial, name, self.plan.space.draw(trial))

    def _again(self, before: FrozenTrial) -> Asked:
        """A killed trial is still open in the study; a failed one gets another try."""
        name, values = before.user_attrs["name"], before.user_attrs["values"]
        if before.state is TrialState.RUNNING:
            return Asked(name, values, before.number)
        self.study.enqueue_trial(before.params)
        trial = self.study.ask()
        if not self.plan.space.grid:
            self.plan.space.draw(trial)
        return self._note(trial, name, values)

    def _note(self, trial: Trial, name: str, values: Values) -> Asked:
        trial.set_user_attr("values", values)
        trial.set_user_attr("name", name)
        return Asked(name, values, trial.number)

    def finished(self, asked: Asked, value: float | None, seconds: float) -> None:
        """Note what came out. Optuna wants a value, also where a grid was asked for without a metric."""
        self._attribute(asked, "seconds", seconds)
        self.study.tell(asked.number, 0.0 if value is None else value)

    def failed(self, asked: Asked, why: str, seconds: float) -> None:
        """Note a failure and its last lines."""
        self._attribute(asked, "seconds", seconds)
        self._attribute(asked, "why", why)
        self.study.tell(asked.number, state=TrialState.FAIL)

    def _attribute(self, asked: Asked, key: str, value: Any) -> None:
        number = self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, asked.number)
        self.study._storage.set_trial_user_attr(number, key, value)

    def rows(self) -> list[Row]:
        """Every trial so far."""
        return [self._row(name, trial) for name, trial in self._latest().items()]

    def _row(self, name: str, trial: FrozenTrial) -> Row:
        said = trial.user_attrs
        states = {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed"}
        value = trial.value if self.plan.metric else None
        return Row(
            name,
            said["values"],
            states.get(trial.state, "stopped"),
            value,
            said.get("seconds", 0.0),
            said.get("why", ""),
        )

    def best(self) -> Row | None:
        """The finished trial with the best metric, the first of equals; None without any."""
        rows = [row for row in self.rows() if row.state == "finished" and row.value is not None]
        sign = -1 if self.plan.maximise else 1
        return min(rows, key=lambda row: sign * (row.value or 0.0), default=None)


def _sampler(place: int) -> optuna.samplers.BaseSampler:
    """Optuna's standard sampler. It is told to keep away from what runs beside, which Optuna calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=place, constant_liar=True)


def _address(file: Path) -> str:
    return f"sqlite:///{file}"


def _same(name: str, before: Plan, now: Plan) -> None:
    if (before.baseline, before.tree) != (now.baseline, now.tree):
        raise UserError(
            f"--name {name}: began on other files (commit {before.baseline[:7]} and what was changed then); bring them "
            "back, or take another name"
        )
    if before.fixed != now.fixed:
        raise UserError(f"--name {name}: was asked for with other keys, ranges, targets or metric; take another name")
