"""Backbones on the Hugging Face hub."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import yaml

from radiossl.io.errors import RadiosslError
from radiossl.weights.backbone import load_backbone
from radiossl.weights.card import CARD_FILE


def push_backbone(
    backbone: str | os.PathLike[str],
    repo: str,
    *,
    licence: str,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a backbone folder to the Hugging Face hub, with the header of its format on the card.

    Raises `RadiosslError` if the folder is no backbone, or the hub refuses it.

    The folder stays as it is. The repository ``OWNER/NAME`` is made if it does not exist, and its address returned.
    `licence` is the hub's name of one, such as ``cc-by-4.0``. Token and endpoint are by default those that
    `huggingface_hub` finds (``hf auth login``, HF_TOKEN, HF_ENDPOINT).
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise RadiosslError(f"{repo}: expected OWNER/NAME of a repository on the hub")
    loaded = load_backbone(backbone)
    from huggingface_hub import HfApi

    folder, api = Path(loaded.name), HfApi(endpoint=endpoint, token=token)
    header = {
        "license": licence,
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["radio-astronomy", "self-supervised-learning", "radiossl"],
    }
    with tempfile.TemporaryDirectory() as copied:
        copy = Path(shutil.copytree(folder, Path(copied) / folder.name, ignore=shutil.ignore_patterns(".*")))
        card = copy / CARD_FILE
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        card.write_text(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}", encoding="utf-8")
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=copy, commit_message="Backbone of radiossl")
        except Exception as error:  # besides its own, the hub's client passes on those of its HTTP library
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RadiosslError(f"{repo}: not pushed ({reason}); check name and token (hf auth login)") from None
    return f"{(endpoint or api.endpoint).rstrip('/')}/{repo}"
