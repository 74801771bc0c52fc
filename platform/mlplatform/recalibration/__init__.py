"""Recalibration: a champion whose probabilities are moved to what outcomes say, as a new version."""
