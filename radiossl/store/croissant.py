"""Stores described in Croissant, the metadata of machine-learning data sets that search engines and loaders read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

import radiossl
from radiossl.io.checksums import FILES, file_checksum
from radiossl.io.files import write_json
from radiossl.store.schema import PIXELS
from radiossl.store.store import CutoutStore, open_store, store_manifest

_VERSION = "http://mlcommons.org/croissant/1.0"
#: The context of Croissant 1.0: properties that the standard adds to schema.org, and those that need a type.
_CROISSANT = (
    "citeAs column extract field fileObject fileProperty fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform "
    "excludes equivalentProperty"
)
_TYPED = {"data": "@json", "examples": "@json", "dataType": "@vocab"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{name: f"cr:{name}" for name in _CROISSANT.split()},
    **{name: {"@id": f"cr:{name}", "@type": kind} for name, kind in _TYPED.items()},
}
_FORMAT = "application/vnd.apache.arrow.stream"


def write_croissant(store: str | os.PathLike[str], out: str | os.PathLike[str], licence: str = "") -> None:
    """Write what a cutout store holds as Croissant 1.0 (JSON-LD): its files with checksums, and its columns.

    Addresses of files are relative to the store's folder, in which `out` may be, such as ``croissant.json``. The
    licence is an address or an SPDX identifier. Raises `RadiosslError` if the folder is no store.
    """
    folder = Path(store)
    write_json(out, _description(folder, open_store(folder), store_manifest(folder), licence))


def _description(folder: Path, store: CutoutStore, manifest: dict[str, Any], licence: str) -> dict[str, Any]:
    provenance = manifest["provenance"]
    made = datetime.fromtimestamp((folder / "store.json").stat().st_mtime, UTC)
    known = manifest.get(FILES, {})
    name = folder.resolve().name
    files = [
        {
            **{"@type": "cr:FileObject", **dict.fromkeys(("@id", "name", "contentUrl"), shard["file"])},
            **{"contentSize": f"{shard['bytes']} B", "encodingFormat": _FORMAT},
            "sha256": (known.get(shard["file"]) or file_checksum(folder / shard["file"])).removeprefix("sha256:"),
        }
        for shard in manifest["shards"]
    ]
    shards = {"@type": "cr:FileSet", "@id": "shards", "encodingFormat": _FORMAT, "includes": "data-*.arrow"}
    parts = [{"@id": file["@id"]} for file in files]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": name,
        "description": f"{len(store)} cutouts of radio images with their positions, made by radiossl"
        f" {manifest['radiossl_version']} ({provenance.get('command', 'unknown command')}).",
        "datePublished": made.date().isoformat(),
        "version": "1.0.0",
        "license": licence or provenance.get("terms") or "unknown",
        "url": f"urn:radiossl:{manifest['identity'][:16]}",
        "creator": {"@type": "sc:Organization", "name": f"radiossl {radiossl.__version__}"},
        **({"citeAs": provenance["reference"]} if provenance.get("reference") else {}),
        "distribution": [*files, {**shards, "containedIn": parts}],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "cutouts",
                "name": "cutouts",
                "key": {"@id": "cutouts/cutout_id"},
                "field": [_field(PIXELS, pa.float32()) | {"repeated": True}]
                + [_field(field.name, field.type) for field in store.table.schema],
            }
        ],
    }


def _field(name: str, kind: pa.DataType) -> dict[str, Any]:
    kinds = {"Boolean": pa.types.is_boolean, "Integer": pa.types.is_integer, "Float": pa.types.is_floating}
    data_type = next((f"sc:{known}" for known, test in kinds.items() if test(kind)), "sc:Text")
    source = {"fileSet": {"@id": "shards"}, "extract": {"column": name}}
    return {"@type": "cr:Field", "@id": f"cutouts/{name}", "name": name, "dataType": data_type, "source": source}
