"""Who may open the page."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

pytest.importorskip("tornado", reason="the explorer needs pip install 'radiossl[explore]'")

from radiossl.explorer.serving import TokenAuth
from radiossl.io.errors import RadiosslError
from tests.explorer.running import running


class Request:
    """As much of Tornado's handler as is asked."""

    def __init__(self, host, token="", cookies=None, origin=None):
        self.request = SimpleNamespace(host=host, headers={} if origin is None else {"Origin": origin})
        self.token, self.cookies, self.set = token, cookies or {}, {}

    def get_query_argument(self, name, default):
        return self.token if name == "token" and self.token else default

    def get_cookie(self, name, default):
        return self.cookies.get(name, default)

    def set_cookie(self, name, value, **how):
        self.set[name] = (value, how)


@pytest.fixture(autouse=True)
def state_folder(tmp_path, monkeypatch):
    """Tokens are kept in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def refused(auth, request):
    from tornado.web import HTTPError

    try:
        auth.check(request)
    except HTTPError as error:
        return error.status_code == 403
    return False


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_other_users_of_this_computer_need_the_token_too(address):
    auth = TokenAuth.from_address(address, 5006)
    assert auth.url == f"http://{address}:5006/?token={auth.token}"
    assert len(auth.token) > 40
    assert refused(auth, Request("localhost:5006"))
    assert not refused(auth, Request("localhost:5006", auth.token))


def test_a_token_is_the_same_after_a_restart_and_readable_by_its_owner_alone(tmp_path):
    first = TokenAuth.from_address("127.0.0.1", 5006).token
    assert TokenAuth.from_address("127.0.0.1", 5006).token == first
    assert TokenAuth.from_address("127.0.0.1", 5007).token != first
    (kept,) = (tmp_path / "state").rglob("*5006.token")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    kept.chmod(0o644)  # others may have read it
    assert TokenAuth.from_address("127.0.0.1", 5006).token != first


def test_without_a_folder_of_ones_own_every_start_has_a_new_token(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert TokenAuth.from_address("127.0.0.1", 5006).token != TokenAuth.from_address("127.0.0.1", 5006).token


@pytest.mark.parametrize("host", ["evil.example:5006", "localhost:80", "localhost", "", "127.0.0.1:5006.evil.example"])
def test_other_names_are_refused(host):
    auth = TokenAuth.from_address("127.0.0.1", 5006)
    assert refused(auth, Request(host, auth.token))


def test_pages_of_other_addresses_may_not_ask():
    auth = TokenAuth.from_address("127.0.0.1", 5006)
    assert not refused(auth, Request("localhost:5006", auth.token, origin="http://localhost:5006"))
    for origin in ("http://localhost:8888", "https://evil.example", "null"):
        assert refused(auth, Request("localhost:5006", auth.token, origin=origin))


def test_elsewhere_a_token_opens_and_is_kept_as_a_cookie():
    auth = TokenAuth.from_address("0.0.0.0", 7000)
    assert len(auth.token) > 40
    assert auth.token != TokenAuth.from_address("0.0.0.0", 7001).token
    assert auth.token not in repr(auth)
    assert auth.url.endswith(f"?token={auth.token}")
    for wrong in ("", "x", auth.token[:-1], auth.token + "x", "é"):
        assert refused(auth, Request("localhost:7000", wrong))
        assert refused(auth, Request("localhost:7000", cookies={"radiossl-7000": wrong}))
    first = Request("localhost:7000", auth.token)
    assert not refused(auth, first)
    value, how = first.set["radiossl-7000"]
    assert how == {"httponly": True, "samesite": "Strict"}
    assert not refused(auth, Request("localhost:7000", cookies={"radiossl-7000": value}))
    assert refused(auth, Request("localhost:7000", cookies={"radiossl-7001": value}))


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 0), ("127.0.0.1", 70000), ("::1", 5006)])
def test_impossible_addresses_are_refused(address, port):
    with pytest.raises(RadiosslError, match="was expected"):
        TokenAuth.from_address(address, port)


@pytest.mark.slow
def test_what_a_killed_explorer_leaves_is_removed_by_the_next(survey, tmp_path, monkeypatch):
    theirs = pq.read_table(survey.features).rename_columns({"features": "z"}).replace_schema_metadata()
    pq.write_table(theirs, tmp_path / "theirs.parquet")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    def left():
        return [path.name for path in temporary.rglob("features.parquet")]

    for _ in range(2):
        with running([str(tmp_path / "theirs.parquet")], tmp_path) as (_, process):
            assert left() == ["features.parquet"]
            process.kill()
            process.wait()
        assert left() == ["features.parquet"]
    with running([str(tmp_path / "theirs.parquet")], tmp_path):
        pass
    assert left() == []
