"""Gives a CI/CD pipeline its own least-privilege AWS identity, per environment, and keeps it healthy."""

__version__ = "0.1.0"
