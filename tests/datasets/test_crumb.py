"""CRUMB's labels, catalogue and batches."""

import pickle
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from radiossl import RadiosslError
from radiossl.datasets.catalogues import convert_catalogue
from radiossl.datasets.crumb import (
    PRIORITY,
    basic_labels,
    complete_labels,
    contradictions,
    explain_totals,
    four_class_labels,
    label_totals,
    parent_names,
    read_crumb_catalogue,
    source_name,
    source_position,
    table_labels,
)
from radiossl.datasets.published import import_set
from radiossl.survey.catalogue import read_catalogue

EVERY = np.array(list(product(range(-1, 10), range(-1, 2), range(-1, 3), range(-1, 2))))


# Labels ---------------------------------------------------------------------------------------------------------------


def published_rule(mirabest, frdeep, at17, mbhybrid):
    """The authors' rule written out, with its mistake."""
    if mirabest != -1:
        return "FRI" if mirabest < 5 else "hybrid" if mirabest > 7 else "FRII"
    if frdeep != -1:
        return "FRI" if frdeep == 0 else "FRII"
    if at17 != -1:
        return "FRII" if frdeep == 1 else "FRI"
    return "hybrid" if mbhybrid != -1 else None


def corrected_rule(mirabest, frdeep, at17, mbhybrid):
    if mirabest == -1 and frdeep == -1 and at17 == 1:
        return "FRII"
    return published_rule(mirabest, frdeep, at17, mbhybrid)


def test_basic_labels_follow_the_rule_with_and_without_its_mistake():
    assert basic_labels(EVERY, "published").tolist() == [published_rule(*row) for row in EVERY]
    assert basic_labels(EVERY).tolist() == [corrected_rule(*row) for row in EVERY]


@pytest.mark.parametrize(
    ("complete", "priority", "label"),
    [
        ([3, -1, -1, 0], ["mbhybrid"], "hybrid"),
        ([3, -1, -1, 0], ["mirabest"], "FRI"),
        ([7, 0, 1, -1], ["frdeep", "at17"], "FRI"),
        ([7, 0, 1, -1], ["at17", "frdeep"], "FRII"),
        ([7, -1, -1, -1], ["at17", "frdeep"], "FRII"),
    ],
)
def test_the_first_parent_in_the_order_decides(complete, priority, label):
    assert basic_labels([complete], "corrected", priority) == [label]


@pytest.mark.parametrize(
    ("complete", "label"),
    [
        ([1, -1, -1, -1], "bent"),
        ([2, -1, -1, -1], "bent"),
        ([4, -1, -1, -1], "bent"),
        ([0, -1, 2, -1], "FRI"),  # MiraBest decides, and does not call it bent
        ([-1, 0, 2, -1], "bent"),  # FR-DEEP has no word for it
        ([-1, 1, 2, -1], "FRII"),
        ([-1, 0, -1, -1], "FRI"),
        ([-1, -1, 2, 0], "bent"),
        ([6, -1, 2, -1], "FRII"),
        ([9, -1, -1, -1], "hybrid"),
        ([-1, -1, -1, -1], None),
    ],
)
def test_bent_sources_can_be_a_class_of_their_own(complete, label):
    assert four_class_labels([complete])[0] == label


def test_a_contradiction_is_one_between_families():
    rows = [[0, -1, 2, -1], [0, 0, 0, -1], [3, -1, -1, 0], [7, 0, -1, -1], [5, -1, 2, -1], [-1, -1, 2, -1]]
    assert contradictions(rows).tolist() == [False, False, True, True, True, False]
    assert parent_names(rows[:3]) == ["mirabest,at17", "mirabest,frdeep,at17", "mirabest,mbhybrid"]


@pytest.mark.parametrize(
    "wrong", [[[10, -1, -1, -1]], [[-1, 2, -1, -1]], [[-2, 0, 0, 0]], [[1, 2, 3]], [[0.5, 0, 0, 0]]]
)
def test_numbers_that_are_no_labels_are_refused(wrong):
    with pytest.raises(RadiosslError, match=r"here: .*expected"):
        complete_labels(wrong, "here")


