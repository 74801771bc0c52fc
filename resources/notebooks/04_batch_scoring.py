# Databricks notebook source
# MAGIC %md
# MAGIC # 4. Batch scoring with `@champion`
# MAGIC
# MAGIC Entities that became due since the previous scoring are scored, each with the features as of its own prediction time.
# MAGIC Predictions are appended, one row per entity, prediction time and model version; running it again adds nothing.

# COMMAND ----------

# MAGIC %pip install --quiet -r ../requirements/credit_risk.txt ../..

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

from mlplatform.notebook import open_cycle, stages_table

cycle = open_cycle(spark, dbutils)
ws, use_case, names = cycle.ws, cycle.use_case, cycle.names

# COMMAND ----------

done = cycle.run("score")
display(stages_table(done))

# COMMAND ----------

# MAGIC %md
# MAGIC All predictions; the view `gold_latest_predictions` holds the newest of each entity.

# COMMAND ----------

display(ws.tables.read(names.gold("predictions")))
