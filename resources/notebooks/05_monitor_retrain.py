# Databricks notebook source
# MAGIC %md
# MAGIC # 5. Monitor, and retrain if it is due
# MAGIC
# MAGIC Measures drift, and performance as labels mature; raises alerts; decides whether to retrain, and if so trains
# MAGIC and goes to the gate.

# COMMAND ----------

# MAGIC %pip install --quiet -r ../requirements/credit_risk.txt ../..

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

import pandas as pd

from mlplatform.notebook import open_cycle, stages_table

cycle = open_cycle(spark, dbutils)
ws, use_case, names = cycle.ws, cycle.use_case, cycle.names

# COMMAND ----------

done = cycle.run("monitor", "retrain")
display(stages_table(done))

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
