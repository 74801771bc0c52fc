"""Keeping what models in use read: tables and functions that are computed on by the code on record."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import narwhals as nw

from mlplatform.change.declared import MODEL_CODE, Declarations, codes_of
from mlplatform.change.existing import LiveVersion, live_versions
from mlplatform.change.kept_code import LoadedCode, Package, load
from mlplatform.code_digest import has_changed
from mlplatform.errors import StageError
from mlplatform.features import stage as features_stage
from mlplatform.features.stage import FeaturesDetails
from mlplatform.naming import CHAMPION, Namespace, ObjectName
from mlplatform.ops import changes, markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import Kept
from mlplatform.ops.records import CODE, ChangeRecord, CodeRecord
from mlplatform.ops.schema_mark import platform_version
from mlplatform.ops.stage_runs import ENDED_WELL, as_run, utc_now
from mlplatform.refine.freshness import ComputedDetails

LOG = logging.getLogger(__name__)
Needed = Mapping[str, list[LiveVersion]]
"""Bare name of a table or function -> the versions that read it."""
_MOST_CODES = 10_000


class Keeper:
    """Keeps the code of a use case on record, and finds what of it the models in use still need."""

    def __init__(self, declared: Declarations, package: Package | None) -> None:
        """Take what is declared now.

        Args:
            declared: What the use case declares.
            package: The package that declares it; None: its code cannot be kept.
        """
        self._declared, self._package = declared, package
        self._newest: dict[str, ChangeRecord | None] = {}
        self._found: dict[str, Sequence[Kept]] = {}

    def decided(self, context: StageContext) -> ChangeRecord | None:
        """Return the newest change on record, read once a run; None: there was none."""
        if context.run_id not in self._newest:
            self._newest = {context.run_id: changes.newest(context.ws, context.namespace)}
        return self._newest[context.run_id]

    def note(self, context: StageContext, change: ChangeRecord) -> None:
        """Take notice of a change that this run has put on record.

        Args:
            context: The run.
            change: The change.
        """
        self._newest, self._found = {context.run_id: change}, {}

    def archive(self, context: StageContext) -> str:
        """Put the code that computed the tables on record, unless it is; return the digest of what it declares.

        Args:
            context: The run that has computed them.
        """
        declared, digest = self._declared, self._declared.digest(context.namespace)
        if self._package is not None and _newest_code(context) != digest:
            record = CodeRecord(
                use_case=context.name,
                declared=digest,
                package=self._package.name,
                use_case_class=self._package.use_case_class,
                codes=codes_of(context.namespace, declared.silver, declared.features, declared.functions)
                | {MODEL_CODE: declared.model_code},
                versions=dict(context.namespace.versions),
                files=self._package.files(),
                platform_version=platform_version(),
                recorded_at=utc_now(),
            )
            CODE.append(context.ws, context.namespace, [record])
        return digest

    def codes(self, context: StageContext) -> dict[str, str]:
        """Return the digest of the code on record that computed each table and function last, by its bare name.

        Args:
            context: The run.
        """
        found: dict[str, str] = {}
        for record in _codes_on_record(context):
            found |= record.codes
        return found

    def kept(self, context: StageContext) -> Sequence[Kept]:
        """Return what is computed on for the models in use, by the code that computed it when they were trained.

        Args:
            context: The run.

        Raises:
            RegistryError: If it cannot be known which models are in use.
            StageError: If code of what the champion reads is not on record, cannot be imported, or computes something
                else than it did.
        """
        if context.run_id not in self._found:
            decided, found = self.decided(context), list[Kept]()
            if decided is not None:
                live, _ = live_versions(context)
                needed = self.needed(context, live, given_up=decided.given_up)
                found = list(self.of(context, self._without_failing(context, needed)))
            self._found = {context.run_id: found}
        return self._found[context.run_id]

    def _without_failing(self, context: StageContext, needed: Needed) -> Needed:
        """Return what can be computed on; what cannot may fail a run only where the champion reads it."""
        failing = self.failing(context, needed)
        found = {}
        for name, versions in needed.items():
            if name not in failing or any(CHAMPION in version.aliases for version in versions):
                found[name] = versions
            else:
                LOG.warning("%s: %s is not computed on: %s", context.name, name, failing[name])
        return found

    def needed(self, context: StageContext, live: Sequence[LiveVersion], given_up: Collection[str] = ()) -> Needed:
        """Return the computed tables and the functions of the use case that versions read, and that are not declared.

        Args:
            context: The run.
            live: The versions.
            given_up: Names that somebody decided not to compute on.
        """
        names, found = context.namespace, dict[str, list[LiveVersion]]()
        tables = {table.name.name for table in self._declared.tables(names)}
        functions = {names.table(function.name).name.lower() for function in self._declared.functions}
        for version in live:
            for name in _ours(names, {column.table_name for column in version.spec.features}):
                computed = markers.last(context, features_stage.NAME, names.exactly(name), ComputedDetails)
                if name not in tables and name not in given_up and computed is not None:
                    found.setdefault(name, []).append(version)
            for name in _ours(names, {column.udf_name for column in version.spec.computed}):
                if name.lower() not in functions and name.lower() not in given_up:
                    found.setdefault(name.lower(), []).append(version)
        return found

    def of(self, context: StageContext, needed: Needed) -> Iterator[Kept]:
        """Yield what is kept of what versions need, each with the code that computes it.

        Args:
            context: The run.
            needed: As `needed` returns it.

        Raises:
            StageError: If code is not on record, cannot be imported, or computes something else than it did.
        """
        by_code: dict[int, list[str]] = defaultdict(list)
        codes = _codes_on_record(context) if needed else []
        for name in needed:
            places = [place for place, code in enumerate(codes) if name in code.codes]
            if not places:
                raise StageError(
                    f"{name}, which {', '.join(map(str, needed[name]))} reads, is not declared any more, and the code "
                    "that computed it is not on record. The stage features puts it there, of a use case in a package.",
                    hint="Take the edit back and run once, then edit again; or accept that such models are given what "
                    f'the code of now computes, if any: mlplatform apply {context.name} --in-place --reason "why"',
                )
            by_code[places[-1]].append(name)
        for place, names in sorted(by_code.items()):
            yield self._kept(context, _with_files(context, codes[place]), names)

    def failing(self, context: StageContext, needed: Needed) -> dict[str, str]:
        """Return what cannot be computed on, by its bare name, and why.

        Args:
            context: The run.
            needed: As `needed` returns it.
        """
        found = {}
        for name, versions in needed.items():
            try:
                list(self.of(context, {name: versions}))
            except StageError as error:
                found[name] = error.message
        return found

    def _kept(self, context: StageContext, record: CodeRecord, needed: Sequence[str]) -> Kept:
        earlier = replace(context, namespace=context.namespace.at(record.versions), shared_log=context.log)
        code, names = load(record, context.name), earlier.namespace
        current = {table.name.name for table in self._declared.tables(context.namespace)}
        kept = Kept(earlier, (), (), (), (), code.modules)
        with kept.installed():
            use_case = code.use_case
            _check(record, code, earlier, needed)
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
            functions = tuple(item for item in use_case.functions if names.table(item.name).name.lower() in needed)
        return replace(kept, sources=sources, silver=silver, features=features, functions=functions)


def _ours(names: Namespace, full_names: Collection[str]) -> list[str]:
    """Return the bare names of those that are the use case's own; the real client gives functions in lower case."""
    ours = names.exactly("x")
    place = (ours.catalog.lower(), ours.schema.lower())
    parsed = (ObjectName.parse(name) for name in full_names)
    return sorted(name.name for name in parsed if (name.catalog.lower(), name.schema.lower()) == place)


