"""A trained model on disk: native file and manifest, named by their SHA-256 and checked before parsing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.lake.files import write_atomic
from acceleray.models.tabular.family import FAMILIES, Model
from acceleray.models.tabular.family import family as find_family
from acceleray.models.tabular.signature import Signature

__all__ = ["Artifact", "load", "save"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model with what is known of it.

    Parameters
    ----------
    family : str
        Its name in `family.FAMILIES`.
    signature : Signature
        What it expects of a row.
    model : Model
        Ready to predict.
    facts : mapping
        What the run wrote about it, such as seed, rounds and data.
    content_sha256 : str
        Hash of the native file.
    """

    family: str
    signature: Signature
    model: Model
    facts: Mapping[str, Any]
    content_sha256: str


def save(folder: Path, content: bytes, *, family: str, signature: Signature, facts: Mapping[str, Any]) -> str:
    """Write native file and manifest, flushed to disk; the same content is written once.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    content : bytes
        From `Learner.content`.
    family : str
        Name of its family.
    facts : mapping
        Anything that JSON can hold.

    Returns
    -------
    str
        SHA-256 of the manifest, which names the native file's hash: the model's id.

    Raises
    ------
    UsageError
        If there is no such family.
    StorageError
        If a file cannot be written.
    """
    suffix = find_family(family).suffix
    content_sha256 = hashlib.sha256(content).hexdigest()
    fields = {
        "family": family,
        "signature": signature.to_dict(),
        "content_sha256": content_sha256,
        "facts": dict(facts),
    }
    manifest = json.dumps(fields, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False).encode()
    model_id = hashlib.sha256(manifest).hexdigest()
    # The manifest comes last: whoever finds it finds its model.
    _write_once(folder / f"{content_sha256}{suffix}", content, content_sha256)
    _write_once(folder / f"{model_id}.json", manifest, model_id)
    return model_id


def load(folder: Path, model_id: str) -> Artifact:
    """Read a model; both hashes are checked before anything is parsed, and nothing is unpickled.

    Raises
    ------
    MissingDataError
        If one of the files is gone.
    StorageError
        If one does not have its hash.
    SchemaError
        If the id is no SHA-256, the manifest is of no known family, or the native file is not its family's or
        has other inputs.
    """
    if not _SHA256.fullmatch(model_id):
        raise SchemaError(f"The model id was {model_id!r}; expected a SHA-256 in hexadecimal")
    path = folder / f"{model_id}.json"
    manifest = _read_checked(path, model_id)
    try:
        fields = json.loads(manifest)
        name, content_sha256 = fields["family"], fields["content_sha256"]
        signature, facts = Signature.from_dict(fields["signature"]), fields["facts"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"{path}: is no manifest of a model: {error!r}") from error
    if str(name) not in FAMILIES or not _SHA256.fullmatch(str(content_sha256)):
        raise SchemaError(f"{path}: family {name!r}, content {content_sha256!r}: no manifest of a model")
    found = find_family(name)
    content = _read_checked(folder / f"{content_sha256}{found.suffix}", content_sha256)
    return Artifact(
        family=name,
        signature=signature,
        model=found.load(content, signature),
        facts=facts,
        content_sha256=content_sha256,
    )


def _write_once(path: Path, content: bytes, sha256: str) -> None:
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        write_atomic(path, content)


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path}: the model file is gone", hint="Restore it from a backup, or train again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StorageError(
            f"{path}: SHA-256 was {found}, the record says {sha256}",
            hint="The file was changed after training. Restore it, or train again.",
        )
    return content
