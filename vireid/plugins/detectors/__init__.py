"""Detectors of people in video frames."""
