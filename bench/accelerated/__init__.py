"""What `bench/gpu.py` measures, part by part."""
