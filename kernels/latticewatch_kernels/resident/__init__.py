"""A frame on a device from its Fourier plane to its description, without a look from the host.

Each module is one stage. Its functions take and give arrays of a device alone; numbers that a later
stage needs lie in the frame's `facts`, which no stage brings to the host. What shapes and sizes of
buffers depend on is assumed beforehand (`plan.Plan`) and held against the facts at the end. Every
stage has a twin among the modules of `latticewatch_kernels`, which are what a host runs.
"""
