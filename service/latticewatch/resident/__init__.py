"""The analysis of frames on a device: the host asks for all of it, and waits once.

What `analysis` does on the host, stage by stage; here stages hand on to one another on the device
(`latticewatch_kernels.resident`), and one look at the end brings what is published. Sizes of
buffers come from a plan that is taken from the frame before. A frame that it does not fit is run
again with its own: results are those of the frame alone.
"""

from latticewatch.resident.plans import Plans
from latticewatch.resident.recordings import Recordings
from latticewatch.resident.run import Outcome, Runner
from latticewatch.resident.stages import Wanted

__all__ = ["Outcome", "Plans", "Recordings", "Runner", "Wanted"]
