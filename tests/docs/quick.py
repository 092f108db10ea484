"""`radiossl` with short trainings, for the scripts of the documentation: python -m tests.docs.quick ARGUMENTS."""

import sys

from radiossl.cli.main import main


def quick(arguments: list[str]) -> list[str]:
    """The same command with one epoch of training: that it runs is asked here, not what it learns."""
    command = arguments[:2]
    pretraining = command[0] == "pretrain"
    if (pretraining or command == ["evaluate", "sweep"]) and "--resume" not in arguments:
        arguments = [*arguments, "--epochs", "1", "--image-size", "32", "--batch-size", "32"]
        arguments += ["--set", "schedule.warmup_epochs=0"] if pretraining else []
    if command == ["table", "train"]:
        return [*arguments, "--trees", "10", "--seeds", "1", "--folds", "2"]
    if command == ["detect", "train"]:
        return [*arguments, "--epochs", "1", "--image-size", "64"]
    if command in (["evaluate", "finetune"], ["evaluate", "supervised"]) or "--layer" in arguments:
        arguments = [*arguments, "--epochs", "1"]
    judged = command[0] == "evaluate" and command[1] not in ("compare", "sweep")
    if judged or (command[0] == "anomalies" and "--label" in arguments):
        arguments = [*arguments, "--seeds", "1", "--folds", "2"]
    return arguments


if __name__ == "__main__":
    main(quick(sys.argv[1:]))
