"""One self-contained HTML page about a use case: no script, no font, no address outside the page."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import MissingVersionError
from mlplatform.monitoring.staleness import Staleness
from mlplatform.naming import Namespace, check_use_case_name
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LabelSpine
from mlplatform.reporting import ageing, formats, plots, plots_detail, plots_pipeline, plots_vintages, summary
from mlplatform.reporting.facts import Facts, gather
from mlplatform.reporting.plots import Plot
from mlplatform.reporting.plots_classes import class_plots
from mlplatform.reporting.verdict import verdict
from mlplatform.reporting.wording import wording
from mlplatform.statistics import prior_shift

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "report.html.j2"
MOST_STEPS = 120
MOST_ALERTS = 100
MOST_DECISIONS = 60
MOST_FEATURES = 40
LOGGED_IN, REPORT_TAG = "report", "report"
_FORGOTTEN_SECONDS = 60 * 60
_PLOTS: tuple[Callable[[Facts], Plot], ...] = (
    plots.scores,
    plots.performance,
    plots_detail.calibration,
    plots_detail.decisions,
    plots_detail.drift,
    plots_pipeline.flow,
    plots_pipeline.durations,
)


def write_report(
    ws: Workspace,
    namespace: Namespace,
    spine: LabelSpine,
    settings: UseCaseSettings,
    folder: Path,
    *,
    staleness: Staleness | None = None,
    log: bool = False,
) -> Path:
    """Write the report of a use case.

    Args:
        ws: The workspace; only its tables are read.
        namespace: The use case's.
        spine: Its label spine.
        settings: Its settings.
        folder: Where to; created if it does not exist.
        staleness: How fast its models grew stale, where that was measured: a section of its own.
        log: Keep it with the champion's run, too; see `keep`.

    Returns:
        The file, `<folder>/<use_case>.html`. An older one is replaced at once: nobody sees half a page.

    Raises:
        UsageError: If the use case's name is not one.
        ConfigError: If the settings name an unknown metric.
        TableError: If a table of the use case is not what the platform writes.
    """
    name = check_use_case_name(namespace.use_case)
    facts = gather(ws, namespace, spine, settings)
    page = render(facts, utc_now(), staleness)
    if log:
        keep(ws, namespace, facts, page)
    return put(page, folder / f"{name}.html")


def keep(ws: Workspace, namespace: Namespace, facts: Facts, page: str) -> None:
    """Keep a report with the run that made the champion, where MLflow shows it, and name it in the version's tags.

    Args:
        ws: The workspace.
        namespace: The use case's.
        facts: Of the report; without a champion nothing is kept.
        page: The report.

    Raises:
        RegistryError: If MLflow does not take it.
    """
    if facts.champion is None:
        return
    try:
        version = ws.registry.get(namespace.model, facts.champion.version)
    except MissingVersionError:
        return  # gone from the registry: a run says so, and doctor; there is no run to keep a page with
    ws.registry.log_files(version, LOGGED_IN, {f"{namespace.use_case}.html": page})
    address = f"runs:/{version.run_id}/{LOGGED_IN}/{namespace.use_case}.html"
    if version.tags.get(REPORT_TAG) != address:
        ws.registry.set_tags(namespace.model, version.version, {REPORT_TAG: address})


def put(page: str, target: Path) -> Path:
    """Write a page; an older one is replaced at once: nobody sees half a page.

    Args:
        page: The page.
        target: The file; its folder is made if it does not exist.
    """
    folder, name = target.parent, target.stem
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, name)
    part = folder / f".{name}.{uuid.uuid4().hex}.part"
    try:
        part.write_text(page, encoding="utf-8", newline="\n")
        os.replace(part, target)  # noqa: PTH105 - the one call that says atomic on every system
    finally:
        part.unlink(missing_ok=True)
    return target


def _sweep(folder: Path, name: str) -> None:
    """Remove what killed processes left of earlier reports; another process may be writing one just now."""
    before = time.time() - _FORGOTTEN_SECONDS
    for left in folder.glob(f".{name}.*.part"):
        with suppress(OSError):
            if left.stat().st_mtime < before:
                left.unlink()


def render(facts: Facts, generated_at: datetime, staleness: Staleness | None = None) -> str:
    """Return the page.

    Args:
        facts: What it tells.
        generated_at: Wall clock; the same facts give the same page but for this.
        staleness: How fast models grew stale; None: not measured, and not told.
    """
    return (
        environment(mean=partial(summary.shown_mean, facts))
        .get_template(TEMPLATE)
        .render(
            facts=facts,
            generated_at=generated_at,
            tiles=summary.tiles(facts),
            verdict=verdict(facts),
            sentences=summary.sentences(facts),
            plots={plot.name: plot for plot in (*(draw(facts) for draw in _PLOTS), *class_plots(facts))},
            vintages=None if facts.vintages is None else plots_vintages.section(facts.vintages),
            words=wording(facts.task),
            by_scores_assumes=prior_shift.ASSUMPTION,
            staleness=None if staleness is None else ageing.section(staleness),
            most={
                "steps": MOST_STEPS,
                "alerts": MOST_ALERTS,
                "decisions": MOST_DECISIONS,
                "features": MOST_FEATURES,
            },
        )
    )


def _visible(value: object) -> object:
    from markupsafe import Markup

    return formats.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def environment(**filters: Callable[..., str]) -> Environment:
    """Return what renders the templates of this package.

    Args:
        **filters: Further filters, by name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("mlplatform.reporting"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,  # a misspelt fact is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "count_of": formats.count,
        "limit": formats.limit,
        "number": formats.number,
        "percent": formats.percent,
        "moment": formats.moment,
        "seconds": formats.seconds,
        "plural": formats.plural,
        **filters,
    }
    return templates
