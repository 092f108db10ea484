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

    Parameters
    ----------
    backbone
        Its folder, which stays as it is.
    repo
        ``OWNER/NAME`` on the hub; made if it does not exist.
    licence
        The hub's name of a licence, such as ``cc-by-4.0`` or ``other``.
    private
        Whether only the owner sees a repository that is made.
    token
        Of the owner; by default what `huggingface_hub` finds (``hf auth login`` or HF_TOKEN).
    endpoint
        Address of the hub; by default HF_ENDPOINT or the public one.

    Returns
    -------
    str
        Address of the repository.
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
