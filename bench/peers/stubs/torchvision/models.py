"""Stand-ins for the backbones that AtomAI names and the benchmark never builds."""

from typing import NoReturn


def _absent(*_args: object, **_kwargs: object) -> NoReturn:
    message = "this is the benchmark's stand-in for torchvision: install the real one"
    raise NotImplementedError(message)


mobilenet_v2 = resnet50 = vgg16 = _absent
