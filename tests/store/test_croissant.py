"""Croissant metadata of a store: what the standard requires, and files that are what it says of them."""

import hashlib
import json

import pytest

from radiossl.cli.main import main
from radiossl.store.croissant import write_croissant

#: What Croissant 1.0 requires of a data set, its files, record sets and fields.
REQUIRED = {
    "sc:Dataset": {"@context", "conformsTo", "name", "description", "license", "url", "creator", "datePublished"},
    "cr:FileObject": {"@id", "name", "contentUrl", "encodingFormat", "sha256"},
    "cr:FileSet": {"@id", "encodingFormat", "includes", "containedIn"},
    "cr:RecordSet": {"@id", "field"},
    "cr:Field": {"@id", "name", "dataType", "source"},
}


def parts(node):
    if isinstance(node, dict):
        if node.get("@type") in REQUIRED:
            yield node
        for value in node.values():
            yield from parts(value)
    elif isinstance(node, list):
        for item in node:
            yield from parts(item)


def test_a_store_is_described_as_the_standard_asks(small_store, tmp_path):
    write_croissant(small_store.paths[0], tmp_path / "croissant.json", "CC-BY-4.0")
    about = json.loads((tmp_path / "croissant.json").read_text())
    assert about["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert about["license"] == "CC-BY-4.0"
    found = list(parts(about))
    assert {part["@type"] for part in found} == set(REQUIRED)
    for part in found:
        assert set(part) >= REQUIRED[part["@type"]], part["@type"]
    ids = [part["@id"] for part in found[1:]]
    assert len(set(ids)) == len(ids)
    for file in (part for part in found if part["@type"] == "cr:FileObject"):
        content = (small_store.paths[0] / file["contentUrl"]).read_bytes()
        assert (file["sha256"], file["contentSize"]) == (hashlib.sha256(content).hexdigest(), f"{len(content)} B")
    fields = {part["name"]: part for part in found if part["@type"] == "cr:Field"}
    assert set(fields) == {"pixels", *small_store.columns}
    kinds = [fields[name]["dataType"] for name in ("kind", "flux", "height", "pixels")]
    assert kinds == ["sc:Text", "sc:Float", "sc:Integer", "sc:Float"]


def test_the_library_of_the_standard_takes_it(small_store, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    write_croissant(small_store.paths[0], tmp_path / "croissant.json", "CC-BY-4.0")
    issues = mlcroissant.Dataset(str(tmp_path / "croissant.json")).metadata.ctx.issues
    assert not issues.errors


def test_the_command_writes_it(small_store, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["store", "info", str(small_store.paths[0]), "--croissant", str(tmp_path / "c.json")])
    assert ended.value.code == 0
    assert json.loads((tmp_path / "c.json").read_text())["name"] == "store"
