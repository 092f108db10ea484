"""Released backbones by name: bundled, cached, or fetched from a server on this machine and checked."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
import yaml
from typer.testing import CliRunner

from radiossl.cli.weights import app
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError
from radiossl.weights import released
from radiossl.weights.backbone import load_backbone, save_backbone
from radiossl.weights.release import push_backbone
from radiossl.weights.released import Released, ReleasedFile, fetch_backbone, find_backbone, read_registry


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def site(tmp_path, tiny_backbone, monkeypatch):
    """A server with a backbone; `site.url`, `site.asked`, `site.folder`."""
    folder = tmp_path / "site" / "small"
    save_backbone(folder, tiny_backbone.network, tiny_backbone.config)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder.parent)))
    server.asked, server.folder = [], folder
    server.url = f"http://127.0.0.1:{server.server_port}/small"
    Thread(target=server.serve_forever, daemon=True).start()
    for name in ("RADIOSSL_OFFLINE", "RADIOSSL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(site, tmp_path, monkeypatch):
    """A registry with that backbone, in place of the package's."""
    files = {
        file.name: ReleasedFile(sha256=file_sha256(file), size=file.stat().st_size)
        for file in sorted(site.folder.iterdir())
        if not file.name.startswith(".")
    }
    entry = Released(version="1.0", about="A test.", licence="CC0", mirrors=(site.url,), files=files)
    file = tmp_path / "released.json"
    file.write_text(json.dumps({"small": entry.model_dump()}))
    known = read_registry(file)
    monkeypatch.setattr(released, "read_registry", lambda path=None: known)
    return known


def test_a_name_is_fetched_once_and_gives_the_same_features(site, registry, tiny_backbone, tmp_path):
    backbone = load_backbone("small")
    assert len(site.asked) == len(registry["small"].files)
    again = load_backbone("small")
    assert len(site.asked) == len(registry["small"].files)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        for one in (backbone, again):
            torch.testing.assert_close(one(images), tiny_backbone(images), rtol=0, atol=0)
    assert find_backbone("small") == tmp_path / "cache" / "weights" / "small-1.0"


def test_without_a_cache_it_is_fetched_for_this_once(site, registry, tiny_backbone, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"file/weights: the cache cannot be used .*; going on without it$"):
        backbone = load_backbone("small")
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), tiny_backbone(images), rtol=0, atol=0)


def test_another_mirror_is_tried_and_damage_is_refused(site, registry, tmp_path, monkeypatch):
    entry = registry["small"]
    elsewhere = {"small": entry.model_copy(update={"mirrors": (f"{site.url}/gone", site.url)})}
    assert fetch_backbone("small", registry=elsewhere).is_dir()
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path / "second"))
    (site.folder / "model.safetensors").write_bytes(b"x" * entry.files["model.safetensors"].size)
    with pytest.raises(RadiosslError, match=r"small: .*model.safetensors.*sha256"):
        fetch_backbone("small", registry=registry)
    assert not (tmp_path / "second" / "weights" / "small-1.0").exists()


def test_offline_uses_the_cache_only(site, registry, monkeypatch):
    monkeypatch.setenv("RADIOSSL_OFFLINE", "1")
    with pytest.raises(RadiosslError, match=r"small: not in the cache .* RADIOSSL_OFFLINE forbids"):
        load_backbone("small")
    assert not site.asked
    monkeypatch.delenv("RADIOSSL_OFFLINE")
    load_backbone("small")
    monkeypatch.setenv("RADIOSSL_OFFLINE", "1")
    assert load_backbone("small").feature_dim == 512


def test_without_an_address_it_can_come_from_a_mirror_that_is_named(site, registry, monkeypatch):
    homeless = {"small": registry["small"].model_copy(update={"mirrors": ()})}
    with pytest.raises(RadiosslError, match="small: has no address to fetch it from; give --mirror"):
        fetch_backbone("small", registry=homeless)
    monkeypatch.setenv("RADIOSSL_MIRROR", site.url)
    assert fetch_backbone("small", registry=homeless).is_dir()


