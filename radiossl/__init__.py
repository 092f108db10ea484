"""radiossl: self-supervised learning for radio-astronomical images.

From survey mosaics to pretrained backbones, features and discoveries. The public names are declared in `__init__.pyi`
and imported when they are first used, so that ``import radiossl`` is quick.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> Any:
    try:
        return _attached(name)
    except ModuleNotFoundError as error:
        from radiossl.io.extras import missing_extra

        raise missing_extra(error.name or name) from None
