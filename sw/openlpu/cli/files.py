# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Output that appears whole or not at all.

A file is written under a temporary name beside its place and renamed at the end, so that a failed command leaves
nothing behind and destroys nothing. The place is tried first: a wrong path is told before minutes of work.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openlpu.cli.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` on success and is deleted on failure.

    Devices and pipes (`/dev/null`) are handed out as they are.

    Raises:
        UserError: when nothing can be written at `path`.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file")
    if path.exists() and not path.is_file():
        yield path
        return
    place = path.resolve()
    draft = _draft(place)
    try:
        draft.touch(exist_ok=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield draft
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_in(directory: Path) -> Iterator[Path]:
    """A folder to write files to, which move into `directory` on success; on failure everything is deleted.

    Raises:
        UserError: when `directory` cannot be made or written.
    """
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory}: is a file, not a folder")
    place = directory.resolve()
    draft = _draft(place)
    try:
        draft.mkdir()
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror}") from None
    try:
        yield draft
        place.mkdir(exist_ok=True)
        for file in sorted(draft.iterdir()):
            os.replace(file, place / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draft(place: Path) -> Path:
    if not place.parent.is_dir():
        raise UserError(f"{place.parent}: no such folder to write '{place.name}' to; make it first")
    return place.with_name(f".{place.name}.{os.getpid()}.tmp")
