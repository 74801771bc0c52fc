"""Deciding, crashing, retrying, promoting and rolling back in any order, and by many processes at once.

On the real registry (SQLite) and the real table (Delta). The decisions are made up; what carries them out is not.
"""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlplatform.as_of import parse_as_of
from mlplatform.errors import PlatformError, UsageError
from mlplatform.gate import decision_log, promotion, rollback
from mlplatform.gate.decision import Decision
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.ops import records
from mlplatform.reporting.decisions import champions_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import MODEL, NAMESPACE, SECOND, context, told
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import TinyFolder

AS_OF = parse_as_of("2020-08-01")
VERSIONS = 4
PROCESSES = 8


class DeathError(Exception):
    """Stands for the process's death."""


@pytest.fixture(scope="module")
def four_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed workspace whose model has four versions and no alias."""
    root = tmp_path_factory.mktemp("states") / "base"
    with LocalWorkspace.open(root=root) as ws:
        records.ensure(ws, NAMESPACE)
        client = ws.registry._connect()
        client.create_registered_model(str(MODEL))
        for _ in range(VERSIONS):
            run = client.create_run(ws.registry.experiment("/states"))
            client.create_model_version(str(MODEL), ws.registry.artifacts.as_uri(), run_id=run.info.run_id)
    return root


class GateMachine(RuleBasedStateMachine):
    """Everything that may happen to a champion, with a process's death before any write."""

    base: Path

    @initialize(champions=st.sampled_from([2, 3, 1, 0]))
    def open(self, champions: int) -> None:
        """Begin with a line of champions, else most walks would never have one to go back to."""
        self.folder = Path(tempfile.mkdtemp())
        self.ws = LocalWorkspace.open(root=clone(self.base, self.folder / "ws"))
        self.numbers = itertools.count()
        self.had_champion = False
        self.left = -1
        self._watch()
        for version in range(1, champions + 1):
            self._decide(version, "gate", "promoted")

    def teardown(self) -> None:
        if hasattr(self, "ws"):
            decision_log.record = self._record
            self.ws.close()
            shutil.rmtree(self.folder)

    def _watch(self) -> None:
        self._record = decision_log.record

        def guarded(original: Any) -> Any:
            def act(*arguments: Any) -> Any:
                if self.left == 0:
                    raise DeathError
                self.left -= 1
                return original(*arguments)

            return act

        for name in ("set_alias", "delete_alias", "set_tags"):
            setattr(self.ws.registry, name, guarded(getattr(self.ws.registry, name)))
        decision_log.record = guarded(self._record)

    def _dying(self, act: Any, left: int) -> None:
        """Do something in a process that dies after so many writes (-1: lives on)."""
        self.left = left
        try:
            act()
        except DeathError:
            pass
        finally:
            self.left = -1

    def _finish(self) -> None:
        begun = decision_log.pending(self.ws, NAMESPACE)
        if begun is not None:
            promotion.apply(self.ws, NAMESPACE, begun)

    def _decide(self, version: int, kind: Any, outcome: Any, against: int | None = None) -> None:
        # As the gate does: what was begun is finished, and only then the champion is looked up.
        self._finish()
        against = against if against is not None else self._champion()
        if version == self._champion():
            return
        decision = Decision(
            decision_id=f"d{next(self.numbers)}",
            outcome=outcome,
            reason="made up",
            challenger_version=version,
            champion_version=against,
            as_of=AS_OF,
            evaluation={},
            checks=[],
            kind=kind,
        )
        decision_log.record(self.ws, NAMESPACE, decision, "decided")
        promotion.apply(self.ws, NAMESPACE, decision)

    def _champion(self) -> int | None:
        return self.ws.registry.aliases(MODEL).get(CHAMPION)

    DIES = st.sampled_from([-1, -1, -1, -1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7])

    @rule(version=st.integers(1, VERSIONS))
    def train(self, version: int) -> None:
        """A training sets the alias challenger."""
        if version not in self.ws.registry.aliases(MODEL).values():
            self.ws.registry.set_alias(MODEL, CHALLENGER, version)

    @rule(version=st.integers(1, VERSIONS), outcome=st.sampled_from(["promoted", "promoted", "rejected"]), dies=DIES)
    def gate(self, version: int, outcome: Any, dies: int) -> None:
        self._dying(lambda: self._decide(version, "gate", outcome), dies)

    @rule(version=st.integers(1, VERSIONS), dies=DIES)
    def promote_by_hand(self, version: int, dies: int) -> None:
        self._dying(lambda: self._decide(version, "override", "promoted"), dies)

    @rule(version=st.integers(1, VERSIONS), against=st.integers(1, VERSIONS))
    def promote_by_an_outdated_comparison(self, version: int, against: int) -> None:
        """The champion compared with is not the one there is: nothing may move."""
        self._finish()
        before = self.ws.registry.aliases(MODEL)
        if before.get(CHAMPION) not in (against, version):
            self._decide(version, "gate", "promoted", against)
            assert self.ws.registry.aliases(MODEL) == before

    @rule(to=st.none() | st.integers(1, VERSIONS), dies=DIES)
    def roll_back(self, to: int | None, dies: int) -> None:
        def act() -> None:
            self._finish()
            before = self._champion()
            line = decision_log.line_of_champions(decision_log.events(self.ws, NAMESPACE))
            decision = rollback.decide(self.ws, NAMESPACE, to=to, reason="made up", as_of=AS_OF)
            if to is None:
                assert decision.challenger_version == [item for item in line if item != before][-1]
            decision_log.record(self.ws, NAMESPACE, decision, "decided")
            promotion.apply(self.ws, NAMESPACE, decision)

        try:
            self._dying(act, dies)
        except UsageError:
            assert self._champion() is None or to is not None or len(self._line()) == 1

    @rule(dies=DIES)
    def retry(self, dies: int) -> None:
        self._dying(self._finish, dies)

    @rule()
    def apply_everything_again(self) -> None:
        """A decision is applied once: again changes nothing."""
        self._finish()
        rows = decision_log.events(self.ws, NAMESPACE)
        before = self.ws.registry.aliases(MODEL)
        for row in rows:
            if row.event == "applied":
                again = decision_log.decided(decision_log.events(self.ws, NAMESPACE, decision_id=row.decision_id))
                assert again is not None
                assert promotion.apply(self.ws, NAMESPACE, again) == "applied"
                # After each: all of them again, in order, would end where it began.
                assert self.ws.registry.aliases(MODEL) == before
        assert len(decision_log.events(self.ws, NAMESPACE)) == len(rows)

    def _line(self) -> list[int]:
        return decision_log.line_of_champions(decision_log.events(self.ws, NAMESPACE))

    @invariant()
    def once_there_was_a_champion_there_is_always_exactly_one(self) -> None:
        if not hasattr(self, "ws"):
            return
        self.had_champion = self.had_champion or self._champion() is not None
        assert (self._champion() is not None) == self.had_champion

    @invariant()
    def the_history_replays_to_the_present(self) -> None:
        if not hasattr(self, "ws"):
            return
        rows = decision_log.events(self.ws, NAMESPACE)
        champions, aliases = champions_of(rows), self.ws.registry.aliases(MODEL)
        begun = decision_log.pending(self.ws, NAMESPACE)
        last = champions[-1].version if champions else None
        if begun is None:
            assert aliases.get(CHAMPION) == last
            line = decision_log.line_of_champions(rows)
            earlier = [item for item in line[:-1] if item != last]
            assert aliases.get(PREVIOUS_CHAMPION) == (earlier[-1] if earlier else None)
        else:
            assert aliases.get(CHAMPION) in (last, begun.challenger_version)
        for one, other in itertools.pairwise(champions):
            assert other.before == one.version
        applied = [row.decision_id for row in rows if row.event == "applied"]
        assert len(applied) == len(set(applied))


