"""Groupings of labels from YAML files."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.datasets.grouping import grouping_names, read_grouping
from radiossl.datasets.mirabest import CODES
from radiossl.evaluation.labels import read_labels


def test_every_shipped_grouping_can_be_read_and_says_what_it_is():
    assert "negm2021-real" in grouping_names()
    for name in grouping_names():
        assert read_grouping(name).title


def test_negm_takes_ten_classes_to_three_and_to_two():
    three, two = read_grouping("negm2021-three").class_of, read_grouping("negm2021-real").class_of
    assert {str(number) for number in range(10)} <= set(three) == set(two)
    assert [three[str(number)] for number in range(4)] == [
        "artefact",
        "dipole or saturated",
        "dipole or saturated",
        "real",
    ]
    assert {two[str(number)] for number in range(3)} == {"not real"}
    assert all((two[name] == "real") == (three[name] == "real") for name in two)


def test_mirabest_groupings_name_its_codes():
    codes = np.array(CODES)
    assert set(read_grouping("mirabest-three").class_of) == set(map(str, codes))
    labels = read_labels(codes, "class_code", grouping=read_grouping("mirabest-fr"))
    assert labels.names.tolist() == ["FRI", "FRI", "FRI", "FRII", "FRII"]
    assert codes[labels.rows].tolist() == [100, 102, 104, 200, 201]


def test_values_of_a_grouping_need_not_all_occur_but_some_must():
    grouping = read_grouping("mirabest-three")
    assert read_labels(np.array([100, 200]), "c", grouping=grouping).classes == ["FRI", "FRII"]
    with pytest.raises(RadiosslError, match="grouping mirabest-three: '100' does not occur in column 'c'"):
        read_labels(np.array([7, 8]), "c", grouping=grouping)
    with pytest.raises(RadiosslError, match="one of the two"):
        read_labels(np.array([100, 200]), "c", ["A=100", "B=200"], grouping)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "bent.yaml"
    path.write_text("title: t\ngroups:\n  straight: [0, 1]\n  bent: [3, '4']\n")
    assert read_grouping(path).class_of == {"0": "straight", "1": "straight", "3": "bent", "4": "bent"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: [1, 2]", "expected a mapping"),
        ("just text", "expected a mapping"),
        ("groups: {a: [1], b: [1]}", "'1' is in 'a' and in 'b'"),
        ("groups: {a: [1]}", "at least two"),
        ("groups: {a: [1], b: []}", "no values"),
        ("groups: {a: [1], b: {c: 2}}", "expected a list"),
        ("groups: {a: [1], b: [2]}\ncolour: red", "unknown key 'colour'"),
        ("groups: {a: [1", "not valid YAML"),
        ("groups: !!python/object/apply:os.system ['touch pwned']", "not valid YAML"),
    ],
)
def test_bad_files_are_refused(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(RadiosslError, match=said):
        read_grouping(tmp_path / "g.yaml")
    assert not (tmp_path / "pwned").exists()


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(RadiosslError, match="no grouping 'mirabset'; there are mirabest-fr"):
        read_grouping("mirabset")
    with pytest.raises(RadiosslError, match=r"none\.yaml: no such file"):
        read_grouping(tmp_path / "none.yaml")
