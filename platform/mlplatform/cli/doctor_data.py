"""What `mlplatform doctor --data` prints: a line for each check, and what leads out of each problem."""

from __future__ import annotations

from mlplatform.cli import output
from mlplatform.cli.options import Options
from mlplatform.errors import PlatformError


def examine_data(use_case: str, options: Options, *, quick: bool) -> None:
    """Check what is stored of a use case, and print what is found.

    Args:
        use_case: Its name.
        options: The common options.
        quick: Leave out what computes tables once more.

    Raises:
        PlatformError: If there is a problem.
    """
    from mlplatform import discovery
    from mlplatform.doctor.examination import examine

    opener = discovery.opener(use_case, options.use_cases)
    with options.open(use_case, read_only=True) as ws, output.reporting(total=1) as reporter:
        findings = examine(ws, use_case, opener, reporter.line, quick=quick)
    if options.as_json:
        output.show_json([vars(finding) for finding in findings])
    else:
        rows = [
            (item.state, item.check, item.about, item.found, options.hints.repeated(item.way_out)) for item in findings
        ]
        columns = ("", "check", "about", "found", "way out")
        output.console().print(output.table(f"mlplatform doctor --data {use_case}", columns, rows))
    problems = [item for item in findings if item.state == "problem"]
    if problems:
        raise PlatformError(
            f"{len(problems)} of {len(findings)} findings about {use_case} are problems.",
            hint=f"What leads out of each is printed above; what is safe is done by: mlplatform repair {use_case}",
        )
