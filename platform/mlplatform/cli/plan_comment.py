"""A plan as a pull request's comment shows it: Markdown, with what breaks a model in use where it is seen first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlplatform.change.plan import ChangePlan

MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536; what is left is for the plans that come after a long one."""
_TOO_LONG = "The plan is too long for a comment: the log of the job that wrote this shows it."
_FENCES = re.compile("`{3,}")


def append(file: Path, plan: ChangePlan) -> None:
    """Append a plan to the text of a comment, which may hold those of other use cases.

    Args:
        file: The text; it is created if it does not exist.
        plan: The plan.
    """
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    section = f"{heading(plan)}\n\n{fenced(plan)}\n\n"
    if len(before) + len(section) > MOST_CHARACTERS:
        section = f"{heading(plan)}\n\n{_TOO_LONG}\n\n"
    file.write_text(before + section, encoding="utf-8")


def heading(plan: ChangePlan) -> str:
    """Return the name of the use case, and what waits."""
    if plan.is_breaking:
        broken = sorted({reading.number for change in plan.changes for reading in change.broken})
        whom = f" for {', '.join(f'v{number}' for number in broken)}" if broken else ""
        names = ", ".join(f"`{change.name}`" for change in plan.changes if change.kind == plan.kind)
        return (
            f"### {plan.use_case}: ⛔ BREAKING{whom}\n\n"
            f"**Something breaking waits in {names}.** Merging does not decide about it: runs refuse it until "
            f"`mlplatform apply {plan.use_case}` does, with a reason on record."
        )
    return f"### {plan.use_case}: {plan.kind or 'nothing changes'}"


def fenced(plan: ChangePlan) -> str:
    """Return the plan as the command prints it; `@champion` in it mentions nobody, and no text in it ends the block."""
    text = "\n".join(plan.lines())
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"
