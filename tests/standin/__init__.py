"""A stand-in for a Databricks workspace: the real clients talk to it over HTTP on the loopback interface."""
