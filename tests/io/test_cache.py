"""A cache that is full or cannot be written is a line of warning, never the end of a command."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import radiossl
from radiossl.io.cache import cache_folder
from radiossl.io.errors import RadiosslError

CALLS_A_KERNEL = """
import resource, sys
import numpy as np
if "full" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**9, 2**9))
from radiossl.io.compiling import exact_kernel
@exact_kernel
def doubled(values):
    return 2 * values
print(doubled(np.arange(3)))
"""


def test_the_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path))
    assert cache_folder("weights") == tmp_path / "weights"
    monkeypatch.delenv("RADIOSSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("features") == tmp_path / "xdg" / "radiossl" / "features"


@pytest.fixture(params=["unwritable", "full"])
def broken_cache(request, tmp_path, monkeypatch):
    """A cache below a file, or in which there is no room for more than a few bytes."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path / ("file/cache" if request.param == "unwritable" else "cache")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if request.param == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**9, hard))
    yield cache_folder("features")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_features_are_made_without_a_cache(broken_cache, small_store, tiny_backbone):
    from radiossl.evaluation.shared_features import SharedFeatures

    with pytest.warns(UserWarning, match=r"features: the cache cannot be used \(.*\); going on without it$") as said:
        features = SharedFeatures(broken_cache).of(tiny_backbone, small_store)
    assert len(said) == 1
    np.testing.assert_array_equal(features, SharedFeatures().of(tiny_backbone, small_store))
    assert not list(broken_cache.glob("*")) if broken_cache.parent.name == "cache" else True


@pytest.mark.parametrize("kind", ["full", "unwritable"])
def test_functions_are_compiled_without_a_cache(kind, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CALLS_A_KERNEL)
    (tmp_path / "file").touch()
    place = tmp_path / "cache" if kind == "full" else tmp_path / "file" / "cache"
    changes = {"NUMBA_CACHE_DIR": str(place), "PYTHONPATH": str(Path(radiossl.__file__).parents[1])}
    environment = os.environ | changes | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, script, kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0 2 4]\n"
    assert done.stderr.count("the cache cannot be used") == (kind == "full")


def test_without_a_home_there_is_a_folder_for_this_once(monkeypatch):
    for name in ("RADIOSSL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder("features").parents[2].is_dir()


def test_a_failure_of_something_else_is_not_hidden():
    from radiossl.io.cache import optional_cache

    with pytest.raises(RadiosslError, match="other"), optional_cache("place"):
        raise RadiosslError("other")
