# Databricks notebook source
# MAGIC %md
# MAGIC # 2. Refine and features: silver, gold, feature tables
# MAGIC
# MAGIC Silver is typed and cleaned; rows that cannot go on lie in quarantine with the reason. Gold is the label spine.
# MAGIC Feature tables have primary keys with a time series column, so that training and scoring look them up
# MAGIC as of each row's own time.

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

done = pipeline.run(["refine", "features"])
display(pd.DataFrame(done.to_dict()["stages"]).drop(columns="details"))

# COMMAND ----------

# MAGIC %md
# MAGIC Silver, and what did not get there.

# COMMAND ----------

for silver in use_case.silver:
    display(ws.tables.read(names.silver(silver.name)))
    display(ws.tables.read(names.quarantine(silver.name)))

# COMMAND ----------

# MAGIC %md
# MAGIC Feature tables.

# COMMAND ----------

for table in use_case.features:
    display(ws.tables.read(names.features(table.name)))
