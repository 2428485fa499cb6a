"""The nightly check: every environment, read-only, one result model with many renderings."""
