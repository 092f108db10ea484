"""The model card: what a backbone is, sees, was trained on and reaches, for people."""

from __future__ import annotations

from typing import Any

import radiossl
from radiossl.weights.config import BackboneConfig

CARD_FILE = "README.md"


def model_card(name: str, config: BackboneConfig, feature_dim: int) -> str:
    """Return the card of a backbone as Markdown; `name` is that of its folder."""
    recipe, imported = config.recipe, config.imported
    origin = f" with the recipe `{recipe['name']}` ({recipe['method']})" if recipe else ""
    if imported:
        origin = f" out of `{imported['file']}` (format {imported['format']})"
    return f"""# {name}

A {config.architecture.name} backbone for radio images, made by radiossl {radiossl.__version__}{origin}.

```python
import radiossl

backbone = radiossl.load_backbone("{name}")
features = backbone.features(["cutout.fits"])  # shape (1, {feature_dim})
```

{card_sections(config)}"""


def card_sections(config: BackboneConfig) -> str:
    """Write what follows the title of a card: input, training, scores, limits, terms and citation."""
    about = config.about
    sections = {"Input": [_input(config)], "Training images": _training_images(config)}
    if "compute" in about:
        sections["Training"] = [_compute(about["compute"], config.recipe)]
    sections["Scores"] = _scores(config.scores) or ["Not measured."]
    for title, heading in (("limits", "Known limits"), ("terms", "Terms of use"), ("citation", "How to cite")):
        if title in about:
            sections[heading] = [about[title].strip()]
    return "\n".join("\n".join([f"## {heading}", "", *lines, ""]) for heading, lines in sections.items())


def _input(config: BackboneConfig) -> str:
    seen, embedding = config.preprocessing, config.embedding
    readout = embedding.readout
    pooled = "" if readout is None else f"{', '.join(readout.pool)} of the stages {', '.join(map(str, readout.stages))}"
    kept = "" if embedding.whiten is None else f"{embedding.whiten} whitened components"
    read = " of ".join(filter(None, [kept, pooled or (kept and "the last stage")]))
    read += ", beside the mean of the last stage" if embedding.joined else ""
    return (
        f"Raw cutouts in any brightness unit; preprocessing `{seen.mode}`, {seen.channels} x {seen.size} x {seen.size}"
        + (f", central {seen.field_px} pixels" if seen.field_px else "")
        + (", features averaged over 8 flips and rotations." if seen.views == 8 else ".")
        + (f' Features are {read}; the last stage itself: `readout="last", whiten=0`.' if read else "")
    )


def _training_images(config: BackboneConfig) -> list[str]:
    lines = []
    for entry in config.data:
        lines.append(f"- {entry.get('store', '?')}: {entry.get('cutouts', '?')} cutouts")
        lines += [
            f"  - without {other['removed']} that show a source of {other['store']} (within"
            f" {other['radius_arcsec']:g} arcsec) or have the pixels of one"
            for other in entry.get("excluded", [])
        ]
    return lines or ["Those of the imported weights." if config.imported else "None: the weights are random."]


def _compute(compute: dict[str, Any], recipe: dict[str, Any]) -> str:
    batch, hours = recipe.get("batch_size"), compute.get("hours")
    pairs = f" of {batch} pairs of views" if batch else ""
    duration = f" in {hours:.1f} hours" if hours and hours >= 0.1 else f" in {60 * hours:.0f} min" if hours else ""
    return f"{compute['steps']:,} steps{pairs}{duration}."


def _scores(scores: dict[str, Any]) -> list[str]:
    """Plain values as a list; those of an evaluation as a table, with a column for each label fraction."""
    lines = [f"- {name}: {value}" for name, value in scores.items() if not isinstance(value, dict)]
    for name, value in ((name, value) for name, value in scores.items() if isinstance(value, dict)):
        fractions = list(value["accuracy"])
        trials = f"{value['folds']} folds" if value["folds"] else "a separate test set"
        lines += [
            *([""] if lines else []),
            f"**{name}** (`{value['protocol']}`, {value['objects']} objects in {value['classes']} classes, {trials},"
            f" {value['seeds']} seed{'s' if value['seeds'] > 1 else ''}; accuracy, mean and standard deviation)",
            "",
            "| | " + " | ".join(f"{100 * float(fraction):.3g} % of the labels" for fraction in fractions) + " |",
            "|---" * (len(fractions) + 1) + "|",
        ]
        for method in value["accuracy"][fractions[0]]:
            cells = [
                f"{mean:.3f}" + (f" ± {spread:.3f}" if spread is not None and spread == spread else "")
                for mean, spread in (value["accuracy"][fraction][method] for fraction in fractions)
            ]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines
