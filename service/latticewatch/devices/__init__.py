"""Where frames are computed: which device each stream is on, and what is open there."""