@pytest.mark.parametrize("priority", [["nvss"], ["at17", "at17"]])
def test_an_order_names_each_parent_once(priority):
    with pytest.raises(RadiosslError, match="each parent once"):
        basic_labels([[0, -1, -1, -1]], "corrected", priority)


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "./CRUMB/PNG/Scaled_Final/", "C:\\CRUMB\\"])
def test_names_are_positions(prefix):
    assert source_position(prefix + "222.036_+016.578.png") == (222.036, 16.578)
    assert source_position(prefix + "000.395_-008.865") == (0.395, -8.865)
    assert source_name(0.026362 * 15, -8.86521) == "000.395_-008.865"


@pytest.mark.parametrize("name", ["image.png", "222.036+016.578.png", "400.000_+001.000.png", "222.036_+116.578.png"])
def test_other_names_are_refused(name):
    with pytest.raises(RadiosslError, match="expected a name"):
        source_position(name)


# The catalogue --------------------------------------------------------------------------------------------------------

ROWS = [
    (0.026362, -8.86521, 5, -1, -1, -1),
    (10.0, 20.0, -1, -1, 1, -1),
    (12.0, 30.0, 3, -1, -1, 0),
]


@pytest.fixture(params=["list.txt", "list.csv"])
def source_list(request, tmp_path):
    """The list of sources as the authors have it, and as a table."""
    path = tmp_path / request.param
    separator = " " if path.suffix == ".txt" else ","
    lines = [separator.join(map(str, row)) for row in ROWS]
    header = [] if path.suffix == ".txt" else ["ra_hours,dec_deg,MiraBest,FRDEEP,AT17,MBHybrid"]
    path.write_text("\n".join([*header, *lines]) + "\n")
    return path


def test_right_ascension_is_in_hours(source_list):
    table = read_crumb_catalogue(source_list)
    np.testing.assert_allclose(table.column("ra_deg").to_numpy(), [0.39543, 150.0, 180.0])
    assert table.column("name").to_pylist() == ["000.395_-008.865", "150.000_+020.000", "180.000_+030.000"]
    assert table.column("basic_label").to_pylist() == ["FRII", "FRII", "FRI"]
    assert table.column("published_label").to_pylist() == ["FRII", "FRI", "FRI"]
    assert table.column("contradiction").to_pylist() == [False, False, True]


def test_the_written_catalogue_is_one_to_cut_from(source_list, tmp_path):
    written = convert_catalogue("crumb", source_list, tmp_path / "out.csv").table
    read = read_catalogue(tmp_path / "out.csv")
    assert read.ids.tolist() == written.column("name").to_pylist()
    np.testing.assert_allclose(read.ra_deg, [0.39543, 150.0, 180.0])
    assert read.columns.column("mirabest").to_pylist() == [5, -1, 3]
    # What was written is a catalogue of CRUMB itself.
    assert read_crumb_catalogue(tmp_path / "out.csv").equals(written)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "0.5 1 2\n", "3 columns, expected 6"),
        ("a.txt", "150.0 1 0 -1 -1 -1\n", "hours"),
        ("a.txt", "0.5 1 0.7 -1 -1 -1\n", "expected whole numbers"),
        ("a.txt", "RA Dec\n", "not a readable list"),
        ("a.txt", "", "expected 6"),
        ("a.csv", "ra_hours,dec_deg,mirabest,frdeep,at17\n1,2,0,-1,-1\n", "0 columns of MiraBest Hybrid"),
        ("a.csv", "ra_hours,dec_deg,mirabest,frdeep,at17,mbhybrid\n1,2,0,,-1,-1\n", "frdeep.*expected whole numbers"),
        ("a.csv", "ra_hours,dec_deg,mirabest,frdeep,at17,mbhybrid\n1,2,0,7,-1,-1\n", "label 7 in FR-DEEP"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*input contained no data")
def test_other_lists_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RadiosslError, match=message):
        read_crumb_catalogue(tmp_path / name)


