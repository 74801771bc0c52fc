"""What a decision leaves with the challenger's run: all its numbers as JSON, and one HTML page with plots."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import Evidence
from mlplatform.gate.decision import Decision
from mlplatform.ops.schema_mark import platform_version
from mlplatform.reporting import plots_evidence
from mlplatform.reporting.report import environment

JSON_FILE, PAGE_FILE = "evidence.json", "evidence.html"
TEMPLATE = "evidence.html.j2"


def render(decision: Decision, evidence: Evidence | None, settings: UseCaseSettings, model: str) -> dict[str, str]:
    """Return the files, by name.

    Args:
        decision: The decision.
        evidence: What it was made on; None when the gate could not look: the page then has no curves.
        settings: The use case's; the gate's limits are kept with the evidence.
        model: The registered model's name.

    Returns:
        `evidence.json` and `evidence.html`; the same decision gives the same bytes.
    """
    content: dict[str, Any] = {
        "model": model,
        **asdict(decision),
        "metric": settings.training.metric,
        "limits": settings.gate.model_dump(mode="json"),
        "platform_version": platform_version(),
    }
    page = (
        environment()
        .get_template(TEMPLATE)
        .render(
            decision=decision,
            model=model,
            settings=settings,
            source={key: value for key, value in decision.evaluation.items() if not isinstance(value, dict)},
            tables=decision.evaluation.get("tables", {}),
            plots=plots_evidence.all_plots(decision, evidence, settings),
            platform_version=platform_version(),
        )
    )
    return {JSON_FILE: json.dumps(content, indent=1, default=str), PAGE_FILE: page}
