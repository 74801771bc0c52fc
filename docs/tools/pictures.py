"""The pictures of the pages: `docs/pictures/*.svg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.tools import architecture_pictures as architecture
from docs.tools.drawing import Drawing

FOLDER = "docs/pictures"


def cycle() -> Drawing:
    """Draw the stages in their order, and the way back."""
    it = Drawing(
        600,
        420,
        "The cycle",
        "Landed files become bronze, silver and gold, then features. A training makes a challenger. The gate compares "
        "it with the "
        "champion and promotes it or not. The champion scores, the monitor watches, and a decision to retrain leads "
        "back to the training.",
    )
    rows = [
        (20, ["ingest", "small:landed files → bronze"]),
        (84, ["refine", "small:silver: typed, checked; gold: labels"]),
        (148, ["features", "small:values by key and known-at time"]),
        (212, ["train", "small:a version, @challenger"]),
        (276, ["gate", "small:challenger against @champion"]),
    ]
    for y, lines in rows:
        it.box(30, y, 290, 48, lines, "new" if lines[0] == "train" else "good" if lines[0] == "gate" else "step")
    for y, _ in rows[:-1]:
        it.arrow((175, y + 48), (175, y + 64))
    it.box(30, 350, 290, 48, ["score", "small:the champion's predictions"])
    it.arrow((175, 324), (175, 350), label="@champion", at=(185, 342), anchor="start")
    it.box(390, 350, 190, 48, ["monitor", "small:drift, late labels, alerts"])
    it.arrow((320, 374), (390, 374))
    it.box(390, 212, 190, 48, ["retrain", "small:due, and why?"])
    it.arrow((485, 350), (485, 260))
    it.arrow((390, 236), (320, 236))
    it.box(
        390,
        20,
        190,
        112,
        ["each stage", "small:takes as_of", "small:runs again unharmed", "small:is on record"],
        "store",
    )
    return it


def two_clocks() -> Drawing:
    """Draw what a prediction may know, on a line of time."""
    it = Drawing(
        600,
        400,
        "Two clocks: event time and known-at",
        "A line of time. Three payments of a customer happen and become known some days later. The prediction is made "
        "in between: it is "
        "given the newest feature row known by then, though a later payment had already happened. The label becomes "
        "known a horizon after the "
        "prediction; a training as of a time before that does not see it.",
    )
    it.write(20, 30, "happened (event time)", "strong", "start")
    it.write(20, 212, "known (known-at)", "strong", "start")
    it.line((20, 70), (580, 70))
    it.line((20, 186), (580, 186))
    prediction = 300
    for happened, known, name in ((60, 110, "1"), (150, 215, "2"), (255, 345, "3")):
        seen = known < prediction
        it.dot(happened, 70, "step" if seen else "store")
        it.write(happened, 56, f"small:payment {name}", "dim")
        it.arrow((happened, 78), (known, 178), dashed=True)
        it.dot(known, 186, "good" if seen else "store")
    it.line((300, 50), (300, 262), dashed=True)
    it.write(300, 278, "prediction time", "strong")
    it.write(294, 298, "small:sees row 2: the newest row known by then", "dim", "end")
    it.write(306, 298, "small:payment 3 had happened,", "dim", "start")
    it.write(306, 315, "small:but nobody knew: it would be a leak", "dim", "start")
    it.line((520, 50), (520, 262), dashed=True)
    it.write(520, 278, "label known", "strong")
    it.arrow((306, 230), (514, 230), label="label horizon", at=(410, 223))
    it.box(
        20,
        334,
        560,
        52,
        ["as_of", "small:a run at this time reads nothing that was known later, rows and labels alike"],
        "store",
    )
    return it


def aliases() -> Drawing:
    """Draw which names point to which versions before and after a promotion."""
    it = Drawing(
        600,
        330,
        "Champion and challenger are aliases",
        "Before a promotion the alias champion points to version 3, challenger to version 4, previous_champion to "
        "version 1. After it champion "
        "points to version 4, previous_champion to version 3, and challenger to none. A rollback goes the same way "
        "back. No file is copied.",
    )
    for x, title, names in (
        (20, "before", {"1": "previous_champion", "2": "", "3": "champion", "4": "challenger"}),
        (330, "after the promotion", {"1": "", "2": "", "3": "previous_champion", "4": "champion"}),
    ):
        it.write(x, 34, title, "strong", "start")
        for number, (version, name) in enumerate(names.items()):
            y = 52 + number * 50
            it.box(x, y, 70, 36, [f"v{version}"], "store")
            if name:
                kind = {"champion": "good", "challenger": "new"}.get(name, "step")
                it.box(x + 96, y, 160, 36, [name], kind)
                it.arrow((x + 96, y + 18), (x + 70, y + 18))
    it.write(300, 282, "small:in this order: decision on record, previous_champion, champion, both read back", "dim")
    it.write(300, 304, "small:a scoring takes the version that champion points to; no file is copied", "dim")
    return it


def homes() -> Drawing:
    """Draw one use case above one protocol, and two homes below it."""
    it = Drawing(
        600,
        430,
        "One protocol, two homes",
        "A use case and the stages know only the protocol of a workspace: tables and frames, the feature client, the "
        "registry, functions, "
        "operations. Below it stands either the local workspace, a folder with Delta tables, DuckDB, Sail and MLflow "
        "on SQLite, or the Databricks "
        "workspace with Unity Catalog, the real feature engineering client, MLflow in Unity Catalog and Jobs.",
    )
    it.box(60, 20, 480, 46, ["your use case", "small:tables.py, features.py, model.py, config.yml"], "good")
    it.arrow((300, 66), (300, 88))
    it.box(60, 88, 480, 46, ["stages", "small:ingest, refine, features, train, gate, score, monitor, retrain"])
    it.arrow((300, 134), (300, 156))
    it.box(
        60,
        156,
        480,
        66,
        [
            "the workspace protocol",
            "mono:ws.tables  ws.frames  ws.fe  ws.registry",
            "mono:ws.functions  ws.jobs  ws.secrets",
        ],
        "new",
    )
    it.arrow((170, 222), (170, 262))
    it.arrow((430, 222), (430, 262))
    it.box(20, 262, 270, 148, ["local: a folder"], "area")
    it.box(310, 262, 270, 148, ["databricks: a workspace"], "area")
    for x, lines in (
        (
            155,
            [
                "Delta tables, by delta-rs",
                "DuckDB: joins, scoring, counts",
                "Sail: your PySpark, without a JVM",
                "MLflow on SQLite",
                "no account, no network",
            ],
        ),
        (
            445,
            [
                "Unity Catalog",
                "FeatureEngineeringClient",
                "Spark, serverless",
                "MLflow in Unity Catalog",
                "Jobs, grants, data profiling",
            ],
        ),
    ):
        for number, line in enumerate(lines):
            it.write(x, 312 + number * 21, f"small:{line}")
    return it


def feature_spec() -> Drawing:
    """Draw what travels with a model, and who reads it."""
    it = Drawing(
        600,
        380,
        "A feature spec travels with the model",
        "Lookups and functions make a training set from the spine, and are stored with the model as its feature spec. "
        "Scoring gives only keys "
        "and times: the client reads the spec, looks the same features up as of each row's time, and gives the model "
        "the same columns in the same order.",
    )
    it.box(20, 20, 170, 46, ["spine", "small:keys, time, label"], "store")
    it.box(215, 20, 170, 46, ["feature tables", "small:at recorded versions"], "store")
    it.box(410, 20, 170, 46, ["lookups, functions", "small:declared by the trainer"], "store")
    it.box(150, 106, 300, 46, ["training set", "small:joined as of each row's time"])
    for x in (105, 300, 495):
        it.arrow((x, 66), (300 + (x - 300) * 0.4, 106))
    it.arrow((300, 152), (300, 186))
    it.box(
        120,
        186,
        360,
        66,
        [
            "model version",
            "mono:model + feature_spec.yaml + lineage.json",
            "small:columns, where each comes from, functions",
        ],
        "new",
    )
    it.box(20, 306, 190, 50, ["rows to score", "small:keys and times only"], "store")
    it.box(280, 306, 300, 50, ["score_batch", "small:the same lookups, the same columns"], "good")
    it.arrow((210, 331), (280, 331))
    it.arrow((430, 252), (430, 306), label="reads the spec", at=(438, 284), anchor="start")
    return it


_DRAWINGS: Mapping[str, Callable[[], Drawing]] = {
    "cycle": cycle,
    "two-clocks": two_clocks,
    "aliases": aliases,
    "homes": homes,
    "feature-spec": feature_spec,
    "context": architecture.context,
    "containers": architecture.containers,
    "data": architecture.data,
    "promotion": architecture.promotion,
}


def _of(draw: Callable[[], Drawing]) -> Callable[[], str]:
    return lambda: draw().svg()


FILES: Mapping[str, Callable[[], str]] = {f"{FOLDER}/{name}.svg": _of(draw) for name, draw in _DRAWINGS.items()}
"""Each picture's file, and what makes its text."""
