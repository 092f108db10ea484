"""Fixtures that several parts share: real data, a small labelled store, a small backbone."""

import os
from pathlib import Path

# On images this small threads cost far more than they bring, the more so when tests run side by side. Before numpy and
# torch are imported, which look at it only once. UMAP's compiler would set OpenMP's threads anew, for torch as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import pyarrow as pa
import pytest
import torch

from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """Keep features that commands cache out of the home directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADIOSSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _as_many_threads_as_before():
    """The last bits of features depend on torch's threads: a test that leaves another number behind changes others."""
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images that RADIOSSL_TEST_DATA names; skips the test where there is none."""
    folder = os.environ.get("RADIOSSL_TEST_DATA", "")
    if not folder:
        pytest.skip("RADIOSSL_TEST_DATA is not set: no real data")
    if not Path(folder, "first", "tiles").is_dir():
        pytest.skip(f"RADIOSSL_TEST_DATA={folder}: has no first/tiles")
    return Path(folder)


def sky(seed, shape=(32, 32), sources=1, rms=1e-4, background=0.0):
    """A noisy image with Gaussian sources at random places."""
    rng = np.random.default_rng(seed)
    image = rng.normal(background, rms, shape)
    y, x = np.indices(shape)
    for _ in range(sources):
        y0, x0 = rng.uniform(0.25, 0.75, 2) * shape
        width = rng.uniform(1.0, 0.1 * min(shape))
        image += rng.uniform(20, 200) * rms * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * width**2))
    return image.astype(np.float32)


@pytest.fixture(scope="session", name="sky")
def sky_fixture():
    """`sky(seed, shape, sources, rms, background)` makes an image."""
    return sky


SHAPES = [(40, 40), (32, 48), (24, 24)]
KINDS = ["single", "double"]


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """A store of 24 cutouts, c00 to c23, in three sizes, a tenth of a degree apart; column `kind` is their class."""
    schema = store_schema(pa.schema([("kind", pa.string()), ("flux", pa.float64())]))

    def cutout(index):
        pixels = sky(index, SHAPES[index % 3], sources=1 + index % 2)
        if index % 4 == 0:
            pixels[:3] = np.nan
        extra = {"kind": KINDS[index % 2], "flux": None if index == 5 else 0.5 * index}
        return Cutout(
            f"c{index:02d}", pixels, "m.fits", 10.0 + 0.1 * index, -5.0, 20.0, 30.0, 1.8, "Jy/beam", None, extra
        )

    return write_store(
        tmp_path_factory.mktemp("small") / "store",
        [range(12), range(12, 24)],
        lambda job: cutout_batches(map(cutout, job), schema),
        schema,
        {"command": "test"},
    )


@pytest.fixture
def store_of(tmp_path):
    """`store_of(images)` writes a store of them; some may be cutouts already."""

    def write(images):
        schema = store_schema()
        cutouts = [
            image if isinstance(image, Cutout) else Cutout(f"c{row}", image, "m.fits", 10.0 + row, 0.0, 0, 0, 1.8)
            for row, image in enumerate(images)
        ]
        path = tmp_path / f"store{len(list(tmp_path.iterdir()))}"
        return write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "test"})

    return write


@pytest.fixture(scope="session")
def tiny_backbone():
    """A random ResNet18 for images of 32 pixels."""
    from radiossl.images.preprocess import Preprocessing
    from radiossl.weights.architecture import Architecture
    from radiossl.weights.backbone import Backbone

    return Backbone.random(Architecture(), Preprocessing(size=32), seed=0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A SAMP hub of this test's own, which no other program finds."""
    from astropy.samp import SAMPHubServer, conf

    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'samp').as_uri()}")
    with conf.set_temp("use_internet", False):
        server = SAMPHubServer(web_profile=False, lockfile=str(tmp_path / "samp"), addr="127.0.0.1")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def topcat(hub):
    """A program called TOPCAT that loads tables; what it has loaded."""
    from astropy.samp import SAMPIntegratedClient
    from astropy.table import Table

    loaded = []
    client = SAMPIntegratedClient(name="TOPCAT", addr="127.0.0.1")
    client.connect()

    def load(key, sender, message, mtype, params, extra):
        loaded.append((params["name"], Table.read(params["url"].removeprefix("file://"), format="votable")))
        client.ereply(message, "samp.ok", result={})

    client.bind_receive_call("table.load.votable", load)
    yield loaded
    client.disconnect()
