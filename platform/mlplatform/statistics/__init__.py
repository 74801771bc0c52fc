"""What is computed from columns of numbers: metrics, intervals, profiles, distances. No table, no workspace."""
