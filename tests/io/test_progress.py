"""Progress bars: shown on terminals and in notebooks, whatever their words are."""

import os
from pathlib import Path

import pytest

from radiossl.io import progress

ROOT = Path(progress.__file__).parents[2]
CELL = """
import time
from radiossl.io import progress

progress._EVERY_S = 0.015
for _ in progress.track(range(40), "counting [x]"):
    time.sleep(0.02)
with progress.track_bytes("fetching", 300) as advance:
    advance(100)
    time.sleep(0.02)
    advance(200)
list(progress.track(range(9), "too quick for a bar"))
progress.set_verbosity("quiet")
print(len(list(progress.track(range(20), "hidden"))), "states")
"""


@pytest.mark.parametrize("words", ["[/red]", "[bold", "[link=file:///x]a"])
def test_words_of_people_are_no_markup(monkeypatch, capsys, words):
    monkeypatch.setattr(progress, "hides_bars", lambda console: False)
    assert list(progress.track([1, 2], words)) == [1, 2]
    with progress.track_bytes(words, 10) as advance:
        advance(10)
    assert capsys.readouterr().err.count(words) >= 2


def test_a_bar_is_one_output_of_a_notebook(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    cell = nbformat.v4.new_code_cell(CELL)
    nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=100).execute()
    counted, fetched, said = cell.outputs  # one output each, not one for every state, and no widgets
    assert {*counted.data, *fetched.data} == {"text/html", "text/plain"}
    assert "counting [x]" in counted.data["text/html"]
    assert "40/40" in counted.data["text/html"]
    assert "300/300 bytes" in fetched.data["text/plain"]
    assert said.text == "20 states\n"
