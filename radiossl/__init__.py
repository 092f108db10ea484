"""radiossl: self-supervised learning for radio-astronomical images.

From survey mosaics to pretrained backbones, features and discoveries. The public names are declared in `__init__.pyi`
and imported when they are first used, so that ``import radiossl`` is quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
