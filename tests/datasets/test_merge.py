"""Merging catalogues: every source once, every pair listed, and a person's word holds."""

import csv

import numpy as np
import pyarrow as pa
import pytest

from radiossl import RadiosslError
from radiossl.datasets.catalogues import convert_catalogue
from radiossl.datasets.crumb import label_classes, read_crumb_catalogue
from radiossl.datasets.merge import merge_catalogues
from radiossl.datasets.merge_entries import ParentCatalogue, read_classes
from radiossl.survey.catalogue import Catalogue, read_catalogue


def parent(name, places, labels=None):
    """A parent whose sources lie at offsets in arcsec along declination, or at (RA, Dec) offsets, from (150, 2)."""
    offsets = np.array([place if isinstance(place, tuple) else (0, place) for place in places], dtype=float)
    ids = np.array([f"{name}{row}" for row in range(len(places))], dtype=object)
    columns = pa.table({"name": ids.tolist(), **({"label": labels} if labels is not None else {})})
    at = Catalogue(name, ids, 150 + offsets[:, 0] / 3600, 2 + offsets[:, 1] / 3600, None, columns)
    return ParentCatalogue(name, at, {name: "label"} if labels is not None else {})


def rows(merged, *columns):
    return [tuple(row[column] for column in columns) for row in merged.table.to_pylist()]


def reviewed(merged, path, answers, **centres):
    """Write the review list with answers: (id, id) -> yes or no."""
    lines = merged.review.to_pylist()
    for line in lines:
        key = (line["id_a"], line["id_b"])
        line["same"] = answers.pop(key, "")
        line["centre"] = centres.get("_".join(key), "")
    assert not answers
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return path


A = parent("a", [0, 1000, 2000], [0, 1, 1])
B = parent("b", [10, 1265, 5000], [1, 0, 1])
C = parent("c", [(5, 5), 9000], [2, 2])


def test_a_source_of_several_parents_becomes_one_row_at_the_first_parents_position():
    merged = merge_catalogues([A, B, C])
    found = {row["name"]: row for row in merged.table.to_pylist()}
    assert set(found) == {"a0", "a1", "a2", "b2", "c1"}
    assert (found["a0"]["a"], found["a0"]["b"], found["a0"]["c"]) == (0, 1, 2)
    assert (found["a2"]["a"], found["a2"]["b"], found["a2"]["c"]) == (1, -1, -1)
    assert (found["a0"]["ra_deg"], found["a0"]["dec_deg"], found["a0"]["centre"]) == (150.0, 2.0, "a")
    assert found["a0"]["parents"] == "a,b,c"
    assert (found["a0"]["id_in_b"], found["a2"]["id_in_b"]) == ("b0", None)
    assert found["b2"]["centre"] == "b"


def test_the_order_of_the_parents_is_that_of_preference():
    merged = merge_catalogues([B, A])
    assert {row["name"] for row in merged.table.to_pylist()} == {"b0", "b1", "a2", "b2"}
    assert next(row for row in merged.table.to_pylist() if row["name"] == "b0")["dec_deg"] == pytest.approx(
        2 + 10 / 3600
    )


def test_every_pair_within_the_radius_is_listed_nearest_first():
    def literal(parents, radius):
        entries = [(p.name, i, r, d) for p in parents for i, r, d in zip(*sky(p), strict=True)]
        found = []
        for first in range(len(entries)):
            for second in range(first + 1, len(entries)):
                _, one, ra1, dec1 = entries[first]
                _, two, ra2, dec2 = entries[second]
                a, b = np.radians([ra1, dec1]), np.radians([ra2, dec2])
                sine = np.sin((a[1] - b[1]) / 2) ** 2 + np.cos(a[1]) * np.cos(b[1]) * np.sin((a[0] - b[0]) / 2) ** 2
                separation = np.degrees(2 * np.arcsin(np.sqrt(sine))) * 3600
                if separation <= radius:
                    found.append((separation, one, two))
        return sorted(found)

    def sky(p):
        return p.catalogue.ids, p.catalogue.ra_deg, p.catalogue.dec_deg

    rng = np.random.default_rng(5)
    parents = [parent(name, [tuple(place) for place in rng.uniform(0, 1500, (30, 2))]) for name in "abc"]
    listed = merge_catalogues(parents, 200).review.to_pylist()
    expected = literal(parents, 200)
    assert len(expected) > 100
    assert [(line["id_a"], line["id_b"]) for line in listed] == [(one, two) for _, one, two in expected]
    np.testing.assert_allclose([line["separation_arcsec"] for line in listed], [s for s, _, _ in expected], rtol=1e-6)


