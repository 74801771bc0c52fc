"""Loaded once by the server from which runs that are to be killed are forked."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hyperopt  # noqa: F401

import tests.support.tiny_runs  # noqa: F401
