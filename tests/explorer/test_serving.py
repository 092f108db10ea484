"""Who may open the page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("panel", reason="the explorer needs pip install 'radiossl[explore]'")

from radiossl.explorer.serving import Door, Doorkeeper
from radiossl.io.errors import RadiosslError


class Request:
    """As much of Tornado's handler as is asked."""

    def __init__(self, host, token="", cookies=None):
        self.request = SimpleNamespace(host=host)
        self.token, self.cookies, self.set = token, cookies or {}, {}

    def get_query_argument(self, name, default):
        return self.token if name == "token" and self.token else default

    def get_cookie(self, name, default):
        return self.cookies.get(name, default)

    def set_cookie(self, name, value, **how):
        self.set[name] = (value, how)


def refused(door, request):
    from tornado.web import HTTPError

    try:
        Doorkeeper(door).check(request)
    except HTTPError as error:
        return error.status_code == 403
    return False


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_computer_alone_needs_no_token(address):
    door = Door.at(address, 5006)
    assert door.token == ""
    assert door.url == f"http://{address}:5006/"
    assert not refused(door, Request("localhost:5006"))


@pytest.mark.parametrize("host", ["evil.example:5006", "localhost:80", "localhost", "", "127.0.0.1:5006.evil.example"])
def test_other_names_are_refused(host):
    assert refused(Door.at("127.0.0.1", 5006), Request(host))


def test_elsewhere_a_token_opens_and_is_kept_as_a_cookie():
    door = Door.at("0.0.0.0", 7000)
    assert len(door.token) > 40
    assert door.token != Door.at("0.0.0.0", 7000).token
    assert door.token not in repr(door)
    assert door.url.endswith(f"?token={door.token}")
    for wrong in ("", "x", door.token[:-1], door.token + "x", "é"):
        assert refused(door, Request("localhost:7000", wrong))
        assert refused(door, Request("localhost:7000", cookies={"radiossl-7000": wrong}))
    first = Request("localhost:7000", door.token)
    assert not refused(door, first)
    value, how = first.set["radiossl-7000"]
    assert how == {"httponly": True, "samesite": "Strict"}
    assert not refused(door, Request("localhost:7000", cookies={"radiossl-7000": value}))
    assert refused(door, Request("localhost:7000", cookies={"radiossl-7001": value}))


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 0), ("127.0.0.1", 70000), ("::1", 5006)])
def test_impossible_doors_are_refused(address, port):
    with pytest.raises(RadiosslError, match="was expected"):
        Door.at(address, port)