def explore(base: Path, examples: int, steps: int) -> None:
    machine = type("Machine", (GateMachine,), {"base": base})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_a_few_walks_through_what_may_happen(four_versions):
    explore(four_versions, 3, 8)


@pytest.mark.slow
def test_many_walks_through_what_may_happen(four_versions):
    explore(four_versions, 60, 20)


def _gate_at_once(root: str, folder: str, barrier: Any, answers: Any) -> None:
    from mlplatform.pipeline import Pipeline

    with LocalWorkspace.open(root=root) as ws:
        given = context(ws, TinyFolder(Path(folder), {}), SECOND)
        barrier.wait(120)
        try:
            answers.put(Pipeline(ws, open_tiny(ws, Path(folder)), given.as_of).gate().details.outcome)
        except PlatformError as error:
            answers.put(error.message)


@pytest.mark.parametrize("processes", [3, pytest.param(PROCESSES, marks=pytest.mark.slow)])
def test_processes_gating_at_once_end_with_one_champion_and_a_history_that_adds_up(gate_at, wide, processes):
    ws = gate_at("challenged")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["tests.support.tiny_preload"])
    barrier, answers = forking.Barrier(processes), forking.Queue()
    arguments = (str(ws.root), str(wide.folder), barrier, answers)
    racers = [forking.Process(target=_gate_at_once, args=arguments) for _ in range(processes)]
    for racer in racers:
        racer.start()
    found = sorted(answers.get(timeout=240) for _ in racers)
    for racer in racers:
        racer.join(timeout=60)
    assert found.count("promoted") == 1
    assert found.count("dev.tiny.model has no challenger.") == processes - 1
    assert ws.registry.aliases(MODEL) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    assert told(ws) == [
        ("decided", "gate", "promoted", 1),
        ("applied", "gate", "promoted", 1),
        ("decided", "gate", "promoted", 2),
        ("applied", "gate", "promoted", 2),
    ]
