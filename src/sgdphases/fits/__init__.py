"""Estimates with errors."""
