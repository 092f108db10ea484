"""`radiossl detect`: a network that finds and outlines sources, trained on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiossl.io.errors import DiskFullError, RadiosslError
from radiossl.io.settings import key_values

if TYPE_CHECKING:
    from radiossl.detection.examples import Source

app = typer.Typer(no_args_is_help=True, help="Find sources in images and mosaics with a network that outlines them.")

Images = Annotated[Path | None, typer.Option(help="Folder of the images; beside the annotations if not given.")]
ReaderName = Annotated[
    str, typer.Option("--reader", help="plain, or radiogalaxynet: radio in green and blue, infrared in red.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]


@app.callback()
def _main() -> None:
    _needs_pycocotools()


@app.command()
def train(
    annotations: Annotated[Path, typer.Argument(help="COCO file of the training images.")],
    weights: Annotated[Path, typer.Option(help="Backbone folder; its preprocessing is used in every mode.")],
    out: Out,
    mode: Annotated[str, typer.Option(help="The backbone: frozen, finetune or scratch (random weights).")] = "finetune",
    images: Images = None,
    valid: Annotated[Path | None, typer.Option(help="COCO file of validation images, for AP while training.")] = None,
    valid_images: Annotated[Path | None, typer.Option(help="Folder of the validation images.")] = None,
    reader: ReaderName = "plain",
    infrared: Annotated[bool, typer.Option("--infrared", help="Infrared as the third channel.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images (12).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step (4).")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels of what the network sees (224).")] = None,
    fraction: Annotated[float | None, typer.Option(help="Part of the training images to use.")] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Images of rare classes first, with --fraction.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same detector.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as lr=0.0005, design.rois=128.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Device = "auto",
) -> None:
    """Train Mask R-CNN on a backbone."""
    from radiossl.detection.network import MODES
    from radiossl.detection.settings import DetectionTraining
    from radiossl.detection.training import train_detector
    from radiossl.detection.training_report import write_training_report
    from radiossl.weights.backbone import load_backbone

    if mode not in MODES:
        raise RadiosslError(f"--mode {mode}: expected {', '.join(MODES)}")
    given = {"epochs": epochs, "batch_size": batch_size, "image_size": image_size, "fraction": fraction, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None} | key_values(changes)
    settings = DetectionTraining.of(chosen | ({"balanced": True} if balanced else {}))
    watched = None if valid is None else _source(valid, valid_images, reader)
    try:
        detector = train_detector(
            _source(annotations, images, reader),
            load_backbone(weights),
            mode,
            out,
            settings,
            valid=watched,
            infrared=infrared,
            resume=resume,
            device=device,
        )
    except (KeyboardInterrupt, DiskFullError) as error:
        error.add_note(f"go on with the same command and --resume ({out})")
        raise
    report = write_training_report(out)
    typer.echo(f"{detector.name}: detector of {', '.join(detector.config.classes)}; {report}")


@app.command()
def predict(
    mosaics: Annotated[list[Path], typer.Argument(help="FITS mosaics, folders of them, or glob patterns.")],
    detector: Annotated[Path, typer.Option(help="Detector or run folder of radiossl detect train.")],
    out: Out,
    score: Annotated[float, typer.Option(help="Least source score of an object.")] = 0.5,
    window: Annotated[
        int | None, typer.Option(help="Side of a tile in pixels; by default that of the training images.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Part of a tile's side shared with the next.")] = 0.3,
    device: Device = "auto",
) -> None:
    """Find the sources of mosaics: catalogue, DS9 regions, label images and pictures.

    An interrupted search is completed by the same command.
    """
    import shutil

    from radiossl.detection.network import load_detector
    from radiossl.detection.prediction import detect_mosaic
    from radiossl.detection.report import SearchedMosaic, write_detections
    from radiossl.io.locks import only_writer
    from radiossl.pretraining.distributed import ProcessGroup
    from radiossl.survey.finding import find_mosaics, mosaic_labels
    from radiossl.survey.mosaic import Mosaic

    paths = find_mosaics([str(path) for path in mosaics])
    model = load_detector(detector, ProcessGroup().device(device))
    with only_writer(out):
        kept = out / ".parts"
        searched = []
        for path, label in zip(paths, mosaic_labels(paths), strict=True):
            with Mosaic.open(path) as mosaic:
                found = detect_mosaic(model, mosaic, window=window, overlap=overlap, score=score, kept=kept)
            searched.append(SearchedMosaic(mosaic, label, found))
        report = write_detections(searched, model, out)
        shutil.rmtree(kept, ignore_errors=True)
    typer.echo(f"{report}: {sum(len(one.found) for one in searched)} objects in {len(paths)} mosaic(s)")


@app.command()
def evaluate(
    detectors: Annotated[list[Path], typer.Argument(help="Detectors or run folders of radiossl detect train.")],
    annotations: Annotated[Path, typer.Option(help="COCO file of the images to judge on.")],
    out: Out,
    images: Images = None,
    reader: ReaderName = "plain",
    score: Annotated[
        float, typer.Option(help="Least score of a detection: of its class, and of any for SOURCE.")
    ] = 0.5,
    overlap: Annotated[float, typer.Option(help="Least intersection over union of masks that match.")] = 0.6,
    device: Device = "auto",
) -> None:
    """Judge detectors: completeness, reliability, F1, average precision, by class, size and brightness.

    Several detectors are compared. An interrupted evaluation is completed by the same command.
    """
    from radiossl.detection.evaluation import Judgement
    from radiossl.detection.evaluation_report import write_evaluation
    from radiossl.detection.inference import detect_source
    from radiossl.detection.network import load_detector
    from radiossl.io.locks import only_writer
    from radiossl.pretraining.distributed import ProcessGroup

    if not (0 < score < 1 and 0 < overlap <= 1):
        raise RadiosslError(f"--score {score:g}, --overlap {overlap:g}: expected numbers between 0 and 1")
    names = [path.parent.name if path.name == "detector" else path.name for path in map(Path.resolve, detectors)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RadiosslError(f"two detectors are called {min(twice)}; rename the folder of one")
    source = _source(annotations, images, reader)
    models = [load_detector(path, ProcessGroup().device(device)) for path in detectors]
    with only_writer(out):
        judgements = [
            Judgement(name, model.config, source, detect_source(model, source, out / ".parts"), score, overlap)
            for name, model in zip(names, models, strict=True)
        ]
        report = write_evaluation(judgements, out)
    for one in judgements:
        known = one.summary
        typer.echo(
            f"{one.name}: AP50 {known['ap50']:.3f}, completeness {known['completeness']:.3f},"
            f" reliability {known['reliability']:.3f}, F1 {known['f1']:.3f}"
        )
    typer.echo(f"{report}: {len(judgements)} detector(s)")


def _needs_pycocotools() -> None:
    from importlib.util import find_spec

    if find_spec("pycocotools") is None:
        raise RadiosslError("detection needs the package pycocotools: pip install 'radiossl[detect]'")


def _source(annotations: Path, images: Path | None, reader: str) -> Source:
    from radiossl.detection.annotations import read_annotations
    from radiossl.detection.examples import Source
    from radiossl.detection.images import READERS

    if reader not in READERS:
        raise RadiosslError(f"--reader {reader}: expected {' or '.join(READERS)}")
    folder = images or annotations.parent
    if not folder.is_dir():
        raise RadiosslError(f"--images {folder}: no such folder")
    return Source(read_annotations(annotations), folder, reader)
