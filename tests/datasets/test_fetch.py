"""Fetching, against a real server: whole or not at all, resumed, verified, and never outside its folder."""

import errno
import fcntl
import gzip
import hashlib
import io
import json
import random
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import radiossl
from radiossl import RadiosslError
from radiossl.datasets import transfer, unpacking
from radiossl.datasets.download import Download
from radiossl.datasets.fetch import fetch_files as fetch
from radiossl.io.files import atomic_folder

BLOCK = 4096
NOISE = random.Random(0).randbytes(300_000)
FILES = {"set/a.txt": b"alpha", "set/deep/b.bin": NOISE, "set/empty": b""}


# The server -----------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    """What the server answers at one address."""

    body: bytes = b""
    etag: str | None = '"one"'
    #: False: Range is ignored. "blindly": it is heeded whatever If-Range says.
    ranges: bool | str = True
    #: Status codes of the first answers.
    failures: list = field(default_factory=list)
    #: The next answers break off after so many bytes.
    cuts: list = field(default_factory=list)
    #: Seconds before each of the next answers.
    delays: list = field(default_factory=list)
    #: Seconds between blocks.
    pause_s: float = 0
    #: Whether there is a Content-Length.
    says_length: bool = True
    location: str | None = None
    meanwhile: Callable = lambda: None


class Site(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.requests, self.sent = {}, [], 0

    def put(self, name, *arguments, **options):
        self.pages[f"/{name}"] = Page(*arguments, **options)
        return self.url(name)

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    @property
    def ranges(self):
        """The Range header of every request."""
        return [headers.get("Range") for _, headers in self.requests]

    def handle_error(self, *_):
        pass  # clients that hang up are the point


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server
        site.requests.append((self.path, dict(self.headers)))
        page = site.pages.get(self.path)
        if page is None:
            return self.send_error(404)
        page.meanwhile()
        time.sleep(page.delays.pop(0) if page.delays else 0)
        if page.failures:
            return self.send_error(page.failures.pop(0))
        if page.location is not None:
            self.send_response(302)
            self.send_header("Location", page.location)
            return self.end_headers()
        return self.send_page(page)

    def send_page(self, page):
        wanted = self.headers.get("Range") if page.ranges else None
        if page.ranges != "blindly" and self.headers.get("If-Range", page.etag) != page.etag:
            wanted = None
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and first >= len(page.body):
            return self.send_error(416)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(page.body) - 1}/{len(page.body)}")
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.says_length:
            self.send_header("Content-Length", str(len(page.body) - first))
        self.end_headers()
        end = first + page.cuts.pop(0) if page.cuts else len(page.body)
        for start in range(first, min(end, len(page.body)), BLOCK):
            block = page.body[start : min(start + BLOCK, end)]
            self.wfile.write(block)
            self.server.sent += len(block)
            time.sleep(page.pause_s)
        return self.connection.shutdown(socket.SHUT_WR)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "_BACKOFF_S", 0.005)
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield site
        site.shutdown()


# Archives -------------------------------------------------------------------------------------------------------------


def make_tar(files=None, *, packed=True, special=()):
    """A tar of `files` and of `special` members, given as `TarInfo`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz" if packed else "w") as tar:
        for name, data in (FILES if files is None else files).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in special:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return stream.getvalue()


def tar_entry(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def make_zip(files=None, modes=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in (FILES if files is None else files).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, data)
    return stream.getvalue()


def md5(data):
    return hashlib.md5(data).hexdigest()


def tree(folder):
    """Every file below `folder` but the record, with its bytes."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: path.read_bytes() for name, path in files.items() if name != "fetched.json"}


