"""Accuracy against truth: frames, detectors, counting, the physical limit, tables and plots."""
