# Databricks notebook source
# MAGIC %md
# MAGIC # 2. Refine and features: silver, gold, feature tables
# MAGIC
# MAGIC Silver is typed and cleaned; rows that cannot go on lie in quarantine with the reason. Gold is the label spine.
# MAGIC Feature tables have primary keys with a time series column, so that training and scoring look them up
# MAGIC as of each row's own time.

# COMMAND ----------

# MAGIC %pip install --quiet -r ../requirements/credit_risk.txt ../..

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

from mlplatform.notebook import open_cycle, stages_table

cycle = open_cycle(spark, dbutils)
ws, use_case, names = cycle.ws, cycle.use_case, cycle.names

# COMMAND ----------

done = cycle.run("refine", "features")
display(stages_table(done))

# COMMAND ----------

# MAGIC %md
# MAGIC Silver, and what did not get there.

# COMMAND ----------

for silver in use_case.silver:
    display(ws.tables.read(names.silver(silver.name)))
    display(ws.tables.read(names.silver_quarantine(silver.name)))

# COMMAND ----------

# MAGIC %md
# MAGIC Feature tables.

# COMMAND ----------

for table in use_case.features:
    display(ws.tables.read(names.features(table.name)))