def test_pairs_are_flagged():
    near = parent("b", [5, 20], [0, 1])
    merged = merge_catalogues([A, near], classes={"a": {"0": "FRI", "1": "FRII"}, "b": {"0": "FRI", "1": "FRII"}})
    flags = {(line["id_a"], line["id_b"]): line["flags"] for line in merged.review.to_pylist()}
    assert flags == {
        ("a0", "b0"): "one-to-many",
        ("a0", "b1"): "one-to-many, contradiction",
        ("b0", "b1"): "same parent, contradiction",
    }
    assert {line["id_b"]: line["merged"] for line in merged.review.to_pylist() if line["id_a"] == "a0"} == {
        "b0": "yes",
        "b1": "no",
    }
    assert merged.review.to_pylist()[0]["labels_a"] == "a=0"


def test_two_sources_of_one_parent_are_never_merged_by_themselves():
    chain = [parent("a", [0, 290]), parent("b", [95]), parent("c", [200])]
    merged = merge_catalogues(chain, 150)
    # 105 arcsec from b0 to c0 would join the pairs, but a tells its two sources apart.
    assert rows(merged, "id_in_a", "id_in_b", "id_in_c") == [("a0", "b0", None), ("a1", None, "c0")]


def test_pairs_beyond_the_sure_distance_wait_for_a_person():
    merged = merge_catalogues([A, B], same_arcsec=60)
    assert merged.table.num_rows == 5
    assert [(line["id_b"], line["merged"]) for line in merged.review.to_pylist()] == [("b0", "yes"), ("b1", "no")]
    assert merged.undecided == 2


def test_a_persons_answers_decide(tmp_path):
    first = merge_catalogues([A, B, C])
    answers = {("a0", "b0"): "No", ("a1", "b1"): "yes"}
    path = reviewed(first, tmp_path / "review.csv", answers)
    merged = merge_catalogues([A, B, C], same_arcsec=60, reviewed=path)
    found = dict(rows(merged, "id_in_b", "id_in_a"))
    assert found["b1"] == "a1"
    assert found["b0"] is None
    # The source of c is as near to both; it must not make them one by the back door.
    assert [row for row in rows(merged, "id_in_a", "id_in_b") if row == ("a0", "b0")] == []
    assert merged.undecided == len(first.review) - 2
    again = reviewed(merged, tmp_path / "again.csv", {("a0", "b0"): "no", ("a1", "b1"): "yes"})
    assert merge_catalogues([A, B, C], same_arcsec=60, reviewed=again).table.equals(merged.table)


def test_a_refused_neighbour_leaves_room_for_the_next(tmp_path):
    near = parent("b", [5, 20])
    path = reviewed(merge_catalogues([A, near]), tmp_path / "r.csv", {("a0", "b0"): "no"})
    assert dict(rows(merge_catalogues([A, near], reviewed=path), "id_in_a", "id_in_b"))["a0"] == "b1"


def test_a_person_may_prefer_a_position_and_find_doubles_in_a_parent(tmp_path):
    doubled = parent("a", [0, 6], [0, 1])
    first = merge_catalogues([doubled, B])
    assert first.table.num_rows == 4
    path = reviewed(first, tmp_path / "r.csv", {("a0", "a1"): "yes", ("a1", "b0"): "yes"}, a1_b0="b")
    merged = merge_catalogues([doubled, B], reviewed=path)
    one = next(row for row in merged.table.to_pylist() if row["id_in_b"] == "b0")
    assert (one["id_in_a"], one["centre"], one["name"], one["a"]) == ("a0;a1", "b", "b0", 0)
    assert one["dec_deg"] == pytest.approx(2 + 10 / 3600)


