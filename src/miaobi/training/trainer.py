"""The loop: step after step, looking now and then, until the run is over."""

from __future__ import annotations

import math
import time

from miaobi.errors import CorruptFile
from miaobi.training import evaluating, memory, samples
from miaobi.training.guards import COLLAPSED_SHARE
from miaobi.training.interrupts import Interrupts
from miaobi.training.meter import Meter
from miaobi.training.session import Session
from miaobi.training.state import Best
from miaobi.training.watching import Look, Watch

_LOGGED = 100
"""Log lines in a run, at least; never fewer than one every `_LONGEST` steps."""
_LEARNT = 40
"""Steps in which a model has learnt nothing yet."""
_LONGEST = 50


class Trainer:
    """Trains a session to its end.

    Args:
        session: just opened.
        watch: told of every evaluation, by the process that evaluates.
    """

    def __init__(self, session: Session, watch: Watch | None = None) -> None:
        self._session, self._watch = session, watch
        self._meter = Meter()
        self._log_every = max(1, min(_LONGEST, session.steps // _LOGGED))
        self._began = time.monotonic() - session.state.seconds
        self._saved = session.state.step if session.checkpoints.steps() else None

    def run(self) -> None:
        """Every step that is left; afterwards the last one is saved.

        Raises:
            Diverged: NaN or infinity after every rollback.
            SaveFailed: the disk is full; the last checkpoint is intact.
            KeyboardInterrupt: Ctrl-C or SIGTERM, after saving.
        """
        session = self._session
        session.reporter.start(session.state.step, session.steps)
        # The rehearsal's.
        memory.give_back()
        hoard = memory.Hoard(session.expected_memory)
        with Interrupts() as interrupts:
            if session.assembly.counts:
                self._count()
            elif self._saved is None:
                self._save()
            while not self._over():
                self._meter.add(session.assembly.step(session.state, session.steps))
                self._look()
                hoard.watch()
                if session.processes.any(interrupts.received):
                    self._leave()
        self._save()

    def _over(self) -> bool:
        session = self._session
        return session.assembly.counts or session.state.stopped is not None or session.state.step >= session.steps

    def _count(self) -> None:
        # One pass is short: an interrupted one starts again, so that nothing is counted twice.
        session = self._session
        if session.state.step == 0:
            session.assembly.count(session.state)
            # There is nothing to choose between of a model that learns nothing, and a look at a large one takes long.
            if session.assembly.family.learns:
                self._evaluate()

    def _look(self) -> None:
        """Whatever is due after a step: log, guard, evaluate, sample, save."""
        last = self._session.state.step == self._session.steps
        evaluate, sample, checkpoint = (last or self._due(name) for name in ("evaluate", "sample", "checkpoint"))
        log = evaluate or checkpoint or self._session.state.step % self._log_every == 0
        if log and not self._log():
            return
        improved = self._evaluate() if evaluate else False
        if sample and self._session.processes.writes:
            samples.write(self._session.assembly, self._session.state.step, self._session.folder.samples)
        if improved or checkpoint:
            self._save()

    def _due(self, name: str) -> bool:
        return self._session.state.step % self._session.every(name) == 0

    def _log(self) -> bool:
        """Read the meter; false where the run had to go back."""
        session, state = self._session, self._session.state
        state.seconds = time.monotonic() - self._began
        figures = self._meter.read()
        if not figures:
            return True
        for name, value in figures.items():
            if not math.isfinite(value):
                self._roll_back(name.partition(".")[0])
                return False
        for name, value in figures.items():
            phase, _, figure = name.partition(".")
            if figure == "gradient_norm" and state.guards.see_gradient(phase, value):
                session.notice(f"step {state.step}: the gradient of phase {phase} has vanished (norm {value:.1e})")
            if figure == "active_units" and state.guards.see_units(phase, value, self._is_late()):
                session.notice(
                    f"step {state.step}: the posterior has collapsed: no dimension of the latent is used; raise "
                    "free_bits, lower beta or, for sequences, raise word_dropout"
                )
        session.tracker.log(state.step, state.seconds, figures)
        session.reporter.update(state.step, next((v for k, v in figures.items() if k.endswith(".loss")), math.nan))
        return True

    def _is_late(self) -> bool:
        """Whether a model should have learnt something by now, in steps and as a share of the run."""
        return self._session.state.step > max(_LEARNT, self._session.steps // 4)

    def _roll_back(self, phase: str) -> None:
        session = self._session
        guards, failed = session.state.guards, session.state.step
        guards.roll_back(failed, phase)
        saved = session.checkpoints.latest()
        if saved is None:
            raise CorruptFile("no checkpoint is left to go back to", given=str(session.folder.checkpoints))
        session.restore(saved)
        session.checkpoints.forget_after(session.state.step)
        session.state.guards, self._saved = guards, session.state.step
        session.notice(
            f"step {failed}: NaN or infinity in phase {phase}; back to step {session.state.step} at "
            f"{guards.rate:g} times the learning rate"
        )

    def _evaluate(self) -> bool:
        """Evaluate; whether the figure is the best so far."""
        session, state = self._session, self._session.state
        # Its tensors are of other sizes than a step's.
        memory.give_back()
        found = evaluating.evaluate(session.assembly) if session.processes.writes else None
        share = samples.diversity(session.assembly) if session.processes.writes else None
        improved = self._judge(found, share)
        if found is not None:
            figures = {found.figure: found.value} | ({} if share is None else {"diversity": share})
            session.tracker.evaluation(state.step, figures)
            session.reporter.evaluated(state.step, found.figure, found.value, improved)
            self._tell(found)
        if session.processes.count > 1:
            session.state = type(state).from_json(session.processes.agree(state.to_json()))
        return bool(session.processes.agree(improved))

    def _tell(self, found: evaluating.HeldOut) -> None:
        session, state = self._session, self._session.state
        if self._watch is not None:
            said = self._watch(Look(state.step, session.steps, found.figure, found.value, found.lower))
            state.stopped = state.stopped or said

    def _judge(self, found: evaluating.HeldOut | None, share: float | None) -> bool:
        """Take an evaluation into the state; whether it is the best so far."""
        session, state = self._session, self._session.state
        if share is not None and state.guards.see_diversity(share, late=4 * state.step > session.steps):
            self._collapsed(share)
            return False
        if found is None:
            return False
        patience = session.recipe.train.early_stopping
        margin = patience.min_delta if patience else 0.0
        if math.isfinite(found.value) and (state.best is None or found.beats(state.best.value, margin)):
            state.best, state.impatience = Best(found.figure, found.value, state.step), 0
            return True
        state.impatience += 1
        if patience and state.impatience >= patience.patience:
            state.stopped = f"{found.figure} has not improved for {state.impatience} evaluations"
        return False

    def _collapsed(self, share: float) -> None:
        session, state = self._session, self._session.state
        kept = f"the best checkpoint, of step {state.best.step}, is kept" if state.best else "none was better yet"
        session.notice(
            f"step {state.step}: samples have collapsed: their diversity is {share:.1%} of the data's "
            f"(at least {COLLAPSED_SHARE:.0%} is expected); {kept}"
        )
        if state.guards.gave_up:
            state.stopped = f"samples collapsed in {state.guards.collapsed} evaluations in a row"

    def _save(self) -> None:
        session = self._session
        if self._saved == session.state.step:
            return
        session.state.seconds = time.monotonic() - self._began
        session.save()
        self._saved = session.state.step

    def _leave(self) -> None:
        session = self._session
        if not self._over() and self._log():
            self._save()
        session.reporter.say(f"interrupted at step {session.state.step}; go on with:")
        session.reporter.say(f"  miaobi train {session.whole} --resume")
        raise KeyboardInterrupt