def _check(record: CodeRecord, code: LoadedCode, context: StageContext, needed: Sequence[str]) -> None:
    """Refuse code that computes something else than it did.

    Raises:
        StageError: With what does.
    """
    use_case = code.use_case
    now = codes_of(context.namespace, use_case.silver, use_case.features, use_case.functions)
    others = sorted(name for name in needed if name not in now or has_changed(record.codes[name], now[name]))
    if others:
        raise StageError(
            f"The code on record of {', '.join(others)}, which a model in use reads, computes something else by now: "
            f"what it takes from outside of the package {record.package} has changed.",
            hint="Put that back, or accept that such models are given what the code of now computes: "
            f'mlplatform apply {context.name} --in-place --reason "why"',
        )


def _codes_on_record(context: StageContext) -> list[CodeRecord]:
    """Return the code on record without its text, oldest first."""
    if not context.ws.tables.exists(CODE.full_name(context.namespace)):
        return []
    rows = CODE.frame(context.ws, context.namespace)
    rows = rows.select(*(name for name in rows.collect_schema().names() if name != "files"))
    return CODE.records(context.ws.frames.collect(rows, at_most=_MOST_CODES, what="the code on record"))


def _with_files(context: StageContext, record: CodeRecord) -> CodeRecord:
    at = [("recorded_at", "=", record.recorded_at), ("declared", "=", record.declared)]
    return CODE.read(context.ws, context.namespace, at)[-1]


def _newest_code(context: StageContext) -> str:
    """Return the digest of what the newest code on record declares; empty: there is none."""
    if last_computed(context) is None:
        return ""
    rows = CODE.frame(context.ws, context.namespace).sort("recorded_at", descending=True).head(1).select("declared")
    found = context.ws.frames.collect(rows.select(nw.col("declared")), at_most=1, what="the newest code on record")
    return str(found.column(0)[0]) if found.num_rows else ""


def last_computed(context: StageContext) -> str | None:
    """Return the digest of what was declared when feature tables were last computed.

    Returns:
        The digest; empty where it is not on record, None where nothing was computed yet.
    """
    for record in reversed(context.log.records(features_stage.NAME)):
        if record.status in ENDED_WELL:
            return as_run(record, FeaturesDetails).details.declared
    return None
