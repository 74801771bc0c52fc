"""Applying an edit to a use case: in which versions it goes on, and what that came to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mlplatform.change import deciding
from mlplatform.change.existing import LiveVersion
from mlplatform.change.keeping import Keeper
from mlplatform.change.plan import ChangePlan
from mlplatform.naming import Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.run_record import RunSummary
from mlplatform.stages import declared_by, keeper_of
from mlplatform.use_case import UseCase


@dataclass
class Applied:
    """What applying an edit came to.

    Attributes:
        plan: What the edit does.
        before: The use case's names before.
        after: The use case's names from now on.
        summary: What the stages did that brought the tables up to it; None in a dry run, and where nothing differed.
    """

    plan: ChangePlan
    before: Namespace
    after: Namespace
    summary: RunSummary | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Declared name -> version, of the tables and functions that get one by this."""
        before = dict(self.before.versions)
        return {name: version for name, version in self.after.versions if before.get(name) != version}


def decide(
    context: StageContext,
    use_case: UseCase,
    keeper: Keeper,
    plan: ChangePlan,
    live: Sequence[LiveVersion],
    *,
    in_place: bool,
) -> tuple[UseCase, Collection[str]]:
    """Return the use case in the versions that an edit asks for, and what is given up.

    Args:
        context: The run.
        use_case: The use case, as it is declared.
        keeper: Of its earlier code.
        plan: What the edit does.
        live: The model versions in use.
        in_place: They are given what the new declarations give, instead of what they were trained on.

    Raises:
        StageError: If something cannot be kept that models in use read.
    """
    declared, codes = declared_by(use_case), keeper.codes(context)
    versions = deciding.versions(context, declared, plan, (), codes, in_place=in_place)
    if in_place:
        following, keeping = _in_versions(context, use_case, versions)
        failing = keeping.failing(following, keeping.needed(following, live))
        versions = deciding.given_back(context, declared, failing, versions)
        following, keeping = _in_versions(context, use_case, versions)
        given_up = set(failing) & set(keeping.needed(following, live))
        return use_case.with_versions(versions), sorted(given_up)
    while True:
        following, keeping = _in_versions(context, use_case, versions)
        kept = list(keeping.of(following, keeping.needed(following, live)))
        # What the kept code reads may have to be kept as well, and then its tables get other versions.
        wider = deciding.versions(context, declared, plan, kept, codes, in_place=False)
        if wider == versions:
            deciding.check_sources(context, declared, kept)
            return use_case.with_versions(versions), ()
        versions = wider


def _in_versions(context: StageContext, use_case: UseCase, versions: Mapping[str, str]) -> tuple[StageContext, Keeper]:
    decided = use_case.with_versions(versions)
    return replace(context, namespace=decided.namespace), keeper_of(decided)
