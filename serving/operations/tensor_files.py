"""Embeddings that others saved with torch: ``.pt`` files, and folders of them, named by the id.

Such a file is a tensor (P, D), or (D,) for one photo, of any floating dtype. It names neither the
model nor the person: the caller gives the model's id, and the file's name is the person's id. No
code in it is run: torch reads it with ``weights_only=True``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serving.errors import InvalidInput
from serving.gallery import Kind, Segment
from serving.gallery.interchange import Pair
from serving.gallery.segment import normalised

_FILES = "*.pt"


@dataclass(frozen=True)
class TensorFiles:
    """The files of one or more people; a `serving.gallery.transfer.Source`."""

    model: str
    people: Sequence[tuple[int, Sequence[Path]]]
    distinct: Sequence[Pair] = ()  # files by torch have none

    @property
    def ids(self) -> NDArray[np.int64]:
        return np.array([person for person, _ in self.people], np.int64)

    def segments(self, kind: Kind, time: float) -> Iterator[Segment]:
        times = np.array([time])
        for person, files in self.people:
            rows = [_read(path) for path in files]
            for path, read in zip(files, rows, strict=True):
                if read.shape[1] != rows[0].shape[1]:
                    raise InvalidInput(
                        f"{path} holds embeddings of {read.shape[1]} numbers, but {files[0]} holds "
                        f"some of {rows[0].shape[1]}."
                    )
            try:
                together = np.concatenate(rows)
                yield Segment.of_people(
                    kind,
                    np.array([person]),
                    np.array([len(together)], np.int32),
                    normalised(together),
                    created=times,
                    updated=times,
                )
            except ValueError as error:
                raise InvalidInput(f"{files[0]} cannot be imported: {error}.") from error


def find(path: Path, model: str) -> TensorFiles:
    """The people of ``path``: a file, a folder named by an id, or a folder of both.

    Raises:
        InvalidInput: a file that would be read is not named by an id.
    """
    path = path.resolve()
    files_here = [path] if path.is_file() else sorted(path.glob(_FILES))
    if path.is_dir() and path.name.isdigit() and files_here:
        return TensorFiles(model, [(_id(path), files_here)])
    people = [(_id(p), [p]) for p in files_here]
    for folder in sorted(p for p in path.glob("*") if p.is_dir()):
        if files := sorted(folder.glob(_FILES)):
            people.append((_id(folder), files))
    return TensorFiles(model, people)


def _id(path: Path) -> int:
    name = path.stem if path.is_file() else path.name
    if not (name.isascii() and name.isdigit()) or int(name) >= 2**63:
        raise InvalidInput(f"{path} is not named by a numeric id.")
    return int(name)


def _read(path: Path) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings():
            # Of kinds of tensors that are refused below, in a sentence.
            warnings.simplefilter("ignore")
            tensor: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # An unpickler that meets hostile or damaged bytes raises nearly anything.
        raise InvalidInput(f"{path} holds no tensor that can be read safely.") from error
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise InvalidInput(f"{path} holds no tensor of floating-point numbers.")
    # Sparse ones, nested ones and those without data have no rows to copy.
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
        raise InvalidInput(f"{path} holds a tensor that is not dense; save it by to_dense().")
    if tensor.ndim not in (1, 2) or not len(tensor):
        raise InvalidInput(
            f"{path} holds a tensor of the shape {tuple(tensor.shape)}, not one row a photo."
        )
    rows: NDArray[np.float32] = tensor.detach().to(torch.float32).numpy()
    return np.atleast_2d(rows)
