"""The bundle's resources of a use case, generated from its settings, so that those of all use cases stay alike."""