def test_a_backbone_inside_the_package_needs_no_network(site, registry, tmp_path, monkeypatch):
    site.folder.rename(tmp_path / "bundled-small")
    monkeypatch.setattr(released, "_PACKAGE", tmp_path / "package")
    (tmp_path / "package" / "bundled").mkdir(parents=True)
    (tmp_path / "bundled-small").rename(tmp_path / "package" / "bundled" / "small")
    assert load_backbone("small").feature_dim == 512
    assert not site.asked


def test_what_was_probably_meant_is_said(registry, tiny_backbone, tmp_path):
    save_backbone(tmp_path / "run" / "backbone", tiny_backbone.network, tiny_backbone.config)
    for source, said in {
        tmp_path / "run": "run: no backbone; did you mean .*run/backbone?",
        tmp_path / "none": "none: no such backbone; a folder with",
        "smal": "smal: neither a backbone folder nor a released backbone; there are .*small",
    }.items():
        with pytest.raises(RadiosslError, match=said.replace("?", r"\?")):
            load_backbone(source)


def test_registries_are_checked(tmp_path):
    assert all("model.safetensors" in release.files for release in read_registry().values())
    (tmp_path / "r.json").write_text('{"a": {"version": "1", "files": {"x": {"sha256": "0", "size": 1}}}}')
    with pytest.raises(RadiosslError, match=r"r.json: a.files.x.sha256"):
        read_registry(tmp_path / "r.json")


def test_on_the_command_line(site, registry, tmp_path):
    listed = CliRunner().invoke(app, ["list"], catch_exceptions=False).output
    assert "small" in listed
    assert "to fetch" in listed
    fetched = CliRunner().invoke(app, ["fetch", "small"], catch_exceptions=False).output
    assert fetched.strip() == f"{tmp_path / 'cache' / 'weights' / 'small-1.0'}"
    assert "in the cache" in CliRunner().invoke(app, ["list"], catch_exceptions=False).output


# The hub --------------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """The few answers of a Hugging Face hub that an upload needs; what was committed is in `server.files`."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server, answer = self.server, {}
        server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path == "/api/repos/create":
            answer = {"url": f"{server.url}/me/{json.loads(body)['name']}", "id": "me/small"}
        elif self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.files[line["value"]["path"]] = b64decode(line["value"]["content"])
            answer = {"commitOid": "1" * 40, "commitUrl": f"{server.url}/me/small/commit/1", "success": True}
        else:
            answer = {"errors": [], "warnings": []}
        self.reply(answer)

    def do_GET(self):
        self.reply({"id": "me/small", "siblings": [], "sha": "0" * 40})

    def reply(self, answer):
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_backbone_is_pushed_with_its_card_in_the_hubs_format(hub, tiny_backbone, tmp_path):
    config = replace(tiny_backbone.config, about={"terms": "Free to use.", "limits": "A test."})
    save_backbone(tmp_path / "small", tiny_backbone.network, config)
    before = {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir() if file.is_file()}
    where = push_backbone(tmp_path / "small", "me/small", licence="cc0-1.0", token="secret", endpoint=hub.url)
    assert where == f"{hub.url}/me/small"
    assert ("/api/repos/create", "Bearer secret") in hub.asked
    visible = {name for name in before if not name.startswith(".")}
    assert set(hub.files) == visible
    assert all(hub.files[name] == before[name] for name in visible - {"README.md"})
    card = hub.files["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "cc0-1.0"
    assert header["library_name"] == "timm"
    assert "image-feature-extraction" in header["pipeline_tag"]
    assert card.endswith(before["README.md"].decode())
    assert (tmp_path / "small" / "README.md").read_bytes() == before["README.md"]


def test_a_push_that_is_refused_is_one_line(tiny_backbone, tmp_path):
    save_backbone(tmp_path / "small", tiny_backbone.network, tiny_backbone.config)
    for repo, said in {"small": "expected OWNER/NAME", "me/small": "not pushed"}.items():
        with pytest.raises(RadiosslError, match=said) as caught:
            push_backbone(tmp_path / "small", repo, licence="other", token="x", endpoint="http://127.0.0.1:9")
        assert "\n" not in str(caught.value)
