"""The trials of a study: who asks gets the next one, or one that was left behind; each is told once."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from miaobi.locks import Lock
from miaobi.sampling.noise import derive_one
from miaobi.training.tuning import journal
from miaobi.training.tuning.design import Design
from miaobi.training.tuning.study_folder import StudyFolder
from miaobi.training.watching import Look

DEFAULT = 0
"""The number of the trial that is the recipe as it is."""
UNGUIDED = 8
"""Trials that are drawn at random before the sampler follows what was found."""
_UNPRUNED = 4
"""Finished trials that there are before any is pruned."""
_TELLING = 6
"""Trials of the whole length below which importances say nothing."""
_NAME = "study"


@dataclass(frozen=True)
class Taken:
    """A trial that this process works on.

    Attributes:
        number: 0 for the recipe as it is.
        values: what it has of the space, by path; empty for the recipe as it is.
        left: whether another process had begun it.
    """

    number: int
    values: dict[str, Any]
    left: bool
    trial: Trial
    lease: Lock


class Study:
    """Opens a study that may be open elsewhere too.

    Args:
        folder: where it is.
        design: what it is of.
    """

    def __init__(self, folder: StudyFolder, design: Design) -> None:
        self.folder, self.design = folder, design
        self._distributions: dict[str, BaseDistribution] = {
            path: dimension.distribution() for path, dimension in design.space.items()
        }
        with folder.held():
            self._study = optuna.create_study(
                storage=journal.storage(folder.journal),
                study_name=_NAME,
                direction="minimize" if design.lower else "maximize",
                pruner=_pruner(design),
                load_if_exists=True,
            )

    def trials(self) -> list[FrozenTrial]:
        """Every trial begun, by number."""
        return self._study.get_trials(deepcopy=False)

    def finished(self, count: int) -> bool:
        """Whether the first ``count`` trials are."""
        trials = self.trials()[:count]
        return len(trials) == count and all(trial.state.is_finished() for trial in trials)

    def best(self) -> FrozenTrial | None:
        """The best trial that went its whole length, the first of equal ones; ``None`` where there is none."""
        found: FrozenTrial | None = None
        for trial in self.trials():
            if trial.state is TrialState.COMPLETE and (
                found is None or self.design.better(_value(trial), _value(found))
            ):
                found = trial
        return found

    def take(self, count: int) -> Taken | None:
        """A trial of the first ``count`` that nobody works on: one that was left behind, or else a new one.

        Its parameters depend on the study's seed, its number and what was known when it was begun, and stay what they
        are when it is taken up again.
        """
        with self.folder.held():
            trials = self.trials()
            for trial in trials[:count]:
                if not trial.state.is_finished() and (lease := self.folder.lease(self.folder.trial(trial.number))):
                    return self._taken(trial.number, lease, left=True)
            if len(trials) >= count:
                return None
            lease = self.folder.lease(self.folder.trial(len(trials)))
            # Held by nobody: a trial of this number has not been begun.
            return None if lease is None else self._taken(len(trials), lease, left=False)

    def report(self, taken: Taken, look: Look) -> bool:
        """Take in an evaluation; whether the trial is to be pruned, which the recipe as it is never is.

        Trials are compared at equal shares of their budgets, whatever that is in steps.
        """
        share = self.design.settings.evaluations * look.step // look.steps
        known = self._frozen(taken.number).intermediate_values
        if share not in known and not math.isnan(look.value):
            taken.trial.report(look.value, share)
        return taken.number != DEFAULT and look.step < look.steps and taken.trial.should_prune()

    def tell(self, taken: Taken, state: TrialState, value: float | None, **facts: Any) -> None:
        """Finish a trial, which this process holds."""
        for name, fact in facts.items():
            taken.trial.set_user_attr(name, fact)
        # A pruned trial keeps the last value that was reported.
        self._study.tell(taken.number, value if state is TrialState.COMPLETE else None, state)

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a trial has of the space; of the recipe as it is: nothing."""
        if trial.number == DEFAULT:
            return {}
        return {path: self.design.space[path].value(drawn) for path, drawn in trial.params.items()}

    def importances(self) -> dict[str, float]:
        """Each setting's share in what made trials good (Watanabe et al. 2023); empty where too few are whole."""
        whole = [trial for trial in self.trials() if trial.state is TrialState.COMPLETE]
        if len(whole) < _TELLING or len({_value(trial) for trial in whole}) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(optuna.importance.get_param_importances(self._study))

    def _taken(self, number: int, lease: Lock, left: bool) -> Taken:
        try:
            if not left:
                params = self._own() if number == DEFAULT else self._drawn(number)
                # One line of the journal: a trial is there with all of its parameters, or not at all.
                begun = optuna.trial.create_trial(
                    state=TrialState.RUNNING, params=params, distributions=self._distributions
                )
                self._study.add_trial(begun)
            frozen = self._frozen(number)
            return Taken(number, self.values(frozen), left, Trial(self._study, frozen._trial_id), lease)
        except BaseException:
            lease.release()
            raise

    def _own(self) -> dict[str, Any]:
        """What the recipe has itself; where that lies outside of the space, the sampler is told the nearest."""
        return {path: dimension.nearest(self.design.own[path]) for path, dimension in self.design.space.items()}

    def _drawn(self, number: int) -> dict[str, Any]:
        seed = derive_one(self.design.requested.seed, "search", number) % 2**32
        random = self.design.settings.sampler == "random"
        sampler = (
            optuna.samplers.RandomSampler(seed=seed)
            if random
            else optuna.samplers.TPESampler(seed=seed, n_startup_trials=UNGUIDED, multivariate=True)
        )
        scratch = optuna.create_study(
            study_name=_NAME, direction=self._study.direction, sampler=sampler, pruner=self._study.pruner
        )
        scratch.add_trials(self.trials())
        return scratch.ask(self._distributions).params

    def _frozen(self, number: int) -> FrozenTrial:
        return self.trials()[number]


def _pruner(design: Design) -> optuna.pruners.BasePruner:
    settings = design.settings
    if settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=settings.evaluations)
    if settings.pruner == "median":
        warm = settings.evaluations // 5
        return optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED, n_warmup_steps=warm)
    return optuna.pruners.NopPruner()


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value
