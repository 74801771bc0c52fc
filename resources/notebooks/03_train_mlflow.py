# Databricks notebook source
# MAGIC %md
# MAGIC # 3. Train and gate: a challenger, and whether it becomes champion
# MAGIC
# MAGIC Searches, fits on a training set with feature lookups, registers the version as `@challenger`, and puts it
# MAGIC to the gate.
# MAGIC The first version needs to pass the absolute checks, a later one to beat the champion on the same rows as well.
# MAGIC A challenger that is rejected is an outcome, not an error.

# COMMAND ----------

# MAGIC %pip install --quiet "../..[databricks,samples]" mlflow==3.17.2 scikit-learn==1.9.1

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

dbutils.widgets.text("use_case", "credit_risk")

ENV = "dev"
CATALOG = ""  # where it is not as config.yml says (setting `catalog`; else it is called as the environment)
PREFIX = ""  # what a bundle's development mode puts before schemas and models, as in "dev_jo_"
AS_OF = ""  # only what was known by then counts, as in "2006-01-01"; empty: now

# COMMAND ----------

from datetime import UTC, datetime

import pandas as pd

from mlplatform import Pipeline, open_use_case, open_workspace, parse_as_of

ws = open_workspace(env=ENV, catalog=CATALOG, prefix=PREFIX, spark=spark)
use_case = open_use_case(ws, dbutils.widgets.get("use_case"))
as_of = parse_as_of(AS_OF) if AS_OF else datetime.now(UTC)
pipeline = Pipeline(ws, use_case, as_of)
names = use_case.namespace

# COMMAND ----------

done = pipeline.run(["train", "gate"])
display(pd.DataFrame(done.to_dict()["stages"]).drop(columns="details"))

# COMMAND ----------

# MAGIC %md
# MAGIC Versions of the model, and their aliases.

# COMMAND ----------

versions = ws.registry.versions(use_case.model)
aliases = ws.registry.aliases(use_case.model)
display(
    pd.DataFrame(
        {
            "version": [item.version for item in versions],
            "aliases": [", ".join(sorted(a for a in aliases if aliases[a] == item.version)) for item in versions],
            "created_at": [item.created_at for item in versions],
        }
    )
)

# COMMAND ----------

# MAGIC %md
# MAGIC What was decided, with the numbers of every check.

# COMMAND ----------

display(ws.tables.read(names.ops("gate_decisions")))
