# Databricks notebook source
# MAGIC %md
# MAGIC # 5. Monitor, and retrain if it is due
# MAGIC
# MAGIC Measures drift, and performance as labels mature; raises alerts; decides whether to retrain, and if so trains
# MAGIC and goes to the gate.

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

done = pipeline.run(["monitor", "retrain"])
display(pd.DataFrame(done.to_dict()["stages"]).drop(columns="details"))

# COMMAND ----------

# MAGIC %md
# MAGIC What was measured, and the alerts it raised.

# COMMAND ----------

for table in ("drift_metrics", "performance_metrics", "alerts"):
    display(ws.tables.read(names.ops(table)))

# COMMAND ----------

# MAGIC %md
# MAGIC The decision about retraining, and why.

# COMMAND ----------

display(pd.DataFrame([{key: str(value) for key, value in done.details("retrain").items()}]))