def test_answers_that_contradict_each_other_are_refused(tmp_path):
    first = merge_catalogues([A, B, C])
    path = reviewed(first, tmp_path / "r.csv", {("a0", "b0"): "no", ("a0", "c0"): "yes", ("b0", "c0"): "yes"})
    with pytest.raises(RadiosslError, match="'a0' of a and 'b0' of b are said to be different"):
        merge_catalogues([A, B, C], reviewed=path)
    path = reviewed(first, tmp_path / "r.csv", {}, a0_b0="a", a0_c0="b")
    with pytest.raises(RadiosslError, match="both preferred as its centre"):
        merge_catalogues([A, B, C], reviewed=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id_a,id_b,same\na0,b0,yes\n", "no column 'parent_a'"),
        ("parent_a,id_a,parent_b,id_b,same\na,a9,b,b0,yes\n", "line 2: no source 'a9'"),
        ("parent_a,id_a,parent_b,id_b,same\na,a0,b,b0,maybe\n", "line 2: same is 'maybe'"),
        ("parent_a,id_a,parent_b,id_b,same,centre\na,a0,b,b0,yes,left\n", "centre is 'left'"),
        ("parent_a,id_a,parent_b,id_b,same\na,a0,b,b0,yes\nb,b0,a,a0,no\n", "twice with different answers"),
    ],
)
def test_other_lists_are_refused(tmp_path, text, message):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(RadiosslError, match=message):
        merge_catalogues([A, B], reviewed=tmp_path / "r.csv")


def test_an_answer_about_a_pair_beyond_the_radius_holds(tmp_path):
    (tmp_path / "r.csv").write_text("parent_a,id_a,parent_b,id_b,same\nb,b2,a,a2,yes\n")
    merged = merge_catalogues([A, B], reviewed=tmp_path / "r.csv")
    assert dict(rows(merged, "id_in_a", "id_in_b"))["a2"] == "b2"
    assert merged.review.to_pylist()[-1]["separation_arcsec"] == pytest.approx(3000)


def test_labels_of_known_meaning_give_a_class_and_contradictions():
    known = {"0": "FRI", "1": "FRII"}
    merged = merge_catalogues([A, B], classes={"b": known, "a": known})
    assert sorted(rows(merged, "name", "basic_label", "contradiction")) == [
        ("a0", "FRI", True),
        ("a1", "FRII", True),
        ("a2", "FRII", False),
        ("b2", "FRII", False),
    ]
    with pytest.raises(RadiosslError, match=r"label 2 of c has no class"):
        merge_catalogues([A, C], classes={"c": known})
    with pytest.raises(RadiosslError, match="no such label column"):
        merge_catalogues([A, B], classes={"z": known})


def test_labels_may_be_text_and_positions_missing():
    named = ParentCatalogue(
        "n",
        Catalogue(
            "n",
            np.array(["n0", "n1"], object),
            np.array([150.0, np.nan]),
            np.array([2.0, np.nan]),
            None,
            pa.table({"kind": ["bent", None]}),
        ),
        {"n": "kind"},
    )
    merged = merge_catalogues([A, named])
    assert dict(rows(merged, "name", "n")) == {"a0": "bent", "a1": None, "a2": None, "n1": None}
    assert merged.table.column("name").to_pylist()[-1] == "n1"


def test_a_new_parent_is_appended_to_the_combined_catalogue(tmp_path):
    (tmp_path / "list.txt").write_text("10.0 2.0 0 -1 2 -1\n10.5 2.0 -1 1 -1 -1\n")
    convert_catalogue("crumb", tmp_path / "list.txt", tmp_path / "crumb.csv")
    (tmp_path / "new.csv").write_text("id,ra,dec,class\nn0,150.001,2.0,7\nn1,190.0,2.0,8\n")
    (tmp_path / "new.yaml").write_text("new: {FRI: [7], hybrid: [8]}\n")
    parents = [
        ParentCatalogue.read(f"crumb={tmp_path / 'crumb.csv'}:mirabest,frdeep,at17,mbhybrid"),
        ParentCatalogue.read(f"new={tmp_path / 'new.csv'}:class"),
    ]
    classes = {**read_classes("crumb"), **read_classes(tmp_path / "new.yaml")}
    files = {"out": tmp_path / "merged.csv", "review": tmp_path / "review.csv"}
    merge_catalogues(parents, classes=classes, **files)
    read = read_catalogue(tmp_path / "merged.csv")
    assert read.ids.tolist() == ["150.000_+002.000", "157.500_+002.000", "n1"]
    table = read.columns
    complete = [table.column(name).to_pylist() for name in ("mirabest", "frdeep", "at17", "mbhybrid", "new")]
    assert list(zip(*complete, strict=True)) == [(0, -1, 2, -1, 7), (-1, 1, -1, -1, -1), (-1, -1, -1, -1, 8)]
    assert table.column("basic_label").to_pylist() == ["FRI", "FRII", "hybrid"]
    assert table.column("parents").to_pylist() == ["mirabest,at17,new", "frdeep", "new"]
    assert len(list(csv.DictReader((tmp_path / "review.csv").open()))) == 1


