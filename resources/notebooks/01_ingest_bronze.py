# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Ingest: landed files become bronze
# MAGIC
# MAGIC Each file that had landed by `as_of` becomes rows of its bronze table, exactly once: running it again adds nothing.
# MAGIC
# MAGIC Files land in the use case's volume; for a trial, upload the samples first:
# MAGIC `mlplatform upload-samples credit_risk --workspace databricks`. The samples are of the past: set the widget `as_of`
# MAGIC to a time like `2006-01-01`, or there is nothing to score. Run the notebooks in order, with the same widgets in each.
# MAGIC For another use case change the widget `use_case`, and install its own file of `resources/requirements`.
# MAGIC The jobs of the bundle do the same on a schedule.

# COMMAND ----------

# MAGIC %pip install --quiet -r ../requirements/credit_risk.txt ../..

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

from mlplatform.notebook import open_cycle, stages_table

cycle = open_cycle(spark, dbutils)
ws, use_case, names = cycle.ws, cycle.use_case, cycle.names

# COMMAND ----------

done = cycle.run("ingest")
display(stages_table(done))

# COMMAND ----------

# MAGIC %md
# MAGIC What landed, as text, and the file and line each row came from.

# COMMAND ----------

for source in use_case.sources:
    display(ws.tables.read(names.bronze(source.name)))
