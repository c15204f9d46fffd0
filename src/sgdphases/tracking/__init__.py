"""Spools that steps write and the one door to MLflow."""
