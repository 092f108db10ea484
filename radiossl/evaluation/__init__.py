"""Evaluation of backbones and classifiers on labelled cutouts."""
