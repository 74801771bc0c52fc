# Databricks notebook source
# MAGIC %md
# MAGIC # 3. Train and gate: a challenger, and whether it becomes champion
# MAGIC
# MAGIC Searches, fits on a training set with feature lookups, registers the version as `@challenger`, and puts it
# MAGIC to the gate.
# MAGIC The first version needs to pass the absolute checks, a later one to beat the champion on the same rows as well.
# MAGIC A rejected challenger is an outcome, not an error.

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

done = cycle.run("train", "gate")
display(stages_table(done))

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