@pytest.mark.parametrize("text", ["a.csv", "=a.csv", "a=", "a=:x"])
def test_a_parent_is_a_name_and_a_file(text):
    with pytest.raises(RadiosslError, match="NAME=FILE"):
        ParentCatalogue.read(text)


def test_parents_that_cannot_be_merged_are_refused():
    with pytest.raises(RadiosslError, match="at least two"):
        merge_catalogues([A])
    with pytest.raises(RadiosslError, match="each once"):
        merge_catalogues([A, A])
    with pytest.raises(RadiosslError, match="no column 'colour'"):
        ParentCatalogue("a", A.catalogue, {"a": "colour"})
    with pytest.raises(RadiosslError, match="would be twice in the merged"):
        merge_catalogues([A, ParentCatalogue("b", B.catalogue, {"a": "label"})])
    with pytest.raises(RadiosslError, match="would be twice in the merged"):
        merge_catalogues([A, ParentCatalogue("b", B.catalogue, {"parents": "label"})])


def test_a_class_of_one_value_is_not_one_of_its_letters(tmp_path):
    (tmp_path / "c.yaml").write_text("a: {FRI: FR1, FRII: [FR2, 2]}")
    assert read_classes(tmp_path / "c.yaml") == {"a": {"FR1": "FRI", "FR2": "FRII", "2": "FRII"}}


@pytest.mark.parametrize("text", ["a: [", "a: 3", "- a", "a: {FRI: 3}"])
def test_damaged_class_files_are_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(RadiosslError, match=r"c\.yaml: (expected lines such as|not valid YAML)"):
        read_classes(tmp_path / "c.yaml")


def test_the_real_catalogue_taken_apart_and_merged_again(real_data):
    table = read_crumb_catalogue(real_data / "catalogues" / "crumb_combined.csv")
    rng = np.random.default_rng(0)
    parents = []
    for name in ("mirabest", "frdeep", "at17", "mbhybrid"):
        part = table.filter(pa.compute.greater_equal(table.column(name), 0))
        # Each parent has its own idea of the centre, by a few arcsec.
        ra, dec = (part.column(c).to_numpy() + rng.normal(0, 1 / 3600, len(part)) for c in ("ra_deg", "dec_deg"))
        ids = np.array(part.column("name").to_pylist(), object)
        parents.append(ParentCatalogue(name, Catalogue(name, ids, ra, dec, None, part.select([name])), {name: name}))
    # Neighbouring sources of the catalogue are closer than the radius, so that a person would have to say no.
    merged = merge_catalogues(parents, same_arcsec=5.5, classes=label_classes())
    assert merged.table.num_rows == table.num_rows == 1943
    complete = ["mirabest", "frdeep", "at17", "mbhybrid", "contradiction", "basic_label"]
    expected = {row["name"]: [row[name] for name in complete] for row in table.to_pylist()}
    assert {row["name"]: [row[name] for name in complete] for row in merged.table.to_pylist()} == expected


def test_a_list_that_a_spreadsheet_has_saved_is_taken_back(tmp_path):
    """With semicolons and in Latin-1; ids are compared as they are written."""
    sky = {"ra_deg": np.array([10.0]), "dec_deg": np.array([0.0]), "extent_arcsec": None}
    columns = pa.table({"kind": ["FRI"]})
    parents = [
        ParentCatalogue(name, Catalogue(name, np.array([id_], dtype=object), columns=columns, **sky), {name: "kind"})
        for name, id_ in (("A", "007"), ("B", "Mädler"))
    ]
    path = tmp_path / "review.csv"
    path.write_bytes("parent_a;id_a;parent_b;id_b;same\nA;007;B;Mädler;no\n".encode("latin-1"))
    assert merge_catalogues(parents).table.num_rows == 1
    assert merge_catalogues(parents, reviewed=path).table.num_rows == 2
