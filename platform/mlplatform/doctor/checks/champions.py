"""Aliases: the registry has the champion that the decisions have, and every alias names a version that exists."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.gate import champion, decision_log, promotion
from mlplatform.naming import CHAMPION, PREVIOUS_CHAMPION

CHECK = "aliases: as decided"


def look(subject: Subject) -> Iterator[Finding]:
    """Hold the aliases against the decisions on record."""
    ws, names = subject.ws, subject.use_case.namespace
    model = str(names.model)
    aliases = ws.registry.aliases(names.model)
    events = decision_log.events(ws, names)
    line = decision_log.line_of_champions(events)
    way_out = champion.way_out(names)
    found: list[Finding] = []
    for alias, number in sorted(aliases.items()):
        if not promotion.exists(ws, names.model, number):
            text = f"the alias {alias} names version {number}, which does not exist."
            found.append(Finding(CHECK, model, "problem", text, way_out))
    gone = champion.vanished(ws, names, aliases)
    current = aliases.get(CHAMPION)
    if gone:
        found.append(Finding(CHECK, model, "problem", f"{gone}.", way_out))
    elif current is not None and decision_log.pending(ws, names) is None and (not line or line[-1] != current):
        decided = f"by the decisions it is version {line[-1]}" if line else "no decision says so"
        text = f"the champion is version {current}, and {decided}: somebody moved the alias by hand."
        found.append(Finding(CHECK, model, "problem", text, way_out))
    previous = aliases.get(PREVIOUS_CHAMPION)
    were = {event.challenger_version for event in events if event.event == "applied"}
    if previous is not None and previous not in were:
        text = f"the previous champion is version {previous}, which never was champion by the decisions."
        found.append(Finding(CHECK, model, "problem", text, way_out))
    if not found:
        told = ", ".join(f"{alias} {number}" for alias, number in sorted(aliases.items())) or "none"
        found.append(Finding(CHECK, model, "ok", f"{told}; {len(line)} champion(s) by the decisions."))
    yield from found
