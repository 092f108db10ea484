"""Anomaly detection on features."""
