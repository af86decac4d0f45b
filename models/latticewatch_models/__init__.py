"""The segmenter, and the simulated specimen that it is trained on and measured against."""
