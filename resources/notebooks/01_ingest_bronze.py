# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Ingest: landed files become bronze
# MAGIC
# MAGIC Each file that was there by `AS_OF` becomes rows of its bronze table, exactly once: again adds nothing.
# MAGIC
# MAGIC Files land in the use case's volume; for a trial, upload the samples first:
# MAGIC `mlplatform upload-samples credit_risk --workspace databricks`. They are of the past, so that there is something
# MAGIC to score only at a time like `AS_OF = "2006-01-01"`. Run the notebooks in order, with the same settings in each.
# MAGIC The jobs of the bundle do the same on a schedule.

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

done = pipeline.run(["ingest"])
display(pd.DataFrame(done.to_dict()["stages"]).drop(columns="details"))

# COMMAND ----------

# MAGIC %md
# MAGIC What landed, as text, and the file and line each row came from.

# COMMAND ----------

for source in use_case.sources:
    display(ws.tables.read(names.bronze(source.name)))
