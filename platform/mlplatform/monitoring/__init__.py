"""Watching a model in production: reference profiles, drift, realised performance, alerts, the retrain decision."""
