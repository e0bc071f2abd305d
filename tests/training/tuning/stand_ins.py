"""A study whose trials are a sum instead of a training, so that its whole course can be known."""

import math
import os
import time

from miaobi.recipe import Recipe
from miaobi.training.result import Result
from miaobi.training.tuning.design import Design
from miaobi.training.tuning.searching import search
from miaobi.training.tuning.settings import parse_space
from miaobi.training.tuning.study import Study
from miaobi.training.tuning.study_folder import StudyFolder
from miaobi.training.watching import Look

EVALUATIONS = 5
SPACE = {
    "train.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "train.optimiser.weight_decay": [0.0, 0.5],
}
RECIPE = {
    "modality": "image",
    "data": {"source": "catalog:digits"},
    "model": {"family": "vae"},
    "train": {"learning_rate": 1e-4},
    "tune": {"space": SPACE, "evaluations": EVALUATIONS},
}


def design_of(lower=True, **tune):
    recipe = Recipe.load({**RECIPE, "tune": {**RECIPE["tune"], **tune}})
    own = {"train.learning_rate": 1e-4, "train.optimiser.weight_decay": 0.0}
    shared = {"steps": EVALUATIONS, "minutes": None}
    return Design(recipe, parse_space(recipe.tune["space"]), own, shared, "likelihood", "bits", lower)


def study_in(root, **tune):
    return Study(StudyFolder(root), design_of(**tune))


def loss(recipe):
    """Least at a learning rate of 0.01, without weight decay."""
    return (math.log10(recipe.train.learning_rate) + 2) ** 2 + recipe.train.optimiser.weight_decay


class Pretend:
    """Trains nothing: every step it writes a line to the run's ``steps.txt``, and goes on after the last one.

    Args:
        seconds: a step.
    """

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def __call__(self, recipe, run, watch):
        run.mkdir(parents=True, exist_ok=True)
        log = run / "steps.txt"
        done = log.read_text().splitlines() if log.exists() else []
        with (run / "starts.txt").open("a") as starts:
            starts.write(f"{os.getpid()} {recipe.train.learning_rate!r}\n")
        step, stopped = len(done), (done[-1].partition(" ")[2] if done else "")
        while step < EVALUATIONS and not stopped:
            time.sleep(self.seconds)
            step += 1
            value = loss(recipe) + 1 / step
            stopped = (watch(Look(step, EVALUATIONS, "bits", value, True)) if watch else None) or ""
            # Saved after it was told, like a checkpoint: a killed run tells the same again.
            with log.open("a") as stream:
                stream.write(f"{step} {stopped}\n")
        best = {"metric": "bits", "value": loss(recipe) + 1 / step, "step": step}
        return Result(run, step, best, run / "model", stopped or None)


def searched(root, count, seconds=0.0, **tune):
    """Work on the study in ``root`` until its trials are finished; what other processes are started with."""
    study = study_in(root, **tune)
    search(study, count, Pretend(seconds), lambda text: None)
    return study


def course(study):
    """Everything about the trials that may not depend on how often the search was interrupted."""
    return [
        (trial.number, trial.state, trial.value, trial.params, trial.intermediate_values) for trial in study.trials()
    ]
