"""The stages, in the order in which data flows: ingest, refine, features, train, gate, score, monitor, retrain."""
