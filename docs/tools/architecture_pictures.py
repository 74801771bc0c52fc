"""The pictures of `docs/architecture/`."""

from __future__ import annotations

from docs.tools.drawing import Drawing


def context() -> Drawing:
    """Draw who and what is around the platform."""
    it = Drawing(
        600,
        430,
        "Context: who uses the platform, and what it stands on",
        "A use case's author writes a folder; an operator runs commands and answers alerts; an approver approves "
        "promotions; a reader of "
        "predictions queries a table. Data feeds land files. The platform runs on a laptop or on Databricks, and posts "
        "alerts to a webhook.",
    )
    it.box(20, 20, 170, 50, ["author", "small:writes a use case"], "good")
    it.box(215, 20, 170, 50, ["operator", "small:commands, alerts"], "good")
    it.box(410, 20, 170, 50, ["approver", "small:gate.approval: manual"], "good")
    it.box(
        130,
        150,
        340,
        90,
        ["mlplatform", "small:tables, features, training, gate,", "small:scoring, monitoring, plan and apply"],
    )
    it.arrow((105, 70), (200, 150), label="a folder", at=(112, 112), anchor="end")
    it.arrow((300, 70), (300, 150), label="mlplatform ...", at=(308, 112), anchor="start")
    it.arrow((495, 70), (400, 150), label="a tag", at=(478, 112), anchor="start")
    it.box(20, 300, 130, 50, ["data feeds", "small:land files"], "store")
    it.box(165, 300, 130, 50, ["a laptop, CI", "small:local home"], "store")
    it.box(310, 300, 130, 50, ["Databricks", "small:Unity Catalog"], "store")
    it.box(455, 300, 125, 50, ["webhook", "small:Slack, Teams"], "store")
    it.arrow((85, 300), (175, 240))
    it.arrow((230, 240), (230, 300), label="or", at=(290, 278))
    it.arrow((375, 240), (375, 300))
    it.arrow((440, 240), (515, 300))
    it.box(130, 368, 340, 50, ["readers", "small:gold_latest_predictions, the report, MLflow"], "good")
    it.arrow((302, 240), (302, 368))
    return it


def containers() -> Drawing:
    """Draw the package's rooms, and which may use which."""
    it = Drawing(
        600,
        650,
        "Containers: the rooms of the package",
        "From top to bottom: command line, tests for authors and scaffold; bundle; simulation; pipeline; then the "
        "rooms of the cycle, from reporting, change, "
        "monitoring, scoring, recalibration, gate, training, features, refine to ingest; then ops, statistics, "
        "protocols, config and "
        "the ground floor. A room uses only what is "
        "below it. The two homes in workspace implement the protocols, and only open_workspace loads one.",
    )
    rows = [
        ("cli", "the command line; testing/ and scaffold/ beside it", "step"),
        ("bundle", "the files of a deployment", "step"),
        ("simulation, pipeline, discovery", "the loop over the stages", "step"),
        ("reporting, change", "the report; plan, apply, adoption", "step"),
        ("monitoring, scoring, recalibration", "windows, alerts; predictions; their level", "good"),
        ("gate, training", "checks and decisions; search, fit, register", "good"),
        ("features, refine, ingest", "features; silver, gold; bronze", "good"),
        ("ops", "the platform's own tables: records, migrations", "store"),
        ("statistics", "metrics, intervals, profiles, distances", "store"),
        ("protocols", "what a workspace offers", "new"),
        ("config, errors, naming, types, as_of", "the ground floor", "store"),
    ]
    for number, (name, text, kind) in enumerate(rows):
        y = 20 + number * 56
        it.box(20, y, 370, 42, [name, f"small:{text}"], kind)
        if number:
            it.arrow((205, y - 14), (205, y))
    it.box(430, 352, 150, 118, ["workspace/"], "area")
    it.box(445, 386, 120, 32, ["local"], "store")
    it.box(445, 426, 120, 32, ["databricks"], "store")
    it.arrow((505, 470), (505, 545), (390, 545), label="implement", at=(513, 510), anchor="start")
    it.write(505, 282, "small:open_workspace()", "dim")
    it.write(505, 300, "small:loads one of them", "dim")
    it.arrow((505, 308), (505, 352), dashed=True)
    return it


