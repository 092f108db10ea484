"""Progress bars: shown on terminals, whatever their words are."""

import pytest

from radiossl.io import progress


@pytest.mark.parametrize("words", ["[/red]", "[bold", "[link=file:///x]a"])
def test_words_of_people_are_no_markup(monkeypatch, capsys, words):
    monkeypatch.setattr(progress, "hides_bars", lambda console: False)
    assert list(progress.track([1, 2], words)) == [1, 2]
    with progress.track_bytes(words, 10) as advance:
        advance(10)
    assert capsys.readouterr().err.count(words) >= 2