def test_totals_and_their_explanation(source_list):
    complete = table_labels(read_crumb_catalogue(source_list))
    assert label_totals(complete) == {
        "published": {"FRI": 2, "FRII": 1, "hybrid": 0},
        "corrected": {"FRI": 1, "FRII": 2, "hybrid": 0},
    }
    assert "1 that only AT17 labels, as FRII, are published as FRI" in explain_totals(complete)


def test_totals_of_the_real_catalogue_are_the_published_ones(real_data):
    complete = table_labels(read_crumb_catalogue(real_data / "catalogues" / "crumb_combined.csv"))
    totals = label_totals(complete)
    # The list here lacks the 157 sources of MiraBest's test batch; MiraBest has 591 FRI, 631 FRII and 34 hybrids.
    mirabest = complete[:, 0]
    here = [int(((mirabest >= low) & (mirabest < high)).sum()) for low, high in ((0, 5), (5, 8), (8, 10))]
    lacking = np.subtract([591, 631, 34], here)
    assert lacking.sum() == 157
    assert (list(totals["published"].values()) + lacking).tolist() == [1006, 997, 97]
    assert (list(totals["corrected"].values()) + lacking).tolist() == [977, 1026, 97]
    assert (basic_labels(complete) != basic_labels(complete, "published")).sum() == 29


# Batches --------------------------------------------------------------------------------------------------------------

LABELS = [[0, -1, -1, -1], [-1, -1, 1, -1], [-1, 1, -1, -1], [-1, -1, 2, -1], [3, -1, -1, 0], [-1, -1, -1, 1]]


def write_batch(path, complete, labels=None, names=None):
    count = len(complete)
    rng = np.random.default_rng(count)
    labels = (
        labels if labels is not None else [["FRI", "FRII", "hybrid"].index(published_rule(*row)) for row in complete]
    )
    batch = {
        "batch_label": "training batch 1 of 6",
        "labels": labels,
        "complete_labels": [np.array(row) for row in complete],
        "data": [rng.integers(0, 256, (150, 150), dtype=np.uint8) for _ in range(count)],
        "filenames": names or [np.str_(f"./CombinedCat/PNG/{100 + row:07.3f}_+001.500.png") for row in range(count)],
    }
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(batch, protocol=4))
    return batch


@pytest.fixture
def batches(tmp_path):
    folder = tmp_path / "CRUMB_batches"
    write_batch(folder / "data_batch_1", LABELS)
    write_batch(folder / "test_batch", LABELS[:2], names=["200.000_-001.500.png", "201.000_-001.500.png"])
    return folder


def test_batches_keep_pixels_positions_and_both_tiers_of_labels(batches, tmp_path):
    made = import_set("crumb", batches, tmp_path / "store")
    store = made.store
    assert store.column("cutout_id")[1] == "101.000_+001.500"
    assert (store.column("ra_deg")[6], store.column("dec_deg")[6]) == (200.0, -1.5)
    first = pickle.loads((batches / "data_batch_1").read_bytes())["data"]
    np.testing.assert_array_equal(store.pixels(3), first[3].astype(np.float32))
    assert [store.column(name)[4] for name in PRIORITY] == [3, -1, -1, 0]
    assert store.column("basic_label").tolist()[:6] == ["FRI", "FRII", "FRII", "FRI", "FRI", "hybrid"]
    assert store.column("batch_label").tolist()[:6] == ["FRI", "FRI", "FRII", "FRI", "FRI", "hybrid"]
    assert store.column("four_class").tolist()[:6] == ["FRI", "FRII", "FRII", "bent", "FRI", "hybrid"]
    assert store.column("contradiction").tolist() == [False] * 4 + [True] + [False] * 3
    assert store.column("split").tolist() == ["train"] * 6 + ["test"] * 2
    assert any("2 basic labels that say FRI where AT17" in remark for remark in made.remarks)


