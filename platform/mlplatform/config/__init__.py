"""Settings of a use case: what they are, where each came from, environments, jobs and cron."""
