"""A training set becomes a model version, registered as challenger."""
