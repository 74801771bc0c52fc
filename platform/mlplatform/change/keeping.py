"""Keeping what models in use read: tables and functions that are computed on by the code on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from mlplatform.change.declared import Declarations, codes_of
from mlplatform.change.existing import LiveVersion, live_versions
from mlplatform.change.kept_code import LoadedCode, Package, load
from mlplatform.errors import StageError
from mlplatform.features import stage as features_stage
from mlplatform.features.stage import FeaturesDetails
from mlplatform.naming import ObjectName
from mlplatform.ops import changes, markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import Kept
from mlplatform.ops.records import CODE, CodeRecord
from mlplatform.ops.schema_mark import platform_version
from mlplatform.ops.stage_runs import utc_now
from mlplatform.refine.freshness import ComputedDetails


class Keeper:
    """Keeps the code of a use case on record, and finds what of it the models in use still need."""

    def __init__(self, declared: Declarations, package: Package | None) -> None:
        """Take what is declared now.

        Args:
            declared: What the use case declares.
            package: The package that declares it; None: its code cannot be kept.
        """
        self._declared, self._package = declared, package
        self._found: dict[str, Sequence[Kept]] = {}

    def archive(self, context: StageContext) -> str:
        """Put the code that computed the tables on record, unless it is; return the digest of what it declares.

        Args:
            context: The run that has computed them.
        """
        declared, digest = self._declared, self._declared.digest(context.namespace)
        if self._package is not None and last_computed(context) != digest:
            record = CodeRecord(
                use_case=context.name,
                declared=digest,
                package=self._package.name,
                use_case_class=self._package.use_case_class,
                codes=codes_of(context.namespace, declared.silver, declared.features, declared.functions),
                versions=dict(context.namespace.versions),
                files=self._package.files(),
                platform_version=platform_version(),
                recorded_at=utc_now(),
            )
            CODE.append(context.ws, context.namespace, [record])
        return digest

    def kept(self, context: StageContext) -> Sequence[Kept]:
        """Return what is computed on for the models in use, by the code that computed it when they were trained.

        Args:
            context: The run.

        Raises:
            RegistryError: If it cannot be known which models are in use.
            StageError: If code on record cannot be imported, or computes something else than it did.
        """
        if context.run_id not in self._found:
            found: Sequence[Kept] = ()
            if changes.newest(context.ws, context.namespace) is not None:
                live, _ = live_versions(context)
                found = self.of(context, live)
            self._found = {context.run_id: found}
        return self._found[context.run_id]

    def of(self, context: StageContext, live: Sequence[LiveVersion]) -> list[Kept]:
        """Return what is kept for some model versions.

        Args:
            context: The run.
            live: The versions.

        Raises:
            StageError: If code on record cannot be imported, or computes something else than it did.
        """
        by_code: dict[int, list[str]] = defaultdict(list)
        needed = self.needed(context, live)
        records = CODE.read(context.ws, context.namespace) if needed else []
        for name in needed:
            place = _place_of(context, name, records)
            if place is not None:
                by_code[place].append(name)
        return [self._kept(context, records[place], names) for place, names in sorted(by_code.items())]

    def needed(self, context: StageContext, live: Sequence[LiveVersion]) -> dict[str, list[LiveVersion]]:
        """Return the computed tables and the functions of the use case that versions read, and that are not declared.

        Args:
            context: The run.
            live: The versions.

        Returns:
            Bare name -> the versions that read it.
        """
        names, found = context.namespace, dict[str, list[LiveVersion]]()
        current = {table.name.name for table in self._declared.tables(names)}
        current |= {names.table(function.name).name for function in self._declared.functions}
        ours = names.exactly("x")
        for version in live:
            tables = {ObjectName.parse(column.table_name) for column in version.spec.features}
            functions = {ObjectName.parse(column.udf_name) for column in version.spec.computed}
            for name in sorted(tables | functions):
                if (name.catalog, name.schema) != (ours.catalog, ours.schema) or name.name in current:
                    continue
                if name in functions or markers.last(context, features_stage.NAME, name, ComputedDetails) is not None:
                    found.setdefault(name.name, []).append(version)
        return found

    def _kept(self, context: StageContext, record: CodeRecord, needed: Sequence[str]) -> Kept:
        earlier = replace(
            context, namespace=context.namespace.at(record.versions), shared_log=context.log, run_id=context.run_id
        )
        code, names = load(record), earlier.namespace
        use_case = code.use_case
        current = {table.name.name for table in self._declared.tables(context.namespace)}
        kept = Kept(earlier, (), (), (), (), code.modules)
        with kept.installed():
            features = tuple(table for table in use_case.features if names.features(table.name).name in needed)
            inputs = {item for table in features for item in table.inputs}
            silver = tuple(
                table
                for table in use_case.silver
                if f"silver_{table.name}" in inputs and names.silver(table.name).name not in current
            )
            sources = tuple(
                source
                for source in use_case.sources
                if names.bronze(source.name).name not in current and any(table.source is source for table in silver)
            )
            functions = tuple(item for item in use_case.functions if names.table(item.name).name in needed)
            _check(record, code, earlier, needed)
        return replace(kept, sources=sources, silver=silver, features=features, functions=functions)


def _check(record: CodeRecord, code: LoadedCode, context: StageContext, needed: Sequence[str]) -> None:
    """Refuse code that computes something else than it did.

    Raises:
        StageError: With what does.
    """
    use_case = code.use_case
    now = codes_of(context.namespace, use_case.silver, use_case.features, use_case.functions)
    others = sorted(name for name in needed if now.get(name) != record.codes[name])
    if others:
        raise StageError(
            f"The code on record of {', '.join(others)}, which a model in use reads, computes something else by now: "
            f"what it takes from outside of the package {record.package} has changed.",
            hint="Put that back, or accept that such models are given what the code of now computes: "
            f"mlplatform apply {context.name} --in-place.",
        )


def _place_of(context: StageContext, name: str, records: Sequence[CodeRecord]) -> int | None:
    """Return the place of the newest code that computed what a table holds; None where it is not on record."""
    full = context.namespace.exactly(name)
    run = markers.last(context, features_stage.NAME, full, ComputedDetails)
    marker = run.details.computed.get(name) if run is not None else None
    for place in range(len(records) - 1, -1, -1):
        code = records[place].codes.get(name)
        if code is not None and (marker is None or marker.code == code):
            return place
    return None


def last_computed(context: StageContext) -> str | None:
    """Return the digest of what was declared when feature tables were last computed.

    Returns:
        The digest; empty where it is not on record, None where nothing was computed yet.
    """
    for run in reversed(context.log.runs_of(features_stage.NAME, FeaturesDetails, newest=20)):
        if run.ended_well:
            return run.details.declared
    return None
