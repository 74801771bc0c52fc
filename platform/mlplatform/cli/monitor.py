"""`mlplatform monitor`: drift, performance and alerts at one time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.monitoring.details import BaseRate, CanaryOutcome, ImmatureSummary, MonitorDetails
    from mlplatform.statistics.baseline import Compared


@command(
    examples=(
        "mlplatform monitor credit_risk --as-of 2006-04-01",
        "mlplatform monitor credit_risk --as-of 2006-04-01 --json",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Only what was known by then counts.  [default: now]")
def monitor(use_case: str, as_of: str | None, options: Options) -> None:
    """Measure drift and performance, and raise alerts.

    What was scored is compared with training and with the window before, and predictions with the labels known by now.
    Data and features are brought up to the time first. Alerts are recorded, then sent; alerts whose delivery failed
    before are sent again. Again for the same time measures again what could not be measured, and changes nothing else.
    """
    from mlplatform.pipeline import Pipeline
    from mlplatform.scoring.predictions import PREDICTIONS

    moment = as_of_option(as_of)
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        if not ws.tables.exists(opened.namespace.gold(PREDICTIONS)):
            _nothing_scored(use_case, moment, options)
            return
        summary = Pipeline(ws, opened, moment, reporter.line).run(["ingest", "refine", "features", "monitor"])
        metric = opened.settings.training.metric
    done = summary.stages[-1]
    details: MonitorDetails = done.details
    if options.as_json:
        output.show_json(
            {"use_case": use_case, "as_of": moment.isoformat(), "skipped": done.result.skipped, **details.answer()}
        )
        return
    if done.result.skipped:
        click.echo(f"{use_case} as of {moment:%Y-%m-%d}: {done.result.skipped}.")
        return
    click.echo(f"{use_case} as of {moment:%Y-%m-%d}:")
    for line in _lines(details, metric, done.result.rows_in):
        click.echo(f"  {line}")
    rows = [(alert.severity, alert.kind, alert.event, alert.message) for alert in (*details.alerts, *details.recovered)]
    if rows:
        output.console().print(output.table("alerts", ("severity", "kind", "event", "message"), rows))
    else:
        click.echo("  no alert" if not details.not_judged else "  no alert, of what was judged")


def _nothing_scored(use_case: str, moment: datetime, options: Options) -> None:
    skipped = "nothing has been scored yet"
    first = options.hints.repeated(f"mlplatform run {use_case} --as-of {moment:%Y-%m-%d}")
    if options.as_json:
        output.show_json({"use_case": use_case, "as_of": moment.isoformat(), "skipped": skipped, "first": first})
        return
    click.echo(f"{use_case} as of {moment:%Y-%m-%d}: {skipped}, so that there is nothing to monitor.")
    click.echo(f"First: {first}; it trains, promotes what passes the gate, and scores.")


def _lines(details: MonitorDetails, metric: str, rows: int | None) -> list[str]:
    from mlplatform.statistics.estimate import BLIND_SPOT

    lines = ["the window could not be read" if rows is None else f"{rows} predictions in the window"]
    worst, realised, compared = details.worst_drift, details.realised.get(metric), details.baseline
    if worst is not None:
        shown = f"{worst.value:.3f}" if worst.value is not None else "missing"
        verdict = "" if worst.judged else ", not judged"
        lines.append(f"farthest from training: {worst.column} (psi {shown}{verdict})")
    if details.estimated is not None:
        lines.append(f"estimated {metric} before labels: {details.estimated:.4f}; it {BLIND_SPOT}")
    if details.immature is not None:
        lines.append(_expected(details.immature))
    if details.base_rate is not None:
        lines.append(_base_rate(details.base_rate))
    if realised is not None:
        lines.append(f"realised {metric}: {realised:.4f} on {details.labels_known} labels")
    if compared is not None:
        lines.append(f"trivial baseline {metric}: {compared.baseline:.4f}; the model is {_gain(compared)}")
    if details.canary is not None:
        lines.append(_canary(details.canary, metric))
    lines += _judged(details)
    lines += [f"window to {window}: two bases {text}" for window, text in sorted(details.disagreements.items())[-3:]]
    labels, sent = details.labels, details.sent
    if labels is not None:
        lines.append(
            f"labels of {labels.scored} predictions: {labels.known} known, {labels.waiting} waiting, "
            f"{labels.never} never came (coverage {labels.coverage:.1%})"
        )
    if sent.delivered or sent.failed:
        lines.append(f"alerts sent: {sent.delivered}, failed and to be sent again: {sent.failed}")
    return lines


def _expected(found: ImmatureSummary) -> str:
    what = f"expected of the {found.rows:,} predictions up to {found.window_end:%Y-%m-%d}"
    if found.expected_rate is None:
        return f"{what}: not known yet"
    told = f"{what}: {found.expected_rate:.2%} within the horizon"
    if found.low is not None and found.high is not None:
        told += f" (95% interval {found.low:.2%} to {found.high:.2%})"
    told += f", mean score {found.mean_score:.2%}"
    if found.forecast_rate is not None and found.forecast_low is not None and found.forecast_high is not None:
        ends = f"{found.forecast_low:.1%} to {found.forecast_high:.1%}"
        told += f"; if risks go on changing {found.forecast_rate:.1%} ({ends})"
    return told


def _base_rate(found: BaseRate) -> str:
    text = (
        f"base rate that the scores alone tell of: {found.value:.4f} (95% interval {found.low:.4f} to {found.high:.4f})"
    )
    if found.training is None or found.p_value is None:
        return f"{text}, not judged"
    return f"{text}; in training {found.training:.4f} (p {found.p_value:.2g})"


def _canary(found: CanaryOutcome, metric: str) -> str:
    """Say what became of those for whom a challenger decided."""
    counted = f"{found.decided} predictions acted on, {found.labels} labels ({found.labels_of_champion} of the others)"
    if found.gain is None:
        told = f"not compared yet: {found.why}"
    else:
        told = f"gain in {metric} {found.gain:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        told += ", surely worse" if found.worse else ""
    ended = f", ended at {found.until:%Y-%m-%d}" if found.until else ""
    return f"canary of version {found.model_version}{ended}: {counted}; {told}"


def _gain(compared: Compared) -> str:
    word = "better" if compared.gain >= 0 else "worse"
    text = f"{word} by {abs(compared.gain):.4g}"
    if compared.low is None:
        return text
    return f"{text} (95% interval of its gain {compared.low:.4g} to {compared.high:.4g})"


def _judged(details: MonitorDetails) -> list[str]:
    """Say which checks were judged, and of each other one why it was not."""
    from mlplatform.monitoring.alerts import CHECKS

    judged = [kind for kind in details.windows if kind in CHECKS]
    lines = [f"checks judged: {len(judged)}, not judged: {len(details.not_judged)}"]
    reasons: dict[str, list[str]] = {}
    for kind, why in details.not_judged.items():
        reasons.setdefault(why, []).append(kind)
    lines += [f"not judged: {why} ({', '.join(kinds)})" for why, kinds in reasons.items()]
    return lines
