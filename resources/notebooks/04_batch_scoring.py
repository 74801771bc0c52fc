# Databricks notebook source
# MAGIC %md
# MAGIC # 4. Batch scoring with `@champion`
# MAGIC
# MAGIC Who became due since the scoring before `AS_OF` is scored, each with the features as of the own prediction time.
# MAGIC Predictions are appended, one row an entity, prediction time and model version; again adds nothing.

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

done = pipeline.run(["score"])
display(pd.DataFrame(done.to_dict()["stages"]).drop(columns="details"))

# COMMAND ----------

# MAGIC %md
# MAGIC All predictions; the view `gold_latest_predictions` holds the newest of each entity.

# COMMAND ----------

display(ws.tables.read(names.gold("predictions")))
