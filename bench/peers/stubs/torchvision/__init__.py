"""A stand-in for torchvision, only for importing AtomAI 0.8.1 without it.

AtomAI imports four names from torchvision when it is imported: three pretrained backbones (for its
optional ``CustomBackbone``) and ``make_grid`` (a plot of its autoencoders). Neither is on the way
of ``Segmentor``, ``SegPredictor`` and ``Locator``, which the benchmark times, so that the stand-in
changes no figure. Every name here raises when it is called. The benchmark puts this folder on the
path only where the real torchvision cannot be imported, and says so in its result.
"""
