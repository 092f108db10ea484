"""Damaged files drawn at random: every reader answers with a result or a `RadiosslError` (more: benchmarks/fuzz.py)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import attack, readers

READERS = {reader.name: reader for reader in readers()}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9))
def test_damage_is_one_line(capfd, name, seed):
    outcome = attack(READERS[name], 8, seed)
    capfd.readouterr()  # libtiff and others complain on their own
    assert outcome.tracebacks == 0, outcome.example
    assert outcome.slowest_s < 20


def test_the_attack_notices_a_traceback(tmp_path):
    from benchmarks.fuzz import Reader

    def fragile(path):
        if path.read_bytes() != b"whole":
            raise KeyError("oops")

    def make(folder):
        (folder / "a").write_bytes(b"whole")
        return folder / "a"

    outcome = attack(Reader("fragile", make, fragile), 20, 0, keep=tmp_path / "kept")
    assert outcome.tracebacks > 10
    assert "oops" in outcome.example
    assert any((tmp_path / "kept").iterdir())
