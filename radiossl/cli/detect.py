"""`radiossl detect`: a network that finds and outlines sources, trained on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Device, Seed, set_option
from radiossl.io.errors import DiskFullError, counted

if TYPE_CHECKING:
    from radiossl.detection.images import Reader
    from radiossl.detection.network import Mode

app = typer.Typer(no_args_is_help=True, help="Find sources in images and mosaics with a network that outlines them.")

Images = Annotated[Path | None, Option(help="Folder of the images; by default that of the annotations.")]
ReaderName = Annotated[str, Option("--reader", help="plain, or radiogalaxynet (infrared in red).")]
Changes = Annotated[list[str] | None, set_option("lr=0.0005 or design.rois=128")]
Out = Annotated[Path, Option(help="Folder to write.")]


@app.command()
def train(
    annotations: Annotated[Path, Argument(help="COCO file of the training images.")],
    weights: Annotated[str, Option(help="Backbone folder or name; its preprocessing is used in every mode.")],
    out: Out,
    mode: Annotated[str, Option(help="The backbone: frozen, finetune or scratch (random weights).")] = "finetune",
    images: Images = None,
    valid: Annotated[Path | None, Option(help="COCO file of validation images, to measure AP during training.")] = None,
    valid_images: Annotated[Path | None, Option(help="Folder of the validation images.")] = None,
    reader: ReaderName = "plain",
    infrared: Annotated[bool, Option("--infrared", help="Use the infrared image as the third channel.")] = False,
    epochs: Annotated[int, Option(min=1, help="Passes over the images.")] = 12,
    batch_size: Annotated[int, Option(min=1, help="Images per training step.")] = 4,
    image_size: Annotated[int, Option(help="Side of the network's input in pixels, a multiple of 32.")] = 224,
    fraction: Annotated[float, Option(help="Fraction of the training images to use.")] = 1.0,
    balanced: Annotated[bool, Option("--balanced", help="With --fraction, draw images of rare classes first.")] = False,
    seed: Seed = 0,
    changes: Changes = None,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False,
    device: Device = "auto",
) -> None:
    """Train Mask R-CNN on a backbone."""
    from radiossl.detection.network import DetectionTraining
    from radiossl.io.settings import apply_settings

    given = {"epochs": epochs, "batch_size": batch_size, "image_size": image_size}
    base = given | {"fraction": fraction, "balanced": balanced, "seed": seed}
    try:
        detector = radiossl.train_detector(
            annotations,
            weights,
            out,
            mode=cast("Mode", mode),
            images=images,
            reader=cast("Reader", reader),
            valid=valid,
            valid_images=valid_images,
            infrared=infrared,
            settings=apply_settings(DetectionTraining, base, changes),
            resume=resume,
            device=device,
        )
    except (KeyboardInterrupt, DiskFullError) as error:
        error.add_note(f"go on with the same command and --resume ({out})")
        raise
    typer.echo(f"{detector.name}: detector of {', '.join(detector.config.classes)}; {out / 'report.html'}")


@app.command()
def predict(
    mosaics: Annotated[list[str], Argument(help="FITS mosaics, folders of them, or glob patterns.")],
    detector: Annotated[Path, Option(help="Detector or run folder of radiossl detect train.")],
    out: Out,
    score: Annotated[float, Option(help="Smallest score of a detection that is kept.")] = 0.5,
    window: Annotated[int | None, Option(help="Side of a tile in pixels (default: as in training).")] = None,
    overlap: Annotated[float, Option(help="Fraction of a tile's side shared with the next tile.")] = 0.3,
    device: Device = "auto",
) -> None:
    """Find the sources of mosaics: catalogue, DS9 regions, label images and pictures.

    The same command completes an interrupted search.
    """
    catalogue = radiossl.predict_sources(
        mosaics, detector, out, score=score, window=window, overlap=overlap, device=device
    )
    typer.echo(f"{out / 'report.html'}: {counted(len(catalogue), 'object')}")


@app.command()
def evaluate(
    detectors: Annotated[list[Path], Argument(help="Detectors or run folders of radiossl detect train.")],
    annotations: Annotated[Path, Option(help="COCO file of the test images.")],
    out: Out,
    images: Images = None,
    reader: ReaderName = "plain",
    score: Annotated[float, Option(help="Smallest score of a detection that counts.")] = 0.5,
    iou: Annotated[float, Option("--iou", help="Smallest intersection over union of masks that match.")] = 0.6,
    device: Device = "auto",
) -> None:
    """Measure completeness, reliability, F1 and average precision of detectors, by class, size and brightness.

    Several detectors are compared. The same command completes an interrupted evaluation.
    """
    table = radiossl.evaluate_detectors(
        detectors, annotations, out, images=images, reader=cast("Reader", reader), score=score, iou=iou, device=device
    )
    names = {"ap50": "AP50", "completeness": "completeness", "reliability": "reliability", "f1": "F1"}
    for row in table.to_dict("records"):
        typer.echo(f"{row['detector']}: {', '.join(f'{name} {row[key]:.3f}' for key, name in names.items())}")
    typer.echo(f"{out / 'report.html'}: {counted(len(table), 'detector')}")
