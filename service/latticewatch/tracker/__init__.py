"""All that remembers: classes, tracks, transitions, diffusion. Pure state, no I/O."""
