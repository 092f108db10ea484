"""What the result of a run depends on besides its recipe: written when it starts, compared when it is resumed."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, Field

import radiossl
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, read_json
from radiossl.io.settings import validated
from radiossl.pretraining.data import Exclusion
from radiossl.pretraining.recipe import Recipe, read_recipe
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.formats.imagenet import imagenet_file, is_imagenet
from radiossl.weights.released import find_backbone
from radiossl.weights.tensors import WEIGHTS_FILE

RECIPE_FILE = "recipe.yaml"
RECORD_FILE = "run.json"


class TrainedStore(BaseModel, extra="forbid", frozen=True):
    """A training store: its name, number of cutouts and `store_content`."""

    store: str
    cutouts: int
    content: str


class ExcludedStore(BaseModel, extra="forbid", frozen=True):
    """A store whose sources are left out: its `store_content`, and how close is the same."""

    content: str
    radius_arcsec: float


class Origin(BaseModel, extra="forbid", frozen=True):
    """The backbone that weights started from, and their hash."""

    path: str
    sha256: str


class RunRecord(BaseModel, extra="forbid", frozen=True):
    """What a run was started with: stores in their order, weights (null: random), versions of every sitting."""

    data: list[TrainedStore]
    excluded: list[ExcludedStore] = []
    init: Origin | None = None
    #: Of radiossl, torch and the precision, by these names.
    versions: list[dict[str, str]] = Field(min_length=1)

    @classmethod
    def describe(
        cls, data: Sequence[PathLike], exclusion: Exclusion, init: PathLike | None, precision: str
    ) -> RunRecord:
        """Describe the run that these would start; raise if a store cannot be opened, or `init` has no weights."""
        described = [(Path(path).name, open_store(path)) for path in data]
        stores = [TrainedStore(store=name, cutouts=len(one), content=store_content(one)) for name, one in described]
        others = sorted({store_content(open_store(path)) for path in exclusion.stores})
        excluded = [ExcludedStore(content=one, radius_arcsec=exclusion.radius_arcsec) for one in others]
        origin = None if init is None else Origin(path=str(init), sha256=_weights_sha256(Path(init)))
        versions = {"radiossl": radiossl.__version__, "torch": str(torch.__version__), "precision": precision}
        return cls(data=stores, excluded=excluded, init=origin, versions=[versions])

    def check(self, now: RunRecord, run: Path) -> None:
        """Raise `RadiosslError` if `now` is not what the run was started with; its `init` need not be given again."""
        if [entry.content for entry in self.data] != [entry.content for entry in now.data]:
            names = ", ".join(f"{entry.store} ({entry.cutouts} cutouts)" for entry in self.data)
            raise RadiosslError(
                f"{run}: was started with other training data, {names}; resume with the same --data, or start another"
                " run from its weights with --init"
            )
        if self.excluded != now.excluded:
            raise RadiosslError(
                f"{run}: was started with other --exclude stores or another --exclude-radius; resume with the same"
            )
        if now.init is not None and (self.init is None or self.init.sha256 != now.init.sha256):
            before = "random weights" if self.init is None else f"other weights, {self.init.path}"
            raise RadiosslError(f"{run}: was started from {before}; resume without --init")

    def resume(self, now: RunRecord, run: Path) -> RunRecord:
        """Return this record with the present sitting added; raise as `check`, warn of other versions."""
        self.check(now, run)
        before, new = self.versions[-1], now.versions[0]
        if before == new:
            return self
        changed = [f"{name} was {before.get(name)} and is {new[name]}" for name in new if before.get(name) != new[name]]
        warnings.warn(
            f"{run}: {', '.join(changed)}; the weights will differ slightly from those of an uninterrupted run",
            stacklevel=2,
        )
        return self.model_copy(update={"versions": [*self.versions, new]})


def store_content(store: CutoutStore) -> str:
    """Hash what training takes from a store: the cutouts in their order, their pixels and where they are.

    The statistics of the pixels stand for them, so that not all have to be read.
    """
    digest = hashlib.sha256("\0".join(map(str, store.column("cutout_id"))).encode())
    digest.update(store.pixel_key())
    for column in ("ra_deg", "dec_deg", "pixel_scale_arcsec"):
        digest.update(store.column(column).astype(float).tobytes())
    return digest.hexdigest()


def check_recipe(run: Path, recipe: Recipe) -> None:
    """Raise `RadiosslError` if a run was started with another recipe."""
    before, now = read_recipe(run / RECIPE_FILE)[0].model_dump(mode="json"), recipe.model_dump(mode="json")
    changed = [key for key in now if now[key] != before[key]]
    if changed:
        raise RadiosslError(
            f"{run}: was started with another {changed[0]!r} ({before[changed[0]]}); resume with the same recipe"
        )


def read_record(run: Path, now: RunRecord) -> RunRecord:
    """Return the record of a run; of one that radiossl 0.1 started, which wrote none, what is given now."""
    if (file := run / RECORD_FILE).exists():
        return validated(RunRecord, read_json(file), f"{file}: damaged or from a newer radiossl, start the run again")
    warnings.warn(
        f"{run}: was started by radiossl 0.1, which did not record its data; make sure that --data, --exclude and"
        " --init are the same",
        stacklevel=2,
    )
    return now


def check_finished(
    run: Path, recipe: Recipe, data: Sequence[PathLike], exclusion: Exclusion, init: PathLike | None
) -> None:
    """Raise `RadiosslError` if a finished run is not the one that these would start."""
    check_recipe(run, recipe)
    now = RunRecord.describe(data, exclusion, init, recipe.precision)
    read_record(run, now).check(now, run)


def _weights_sha256(backbone: Path) -> str:
    if is_imagenet(backbone):
        return file_sha256(imagenet_file())
    try:
        return file_sha256(find_backbone(backbone) / WEIGHTS_FILE)
    except FileNotFoundError:
        raise RadiosslError(f"--init {backbone}: has no {WEIGHTS_FILE}") from None
    except RadiosslError as error:
        raise RadiosslError(f"--init {error}") from None