def refused(downloads, out, match, **options):
    """Check that a fetch is refused with one clear line, and makes no folder `out`."""
    with pytest.raises(RadiosslError, match=match) as caught:
        fetch(downloads, out, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_untouched(folder):
    return list(folder.iterdir()) == []


# What comes out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("s.tar", make_tar(packed=False)),
        ("s.tar.gz", make_tar()),
        ("s.TGZ", make_tar()),
        ("s.zip", make_zip()),
        ("unpacked-on-the-way.tar.gz", make_tar(packed=False)),
    ],
)
def test_an_archive_is_unpacked_and_nothing_else_is_left(site, tmp_path, name, body):
    url = site.put(name, body)
    out = fetch([Download(url, md5=md5(body).upper(), contents={"set/deep/b.bin": md5(NOISE)})], tmp_path / "o")
    assert out == tmp_path / "o"
    assert tree(out) == FILES
    assert list(tmp_path.iterdir()) == [out]


def test_the_record_tells_addresses_checksums_and_version(site, tmp_path):
    plain = site.put("plain.csv", b"1,2")
    archive = make_tar()
    packed = site.put("s.tgz", archive)
    out = fetch([Download(plain), Download(packed, md5=md5(archive))], tmp_path / "o")
    record = json.loads((out / "fetched.json").read_text())
    assert record["radiossl_version"] == radiossl.__version__
    assert [entry["url"] for entry in record["downloads"]] == [plain, packed]
    assert record["received"] == [
        {"url": plain, "bytes": 3, "sha256": hashlib.sha256(b"1,2").hexdigest()},
        {"url": packed, "bytes": len(archive), "md5": md5(archive)},
    ]
    assert site.requests[0][1]["User-Agent"] == f"radiossl/{radiossl.__version__}"


def test_other_files_and_unextracted_archives_stay_as_they_are(site, tmp_path):
    archive = make_zip()
    downloads = [
        Download(site.put("t/a%20b.fits?download=1", NOISE)),
        Download(site.put("s.zip", archive), extract=False),
        Download(site.put("content", b""), file="empty.csv", size=0),
    ]
    out = fetch(downloads, tmp_path / "deeper" / "o")
    assert tree(out) == {"a b.fits": NOISE, "s.zip": archive, "empty.csv": b""}
    assert (out / "a b.fits").stat().st_nlink == 1


def test_everyone_may_read_what_was_fetched(site, tmp_path):
    special = [tar_entry("run.sh")]
    special[0].mode = 0o4700
    out = fetch([Download(site.put("s.tgz", make_tar(special=special)))], tmp_path / "o")
    own = tmp_path / "own"
    own.touch()
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {
        stat.S_IMODE(own.stat().st_mode)
    }


def test_a_mirror_stands_in_for_every_address(site, tmp_path):
    site.put("mirror/x/a%20b.csv", b"1")
    download = Download("https://nowhere.invalid/deep/path/a%20b.csv?key=1")
    out = fetch([download], tmp_path / "o", base_url=site.url("mirror/x/"))
    assert tree(out) == {"a b.csv": b"1"}
    fetch([download], out)  # the same set, wherever it came from
    assert len(site.requests) == 1


def test_a_second_call_asks_nothing(site, tmp_path):
    downloads = [Download(site.put("s.tgz", make_tar())), Download(site.put("a.csv", b"1"))]
    fetch(downloads, tmp_path / "o")
    (tmp_path / ".o.parts").mkdir()  # left by a call that was killed at its very end
    asked = len(site.requests)
    assert asked == 2
    fetch(downloads, tmp_path / "o")
    assert len(site.requests) == asked
    assert list(tmp_path.iterdir()) == [tmp_path / "o"]


# Folders that are there already ---------------------------------------------------------------------------------------


def test_a_folder_with_something_else_is_refused_and_kept(site, tmp_path):
    download = Download(site.put("a.csv", b"1"))
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine").write_text("precious")
    refused([download], tmp_path / "o", "not fetched by radiossl")
    assert tree(tmp_path) == {"o/mine": b"precious"}
    refused([download], tmp_path / "o" / "mine", "is a file")
    assert site.requests == []


