"""`--set KEY=VALUE` and settings files: what is accepted, and the one line that says what is wrong."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from radiossl.datasets.grouping import read_grouping
from radiossl.datasets.merge_entries import read_classes
from radiossl.io.errors import RadiosslError
from radiossl.io.settings import apply_settings, key_values, read_yaml
from radiossl.pretraining.recipe import read_recipe


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimizer(Section):
    name: str = "adamw"
    lr: float = Field(default=0.1, gt=0)


class Training(Section):
    optimizer: Optimizer = Optimizer()
    epochs: int = 10
    warmup: int = 1
    where: str | None = None
    sizes: tuple[int, ...] = (1,)

    @model_validator(mode="after")
    def _short_warmup(self) -> "Training":
        if self.warmup > self.epochs:
            raise ValueError(f"warmup {self.warmup} is longer than the {self.epochs} epochs")
        return self


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["optimizer.lr=1e-3"], {"optimizer": {"lr": 1e-3}}),
        ([" epochs =20", "epochs=30"], {"epochs": 30}),
        (["where=rms < 2e-4"], {"where": "rms < 2e-4"}),
        (["""where="FRI" == label and not (a in [1, 2])"""], {"where": '"FRI" == label and not (a in [1, 2])'}),
        (["where=[1]"], {"where": "[1]"}),
        (["where=null"], {"where": None}),
        (["sizes=[64, 128]"], {"sizes": (64, 128)}),
        (["optimizer.name=012", "where=a == 1: 2"], {"optimizer": {"name": "012"}, "where": "a == 1: 2"}),
        (["epochs=1", "warmup=0"], {"epochs": 1, "warmup": 0}),
    ],
)
@pytest.mark.parametrize("base", [None, Training(), {}, {"optimizer": Optimizer()}])
def test_changes_are_applied(base, changes, expected):
    assert apply_settings(Training, base, changes) == Training.model_validate(expected)


def test_what_is_not_changed_stays():
    base = Training(optimizer=Optimizer(lr=0.5), epochs=3)
    changed = apply_settings(Training, base, ["optimizer.name=sgd"])
    assert (changed.optimizer, changed.epochs, base.optimizer.name) == (Optimizer(name="sgd", lr=0.5), 3, "adamw")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.lr=[", r"--set optimizer.lr=\[: optimizer.lr: should be a valid number.*\(got '\['\)"),
        ("optimizer.lr=fast", "should be a valid number"),
        ("optimizer.lr=-1", "should be greater than 0"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'"),
        ("optimiser.lr=1", "unknown key 'optimiser'; did you mean 'optimizer'"),
        ("lr=1", "unknown key 'lr'; did you mean 'optimizer.lr'"),
        ("nonsense=1", "unknown key 'nonsense'; keys are optimizer, epochs"),
        ("epochs.a=1", "--set epochs.a=1: epochs is not a section"),
        ("epochs", "--set epochs: expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("epochs=0", "--set: warmup 1 is longer than the 0 epochs"),
        ("optimizer=3", "should be a valid dictionary"),
        ("epochs=&a [*a]", "should be a valid integer"),
        ("epochs=" + "9" * 5000, "epochs: "),
        ("epochs=" + "[" * 5000, "should be a valid integer"),
        ("sizes=" + "{a: " * 50 + "1" + "}" * 50, "should be a valid tuple"),
        ("epochs=!!python/object/apply:os.getpid []", "should be a valid integer"),
        ("epochs=2024-13-45", "should be a valid integer"),
        ("x" * 5000 + "=1", "unknown key 'xxx"),
    ],
)
def test_a_wrong_change_is_one_short_line(change, message):
    with pytest.raises(RadiosslError, match=message) as failed:
        apply_settings(Training, None, [change])
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 300


def test_a_wrong_key_of_a_file_names_the_file():
    with pytest.raises(RadiosslError, match=r"^run.yaml: epochs: should be a valid integer"):
        apply_settings(Training, {"epochs": "many"}, ["optimizer.lr=1"], source="run.yaml")
    with pytest.raises(RadiosslError, match=r"^--other lr=1: unknown key"):
        apply_settings(Training, {}, ["lr=1"], option="--other", source="run.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2",
        "&a [*a]",
        "a: &a {b: *a}",
        BOMB,
        "[" * 5000,
        "a: 2024-13-45",
        "a: " + "9" * 10_000,
        "a: " + "1:" * 50_000 + "1",
        "? [1]\n: 2",
        "a: !!python/object/apply:os.system ['true']",
        "a: *nothing",
        "a: b\x00",
        "x" * 2_000_000,
    ],
)
def test_hostile_yaml_is_one_short_line(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RadiosslError, match=r"bad\.yaml: ") as failed:
        read_yaml(tmp_path / "bad.yaml")
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("read", [read_grouping, read_classes, read_recipe])
@pytest.mark.parametrize("text", [BOMB, "a: &a {b: *a}", "a: " + "9" * 10_000, "[" * 5000])
def test_every_reader_of_yaml_refuses_what_is_hostile(tmp_path, read, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RadiosslError, match=r"bad\.yaml: not valid YAML"):
        read(tmp_path / "bad.yaml")


def test_ordinary_references_are_followed(tmp_path):
    (tmp_path / "good.yaml").write_text("a: &a {lr: 1}\nb:\n  <<: *a\n  name: x\nc: *a\n")
    assert read_yaml(tmp_path / "good.yaml") == {"a": {"lr": 1}, "b": {"lr": 1, "name": "x"}, "c": {"lr": 1}}


def test_pairs_without_a_schema_are_split():
    assert key_values(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(RadiosslError, match=r"--evaluation x: expected TITLE=FOLDER"):
        key_values(["x"], "--evaluation", "TITLE=FOLDER")


def test_one_text_is_one_change_and_not_its_letters():
    assert key_values("a=b") == {"a": "b"}
    assert read_recipe("radiossl", "seed=3")[-1].seed == 3


@pytest.mark.parametrize("text", ["lr: 1\nlr: 2\n", "a: {lr: 1, b: 2, lr: 1}\n", "a: [{x: 1, 'x': 2}]\n"])
def test_a_key_that_occurs_twice_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RadiosslError, match="occurs twice in one section"):
        read_yaml(tmp_path / "a.yaml")
