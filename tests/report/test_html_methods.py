"""What a paper says of a result."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from radiossl.report.html import Report, methods_html
from radiossl.weights.backbone import load_backbone, save_backbone


def test_weights_data_versions_and_citations_are_named(tiny_backbone, tmp_path):
    recipe = {"name": "mine", "method": "byol"}
    about = {"citation": "Smith & Wesson <1999>"}
    config = replace(tiny_backbone.config, recipe=recipe, data=[{"store": "first", "cutouts": 1099}], about=about)
    save_backbone(tmp_path / "run" / "backbone", tiny_backbone.network, config)
    sha256 = load_backbone(tmp_path / "run" / "backbone").sha256
    known = {"weights": str(tmp_path / "run" / "backbone"), "weights_sha256": sha256}
    text = methods_html("Neighbours are near.", known, "umap")
    for part in ("radiossl ", "torch ", "backbone run (", sha256[:16], "BYOL with the recipe mine", "first (1099)"):
        assert part in text
    assert "Neighbours are near." in text
    assert "Smith &amp; Wesson &lt;1999&gt;" in text
    assert re.findall(r"@\w+\{(\w+),", text) == ["radiossl", "byol", "umap"]
    assert text.count("{") == text.count("}")


def test_weights_that_are_gone_or_others_are_named_only(tiny_backbone, tmp_path):
    save_backbone(tmp_path / "b", tiny_backbone.network, tiny_backbone.config)
    for known in (
        {"weights": str(tmp_path / "gone"), "weights_sha256": "abc"},
        {"weights": str(tmp_path / "b"), "weights_sha256": "other"},
    ):
        text = methods_html("", known)
        assert f"backbone {known['weights'].rpartition('/')[2]} (SHA-256 {known['weights_sha256']})" in text
        assert "preprocessed" not in text


def test_without_weights_there_are_software_and_method(tmp_path):
    page = Report("t").methods("Trees.", {}, "forest").write(tmp_path / "r.html").read_text()
    assert "<details><summary>For a paper" in page
    assert "10.1109/ICDM.2008.17" in page
    assert "backbone" not in page.partition("<body>")[2]


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_page_needs_no_torch(tiny_backbone, tmp_path, with_weights):
    save_backbone(tmp_path / "b", tiny_backbone.network, tiny_backbone.config)
    known = {"weights": str(tmp_path / "b"), "weights_sha256": load_backbone(tmp_path / "b").sha256}
    code = "import json, sys; from radiossl.report.html import Report\n"
    code += "Report('t').methods('', json.loads(sys.argv[2])).write(sys.argv[1])\n"
    code += "sys.exit(', '.join({'torch', 'matplotlib', 'pandas', 'datasets'} & set(sys.modules)) or 0)"
    run = [sys.executable, "-c", code, str(tmp_path / "r.html"), json.dumps(known if with_weights else {})]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("images were preprocessed by" in (tmp_path / "r.html").read_text()) is with_weights