def test_another_set_is_refused_and_kept(site, tmp_path):
    url = site.put("a.csv", b"1")
    fetch([Download(url)], tmp_path / "o")
    refused([Download(url, md5="0" * 32)], tmp_path / "o", "another fetched set")
    (tmp_path / "o" / "fetched.json").write_text("[]")
    refused([Download(url)], tmp_path / "o", "another fetched set")
    assert tree(tmp_path / "o") == {"a.csv": b"1"}
    assert len(site.requests) == 1


def test_an_empty_folder_is_filled(site, tmp_path):
    (tmp_path / "o").mkdir()
    fetch([Download(site.put("a.csv", b"1"))], tmp_path / "o")
    assert tree(tmp_path / "o") == {"a.csv": b"1"}


def test_what_came_into_the_folder_meanwhile_is_not_replaced(site, tmp_path):
    def meanwhile():
        (tmp_path / "o").mkdir()
        (tmp_path / "o" / "mine").write_text("precious")

    refused([Download(site.put("a.csv", b"1", meanwhile=meanwhile))], tmp_path / "o", "not fetched by radiossl")
    assert tree(tmp_path / "o") == {"mine": b"precious"}


def test_two_fetches_into_one_folder_do_not_mix(site, tmp_path):
    download = Download(site.put("a.csv", b"1"))
    with (tmp_path / ".o.lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused([download], tmp_path / "o", "another radiossl process")
        assert site.requests == []
    fetch([download], tmp_path / "o")


def test_the_temporary_folders_of_killed_fetches_are_cleared_and_those_of_living_ones_stay(site, tmp_path):
    for name in (".tmp-abcdefgh-o", ".tmp-abcdefgh-other"):
        (tmp_path / name / "deep").mkdir(parents=True)
    with atomic_folder(tmp_path / "living") as living:
        fetch([Download(site.put("a.csv", b"1"))], tmp_path / "o")
        assert {path.name for path in tmp_path.iterdir()} == {"o", living.parent.name}


# Resuming and retrying ------------------------------------------------------------------------------------------------


def test_dropped_connections_are_resumed(site, tmp_path):
    url = site.put("a.bin", NOISE, cuts=[100_000, 120_000])
    out = fetch([Download(url, md5=md5(NOISE))], tmp_path / "o", retries=1)
    assert tree(out) == {"a.bin": NOISE}
    assert site.ranges == [None, "bytes=100000-", "bytes=220000-"]
    assert site.sent == len(NOISE)


def test_a_server_without_ranges_starts_over(site, tmp_path):
    url = site.put("a.bin", NOISE, cuts=[100_000], ranges=False)
    out = fetch([Download(url)], tmp_path / "o")
    assert tree(out) == {"a.bin": NOISE}
    assert site.ranges == [None, "bytes=100000-"]


def test_a_server_that_always_drops_at_the_same_place_is_given_up(site, tmp_path):
    url = site.put("a.bin", NOISE, cuts=[100_000] * 99, ranges=False)
    message = refused([Download(url)], tmp_path / "o", "gave up")
    assert "100000 of 300000 bytes" in message
    assert len(site.requests) == 1 + 5
    assert {path.name for path in (tmp_path / ".o.parts").iterdir()} == {"a.bin.part", "a.bin.json"}
    assert not (tmp_path / "o").exists()


def leave_part(site, tmp_path, body, cut, **options):
    """Let a fetch without retries fail after `cut` bytes; return the address."""
    url = site.put("a.bin", body, cuts=[cut], **options)
    refused([Download(url)], tmp_path / "o", "gave up", retries=0)
    site.requests.clear()
    return url


@pytest.mark.parametrize("ranges", [True, "blindly"])
def test_a_file_that_has_changed_is_not_stitched_together(site, tmp_path, ranges):
    url = leave_part(site, tmp_path, NOISE, 100_000)
    other = NOISE[::-1]
    site.put("a.bin", other, etag='"two"', ranges=ranges)
    out = fetch([Download(url)], tmp_path / "o")
    assert tree(out) == {"a.bin": other}
    assert site.ranges[0] == "bytes=100000-"
    assert site.requests[0][1]["If-Range"] == '"one"'


def test_a_file_that_has_become_shorter_is_fetched_from_its_beginning(site, tmp_path):
    url = leave_part(site, tmp_path, NOISE, 100_000, etag=None)
    site.put("a.bin", NOISE[:50_000], etag=None)
    out = fetch([Download(url, md5=md5(NOISE[:50_000]))], tmp_path / "o", retries=0)
    assert tree(out) == {"a.bin": NOISE[:50_000]}
    assert site.ranges == ["bytes=100000-", None]


def test_without_etag_and_checksum_nothing_is_continued(site, tmp_path):
    url = leave_part(site, tmp_path, NOISE, 100_000, etag=None)
    fetch([Download(url)], tmp_path / "o")
    assert site.ranges == [None]


def test_a_checksum_does_for_an_etag(site, tmp_path):
    url = leave_part(site, tmp_path, NOISE, 100_000, etag=None)
    fetch([Download(url, sha256=hashlib.sha256(NOISE).hexdigest())], tmp_path / "o")
    assert site.ranges == ["bytes=100000-"]


def test_another_address_is_fetched_from_its_beginning(site, tmp_path):
    leave_part(site, tmp_path, NOISE, 100_000)
    other = NOISE[::-1]
    out = fetch([Download(site.put("other/a.bin", other))], tmp_path / "o")
    assert tree(out) == {"a.bin": other}
    assert site.ranges == [None]


def test_a_finished_download_is_not_repeated_when_a_later_one_fails(site, tmp_path):
    downloads = [Download(site.put("a.bin", NOISE)), Download(site.url("b.bin"))]
    refused(downloads, tmp_path / "o", "404")
    assert not (tmp_path / "o").exists()
    assert {path.name for path in (tmp_path / ".o.parts").iterdir()} == {"a.bin.part", "a.bin.json"}
    site.put("b.bin", b"b")
    out = fetch(downloads, tmp_path / "o")
    assert tree(out) == {"a.bin": NOISE, "b.bin": b"b"}
    assert [path for path, _ in site.requests] == ["/a.bin", "/b.bin", "/b.bin"]


def test_a_full_disk_costs_no_download(site, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    downloads = [Download(site.put("a.csv", b"1")), Download(site.put("s.tgz", make_tar()))]
    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "_write", full)
        refused(downloads, tmp_path / "o", "cannot be written, the disk is full; make room")
    assert not (tmp_path / "o").exists()
    assert tree(fetch(downloads, tmp_path / "o")) == {"a.csv": b"1"} | FILES
    assert len(site.requests) == 2


def test_a_part_of_no_bytes_is_not_kept(site, tmp_path):
    url = site.put("a.bin", NOISE, cuts=[0, 0])
    refused([Download(url)], tmp_path / "o", "try again later", retries=1)
    assert is_untouched(tmp_path)


FETCH = (
    "import sys; from radiossl.datasets.download import Download; from radiossl.datasets.fetch import fetch_files; "
    "fetch_files([Download(sys.argv[1], md5=sys.argv[2])], sys.argv[3])"
)


def test_a_killed_fetch_is_resumed_by_a_new_process(site, tmp_path):
    archive = make_tar()
    url = site.put("s.tar.gz", archive, pause_s=0.01)
    command = [sys.executable, "-c", FETCH, url, md5(archive), str(tmp_path / "o")]
    part = tmp_path / ".o.parts" / "s.tar.gz.part"
    first = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 100_000:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    held = part.stat().st_size
    assert 100_000 <= held < len(archive)
    assert not (tmp_path / "o").exists()

    site.pages["/s.tar.gz"].pause_s = 0
    subprocess.run(command, check=True)
    assert site.ranges == [None, f"bytes={held}-"]
    assert tree(tmp_path / "o") == FILES
    assert list(tmp_path.iterdir()) == [tmp_path / "o"]


def test_passing_trouble_is_waited_out(site, tmp_path):
    url = site.put("a.csv", b"1", failures=[500, 429])
    fetch([Download(url)], tmp_path / "o", retries=2)
    assert len(site.requests) == 3


def test_lasting_trouble_is_not(site, tmp_path):
    url = site.put("a.csv", b"1", failures=[503] * 99)
    refused([Download(url)], tmp_path / "o", "gave up after 3 failures .*503", retries=2)
    assert len(site.requests) == 3
    assert is_untouched(tmp_path)


def test_a_server_that_falls_silent_is_asked_again(site, tmp_path):
    url = site.put("a.csv", b"1", delays=[0.6])
    fetch([Download(url)], tmp_path / "o", timeout_s=0.2)
    assert len(site.requests) == 2


def test_nobody_at_the_address(tmp_path, site):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.csv"
        refused([Download(url)], tmp_path / "o", "gave up after 2 failures .*refused", retries=1)
    assert is_untouched(tmp_path)


def test_a_missing_file_is_asked_for_once(site, tmp_path):
    url = site.url("a.csv")
    message = refused([Download(url)], tmp_path / "o", "404")
    assert message.startswith(url)
    assert len(site.requests) == 1
    assert is_untouched(tmp_path)


# Redirects ------------------------------------------------------------------------------------------------------------


def test_a_redirect_is_followed(site, tmp_path):
    site.put("far", location=site.put("a.csv", b"1"))
    assert tree(fetch([Download(site.url("far"))], tmp_path / "o")) == {"far": b"1"}


@pytest.mark.parametrize("target", ["file://{}", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_off_the_web_is_refused(site, tmp_path, target):
    secret = tmp_path / "secret"
    secret.write_text("x")
    url = site.put("a.csv", location=target.format(secret))
    refused([Download(url)], tmp_path / "o", "redirects to")
    assert len(site.requests) == 1
    assert list(tmp_path.iterdir()) == [secret]


def test_redirects_in_a_ring_end(site, tmp_path):
    url = site.put("a.csv", location="/a.csv")
    refused([Download(url)], tmp_path / "o", "302")


# Verification ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_wrong_checksum_deletes_the_download(site, tmp_path, kind):
    body = make_tar()
    wrong, found = (hashlib.new(kind, data).hexdigest() for data in (b"", body))
    url = site.put("s.tgz", body)
    message = refused([Download(url, **{kind: wrong})], tmp_path / "o", "deleted")
    assert url in message
    assert wrong in message
    assert found in message
    assert is_untouched(tmp_path)


def test_another_size_than_expected(site, tmp_path):
    refused([Download(site.put("a.csv", b"12"), size=3)], tmp_path / "o", "2 bytes long, 3 were expected")
    refused([Download(site.put("b.csv", b"12", says_length=False), size=1)], tmp_path / "o", "1 were expected")
    assert is_untouched(tmp_path)


def test_the_given_size_tells_a_cut_that_the_server_does_not(site, tmp_path):
    url = site.put("a.bin", NOISE, cuts=[100_000], says_length=False)
    assert tree(fetch([Download(url, size=len(NOISE))], tmp_path / "o")) == {"a.bin": NOISE}
    assert site.ranges == [None, "bytes=100000-"]


def test_a_file_of_unsaid_length_is_taken_to_its_end(site, tmp_path):
    url = site.put("a.bin", NOISE, says_length=False)
    assert tree(fetch([Download(url)], tmp_path / "o")) == {"a.bin": NOISE}


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_over_the_limit_is_not_taken(site, tmp_path, says_length):
    url = site.put("a.bin", NOISE, says_length=says_length)
    refused([Download(url, max_bytes=1000)], tmp_path / "o", "over max_bytes 1000")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("contents", [{"set/a.txt": md5(b"beta")}, {"set/c.txt": md5(b"alpha")}, {"set": "0" * 32}])
def test_contents_that_differ(site, tmp_path, contents):
    body = make_tar()
    url = site.put("s.tgz", body)
    refused([Download(url, contents=contents)], tmp_path / "o", f"'{next(iter(contents))}'")
    assert is_untouched(tmp_path)
    refused([Download(url, md5=md5(body), contents=contents)], tmp_path / "o", f"'{next(iter(contents))}'")
    fetch([Download(url, md5=md5(body), contents={"set/a.txt": md5(b"alpha")})], tmp_path / "o")
    assert len(site.requests) == 2  # what passed its checksum is not downloaded again


WHOLE_TAR = make_tar({"a": bytes(1024), "b": NOISE}, packed=False)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("s.tar.gz", make_tar()[:-20_000]),
        ("s.tar.gz", make_tar()[:-4]),  # only the checksum is cut
        ("s.tar.gz", make_tar()[:-8] + bytes(8)),  # only the checksum is wrong
        ("s.tar", WHOLE_TAR[:5000]),
        ("s.tar", WHOLE_TAR[:1536]),  # between two files
        ("s.tar", WHOLE_TAR[:1536] + b"x" * 512 + WHOLE_TAR[2048:]),  # the second header is garbled
        ("s.zip", make_zip()[:-20_000]),
        ("s.zip", make_zip().replace(NOISE[1000:1100], bytes(100))),
        ("s.zip", b"<html>please log in</html>"),
        ("s.tgz", b""),
    ],
)
def test_a_damaged_archive_with_the_right_checksum(site, tmp_path, name, body):
    refused([Download(site.put(name, body), md5=md5(body))], tmp_path / "o", "damaged or cut short")
    assert is_untouched(tmp_path)


def test_an_archive_of_nothing(site, tmp_path):
    refused([Download(site.put("s.tar", make_tar({}, packed=False)))], tmp_path / "o", "empty")


# Archives that mean harm ----------------------------------------------------------------------------------------------

REG, SYM, LNK = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
LINK = stat.S_IFLNK | 0o777


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ([tar_entry("../evil")], "leaves the folder"),
        ([tar_entry("set/../../evil")], "leaves the folder"),
        ([tar_entry("..\\evil")], "leaves the folder"),
        ([tar_entry("C:evil")], "leaves the folder"),
        ([tar_entry("/{absolute}/evil")], "leaves the folder"),
        ([tar_entry("x/" * 200 + "evil")], "leaves the folder"),
        ([tar_entry("link", SYM, "../secret")], "link that leaves"),
        ([tar_entry("link", SYM, "/{absolute}/secret")], "link that leaves"),
        ([tar_entry("set/link", SYM, "../../secret")], "link that leaves"),
        ([tar_entry("link", LNK, "../secret")], "link that leaves"),
        ([tar_entry("link", LNK, "/{absolute}/secret")], "link that leaves"),
        ([tar_entry("link", SYM, "set")], "no file of the archive"),
        ([tar_entry("link", SYM, ".")], "no file of the archive"),
        ([tar_entry("link", SYM, "nothing")], "no file of the archive"),
        ([tar_entry("link", SYM, "knil"), tar_entry("knil", SYM, "link")], "no file of the archive"),
        # Each link seems to stay inside, yet by way of the first the second would leave.
        ([tar_entry("set/up", SYM, ".."), tar_entry("link", SYM, "set/up/../secret")], "no file of the archive"),
        # A file through a link to a folder that is written first.
        ([tar_entry("set/up", SYM, ".."), tar_entry("set/up/evil")], "no file of the archive"),
        ([tar_entry("disk", tarfile.BLKTYPE)], "device"),
        ([tar_entry("terminal", tarfile.CHRTYPE)], "device"),
        ([tar_entry("pipe", tarfile.FIFOTYPE)], "device"),
        ([tar_entry("set/a.txt")], "second time"),
        ([tar_entry("set/a.txt/through")], "through a file"),
        ([tar_entry("fetched.json")], "own record"),
        ([tar_entry(".")], "no name"),
    ],
)
def test_a_tar_never_reaches_out(site, tmp_path, members, match):
    (tmp_path / "secret").write_text("x")
    for info in members:
        info.name = info.name.replace("/{absolute}", str(tmp_path))
        info.linkname = info.linkname.replace("/{absolute}", str(tmp_path))
    url = site.put("s.tar.gz", make_tar(special=members))
    message = refused([Download(url)], tmp_path / "o", match)
    assert url in message
    assert tree(tmp_path) == {"secret": b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize(
    ("files", "modes", "match"),
    [
        ({"../evil": b"x"}, {}, "leaves the folder"),
        ({"a/../../evil": b"x"}, {}, "leaves the folder"),
        ({"/evil": b"x"}, {}, "leaves the folder"),
        ({"link": b"../secret"}, {"link": LINK}, "link that leaves"),
        ({"link": b"/etc/passwd"}, {"link": LINK}, "link that leaves"),
        ({"pipe": b""}, {"pipe": stat.S_IFIFO}, "device"),
    ],
)
def test_a_zip_never_reaches_out(site, tmp_path, files, modes, match):
    (tmp_path / "secret").write_text("x")
    refused([Download(site.put("s.zip", make_zip(FILES | files, modes)))], tmp_path / "o", match)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_an_encrypted_zip_and_other_packing_are_refused(site, tmp_path):
    body = bytearray(make_zip({"a": b"x"}))
    body[body.index(b"PK\x01\x02") + 8] |= 1
    refused([Download(site.put("s.zip", bytes(body)))], tmp_path / "o", "'a' in the archive is encrypted")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("a", b"x")
    refused([Download(site.put("t.zip", stream.getvalue()))], tmp_path / "o", "deflate")


def test_links_inside_an_archive_become_copies(site, tmp_path):
    links = [
        tar_entry("set/deep/up", SYM, "../a.txt"),
        tar_entry("chain", SYM, "set/deep/up"),
        tar_entry("hard", LNK, "set/a.txt"),
        tar_entry("set/loop", SYM, "./deep/../a.txt"),
    ]
    out = fetch([Download(site.put("s.tgz", make_tar(special=links)))], tmp_path / "tar")
    assert tree(out) == FILES | dict.fromkeys(["set/deep/up", "chain", "hard", "set/loop"], b"alpha")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    out = fetch([Download(site.put("s.zip", make_zip(FILES | {"l": b"set/a.txt"}, {"l": LINK})))], tmp_path / "zip")
    assert tree(out) == FILES | {"l": b"alpha"}
    assert not (out / "l").is_symlink()


def test_two_archives_must_not_hold_the_same_file(site, tmp_path):
    downloads = [Download(site.put("s.tgz", make_tar())), Download(site.put("s.zip", make_zip()))]
    refused(downloads, tmp_path / "o", "second time")


ZEROS = {"zeros": bytes(20_000_000)}


@pytest.mark.parametrize(("name", "body"), [("s.tar.gz", make_tar(ZEROS)), ("s.zip", make_zip(ZEROS))])
def test_a_bomb_is_stopped(site, tmp_path, name, body, monkeypatch):
    written = []
    original = unpacking._Allowance.take
    monkeypatch.setattr(
        unpacking._Allowance, "take", lambda self, count: (written.append(count), original(self, count))
    )
    url = site.put(name, body)
    download = Download(url, md5=md5(body), max_bytes=1_000_000)
    refused([download], tmp_path / "o", "more than 1000000 bytes; .*raise max_bytes")
    assert sum(written) == 0  # what the archive says of its size is enough
    assert not (tmp_path / "o").exists()
    out = fetch([Download(url, md5=md5(body))], tmp_path / "o")
    assert tree(out) == ZEROS
    assert len(site.requests) == 1  # nothing was wrong with the download


def test_a_zip_that_lies_about_its_size_is_stopped(site, tmp_path):
    body = bytearray(make_zip(ZEROS))
    at = body.index(b"PK\x01\x02") + 24
    body[at : at + 4] = (1000).to_bytes(4, "little")
    refused([Download(site.put("s.zip", bytes(body)), max_bytes=1_000_000)], tmp_path / "o", "damaged")
    assert is_untouched(tmp_path)


def test_many_small_files_and_links_count_together(site, tmp_path):
    links = [tar_entry(f"l{index}", SYM, "a") for index in range(30)]
    body = make_tar({"a": bytes(50_000)}, special=links)
    refused([Download(site.put("s.tgz", body), max_bytes=1_000_000)], tmp_path / "o", "more than 1000000")


def test_a_header_that_would_fill_the_memory_is_refused(site, tmp_path):
    body = gzip.compress(tar_entry("x", tarfile.XHDTYPE, size=2**32).tobuf() + bytes(10_000_000))
    refused([Download(site.put("s.tgz", body))], tmp_path / "o", "header of 4294967296 bytes")


def test_too_many_members(site, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 3)
    fetch([Download(site.put("three.tgz", make_tar()))], tmp_path / "three")
    body = make_tar(special=[tar_entry("d", tarfile.DIRTYPE)])
    refused([Download(site.put("s.tgz", body))], tmp_path / "o", "more than 3 files")


# What cannot be asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "file:///etc/passwd"}, "http or https"),
        ({"url": "ftp://host/a"}, "http or https"),
        ({"url": "a.csv"}, "http or https"),
        ({"url": "http:///a.csv"}, "http or https"),
        ({"url": "http://host:x/a.csv"}, "http or https"),
        ({"url": "http://a..b/a.csv"}, "http or https"),
        ({"url": "http://host/a b.csv"}, "http or https"),
        ({"url": "http://host/\u00e4.csv"}, "http or https"),
        ({"url": "http://host/"}, "plain name"),
        ({"url": "http://host/.."}, "plain name"),
        ({"url": "http://host/a%2Fb"}, "plain name"),
        ({"file": "../a"}, "plain name"),
        ({"file": "/a"}, "plain name"),
        ({"file": "a\\b"}, "plain name"),
        ({"file": "Fetched.json"}, "own record"),
        ({"md5": "0" * 31}, "32 hex digits"),
        ({"sha256": "g" * 64}, "64 hex digits"),
        ({"size": -1}, "size -1"),
        ({"max_bytes": 0}, "max_bytes 0"),
        ({"contents": {"../a": "0" * 32}}, "inside the fetched folder"),
        ({"contents": {"a": "0"}}, "32 hex digits"),
    ],
)
def test_an_impossible_download_cannot_be_made(options, match):
    with pytest.raises(RadiosslError, match=match):
        Download(**({"url": "http://host/a.csv"} | options))


def test_an_impossible_set_is_refused(site, tmp_path):
    refused([], tmp_path / "o", "at least one")
    twice = [Download(site.put("a.csv", b"1")), Download(site.put("x/A.csv", b"2"))]
    refused(twice, tmp_path / "o", "both would be saved")
    refused(twice[:1], tmp_path / "o", "http or https", base_url="file:///srv")
    assert site.requests == []
    assert is_untouched(tmp_path)


def test_a_place_that_cannot_be_written(site, tmp_path):
    (tmp_path / "file").write_text("x")
    refused([Download(site.put("a.csv", b"1"))], tmp_path / "file" / "o", "cannot be written")
    assert site.requests == []