def data() -> Drawing:
    """Draw the tables in the order in which rows go through them."""
    it = Drawing(
        600,
        600,
        "The data's way: which table is made of which",
        "Landed files go into bronze tables; malformed lines into a quarantine. Silver tables hold typed and checked "
        "rows; failed expectations go into a quarantine. "
        "Silver gives gold_spine, gold_labels and the feature tables. Spine, labels and features give a training set, "
        "which gives a model version. The champion and the features "
        "give gold_predictions, and rows that it cannot predict go to gold_unscored. Predictions and labels give drift "
        "and performance metrics, and alerts. "
        "Every stage writes its record to ops.stage_runs.",
    )
    it.box(20, 20, 240, 44, ["landed files", "small:a folder, or a volume"], "store")
    it.arrow((140, 64), (140, 92), label="ingest", at=(148, 83), anchor="start")
    it.box(20, 92, 240, 44, ["bronze_<source>", "small:text as it came, with its file"])
    it.box(340, 92, 240, 44, ["quarantine_*", "small:each row with its reason"], "new")
    it.arrow((260, 114), (340, 114))
    it.arrow((140, 136), (140, 164), label="refine", at=(148, 155), anchor="start")
    it.box(20, 164, 240, 44, ["silver_<name>", "small:typed, checked, one row per key"])
    it.arrow((260, 180), (380, 136))
    it.arrow((90, 208), (90, 246), label="refine", at=(82, 232), anchor="end")
    it.arrow((220, 208), (340, 246), label="features", at=(298, 224), anchor="start")
    it.box(20, 246, 240, 44, ["gold_spine, gold_labels", "small:whom, when; what turned out"])
    it.box(340, 246, 240, 44, ["features_<name>", "small:by key and known-at time"])
    it.arrow((160, 290), (240, 326))
    it.arrow((440, 290), (360, 326), label="train", at=(412, 314), anchor="start")
    it.box(180, 326, 240, 44, ["model version", "small:files, feature spec, lineage"], "good")
    it.arrow((300, 370), (300, 404), label="gate, then score", at=(308, 392), anchor="start")
    it.box(180, 404, 240, 44, ["gold_predictions", "small:append-only; latest in a view"])
    it.box(446, 404, 134, 44, ["gold_unscored", "small:with reasons"], "new")
    it.arrow((420, 426), (446, 426))
    it.arrow((60, 290), (60, 488), label="late labels", at=(68, 400), anchor="start")
    it.arrow((300, 448), (300, 488), label="monitor", at=(308, 473), anchor="start")
    it.box(20, 488, 560, 44, ["ops.drift_metrics, ops.performance_metrics, ops.alerts", "small:window by window"])
    it.box(
        20,
        546,
        560,
        44,
        ["ops.stage_runs, ops.gate_decisions, ops.changes", "small:what each stage did, and who decided what"],
        "store",
    )
    return it


def promotion() -> Drawing:
    """Draw who asks whom when a challenger is promoted."""
    it = Drawing(
        600,
        620,
        "The promotion, step by step",
        "The gate asks the registry for challenger and champion, and asks the feature client to score both on the same "
        "frozen rows. It runs the checks. It stores the evidence with the run, "
        "then appends the decision to gate_decisions. It tags the version, sets previous_champion, sets champion and "
        "removes challenger, and reads the aliases back. "
        "Then it appends that the decision was applied. All of this is done under a lock on the model. Interrupted "
        "anywhere, the next command finishes what was begun.",
    )
    lanes = {"gate": 75, "ws.fe": 225, "ws.registry": 375, "ops.gate_decisions": 520}
    for name, x in lanes.items():
        it.box(
            x - 60 if name != "ops.gate_decisions" else x - 70,
            20,
            120 if name != "ops.gate_decisions" else 140,
            34,
            [name],
            "step" if name == "gate" else "store",
        )
        it.line((x, 54), (x, 584), dashed=True)
    steps: list[tuple[str, str, str]] = [
        ("gate", "ws.registry", "who is challenger, who champion?"),
        ("gate", "ws.fe", "score both, same rows"),
        ("gate", "gate", "paired bootstrap, checks"),
        ("gate", "ws.registry", "1  evidence, with the run"),
        ("gate", "ops.gate_decisions", "2  the decision: decided"),
        ("gate", "ws.registry", "3  tags of the version"),
        ("gate", "ws.registry", "4a  previous_champion"),
        ("gate", "ws.registry", "4b  champion; challenger goes"),
        ("ws.registry", "gate", "5  both read back"),
        ("gate", "ops.gate_decisions", "6  the decision: applied"),
    ]
    for number, (start, end, label) in enumerate(steps):
        y = 90 + number * 51
        if start == end:
            it.box(lanes[start] - 55, y - 14, 236, 30, [label], "new")
            continue
        x0, x1 = lanes[start], lanes[end]
        it.arrow((x0, y), (x1, y), label=label, at=((x0 + min(x1, 375)) / 2 if end != "gate" else 225, y - 7))
    it.write(
        300, 606, "small:all of it under a lock on the model; interrupted anywhere, the next command goes on", "dim"
    )
    return it
