"""Array mathematics of latticewatch: NumPy or CuPy arrays in, the same out.

No input or output, no model, no state between calls.
"""