def test_labels_can_be_had_as_published_and_another_parent_can_win(batches, tmp_path):
    published = import_set("crumb", batches, tmp_path / "a", options={"labels": "published"}).store
    assert published.column("basic_label").tolist() == published.column("batch_label").tolist()
    hybrid = import_set("crumb", batches, tmp_path / "b", options={"priority": "mbhybrid, at17"}).store
    assert hybrid.column("basic_label")[4] == "hybrid"
    with pytest.raises(RadiosslError, match=r"priority: expected each parent once.*'nvss'"):
        import_set("crumb", batches, tmp_path / "c", options={"priority": "nvss"})


@pytest.mark.parametrize(
    ("select", "rows"),
    [
        ("mirabest", [0, 4, 6]),
        ("fr-deep", [2]),
        ("at17", [1, 3, 7]),
        ("mirabest-hybrid", [4, 5]),
        ("mirabest-with-hybrids", [0, 4, 5, 6]),
        ("without-mirabest", [1, 2, 3, 7]),
        ("two-class", [0, 1, 2, 3, 4, 6, 7]),
        ("four-class", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bent", [3]),
        ("undisputed", [0, 1, 2, 3, 5, 6, 7]),
    ],
)
def test_selections_are_those_of_the_paper(batches, tmp_path, select, rows):
    names = [f"{100 + row:07.3f}_+001.500" for row in range(6)] + ["200.000_-001.500", "201.000_-001.500"]
    store = import_set("crumb", batches, tmp_path / "store", select=select).store
    assert store.column("cutout_id").tolist() == [names[row] for row in rows]


def test_any_condition_on_the_complete_label_selects(batches, tmp_path):
    store = import_set("crumb", batches, tmp_path / "store", where="at17 == 2 or mirabest == 3").store
    assert store.column("cutout_id").tolist() == ["103.000_+001.500", "104.000_+001.500"]


def test_labels_that_no_rule_explains_are_counted(batches, tmp_path):
    write_batch(batches / "data_batch_2", LABELS[:3], [2, 0, 1], [f"{r:07.3f}_+000.500.png" for r in range(3)])
    made = import_set("crumb", batches, tmp_path / "store")
    assert any(remark.startswith("1 basic labels in the batches follow") for remark in made.remarks)


def test_a_set_with_a_further_parent_keeps_its_labels(tmp_path):
    folder = tmp_path / "batches"
    write_batch(folder / "data_batch_1", [[*LABELS[0], 4], [-1, -1, -1, -1, 5], [*LABELS[2], -1]], [0, 2, 1])
    (folder / "batches.meta").write_bytes(pickle.dumps({"parents": [*PRIORITY, "new"]}))
    store = import_set("crumb", folder, tmp_path / "store").store
    assert store.table.schema.field("new").type == pa.int64()
    assert store.column("new").tolist() == [4, 5, -1]
    assert store.column("basic_label").tolist() == ["FRI", "hybrid", "FRII"]
    assert store.column("parents").tolist() == ["mirabest,new", "new", "frdeep"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"complete_labels": [np.array([0, 1])]}, "complete labels that are not 4"),
        ({"complete_labels": [np.array([0.7, -1, -1, -1])]}, "complete labels that are not 4"),
        ({"complete_labels": [np.array([11, -1, -1, -1])]}, "label 11 in MiraBest"),
        ({"labels": [3]}, "basic labels other than"),
        ({"filenames": ["a.png"]}, "expected a name"),
        ({"data": [np.zeros((3, 3), np.uint8)]}, "expected 150 x 150"),
        ({"labels": [0, 1]}, "different lengths"),
    ],
)
def test_damaged_batches_are_refused(tmp_path, change, message):
    batch = write_batch(tmp_path / "b" / "data_batch_1", LABELS[:1])
    (tmp_path / "b" / "data_batch_1").write_bytes(pickle.dumps(batch | change, protocol=4))
    with pytest.raises(RadiosslError, match=message):
        import_set("crumb", tmp_path / "b", tmp_path / "store")
