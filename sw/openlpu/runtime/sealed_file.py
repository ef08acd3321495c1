# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How programs are at rest: a header that says what follows, what follows, and a seal over both.

    magic           8 bytes; not text, and damaged by every transfer that takes it for text
    version         u32
    header length   u32
    body length     u64
    header          JSON
    body            as the header has it
    SHA-256         32 bytes over all of the above

Everything little-endian. No file with a flipped bit is accepted.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from openlpu.runtime.errors import ProgramFileError

T = TypeVar("T")
_SUFFIX = ".lpu"
_PREFIX = struct.Struct("<8sIIQ")
_HASH_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class FileKind:
    """One kind of file, and its present form."""

    magic: bytes
    version: int

    def seal(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """The content of a file; the same header and body always give the same bytes."""
        head = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_scalar).encode()
        content = _PREFIX.pack(self.magic, self.version, len(head), len(body)) + head + body
        return content + hashlib.sha256(content).digest()

    def parse(self, content: bytes, build: Callable[[dict[str, Any], bytes], T]) -> T:
        """What `build` makes of header and body of a file's content.

        Raises:
            ProgramFileError: as `unseal`, and when `build` cannot make anything of them.
        """
        header, body = self.unseal(content)
        try:
            return build(header, body)
        except ProgramFileError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ProgramFileError(f"malformed: {error}") from None

    def unseal(self, content: bytes) -> tuple[dict[str, Any], bytes]:
        """Header and body of a file's content.

        Raises:
            ProgramFileError: when it is of another kind or version, or damaged.
        """
        if not self.marks(content):
            raise ProgramFileError(f"not a {_SUFFIX} program file")
        if len(content) < _PREFIX.size:
            raise ProgramFileError(f"truncated: {len(content)} bytes")
        _, version, head_bytes, body_bytes = _PREFIX.unpack_from(content)
        if version != self.version:
            raise ProgramFileError(
                f"format version {version}, but this OpenLPU reads version {self.version}: compile again"
            )
        expected = _PREFIX.size + head_bytes + body_bytes + _HASH_BYTES
        if len(content) != expected:
            what = "truncated" if len(content) < expected else "followed by something else"
            raise ProgramFileError(f"{what}: {len(content)} bytes instead of {expected}")
        if hashlib.sha256(content[:-_HASH_BYTES]).digest() != content[-_HASH_BYTES:]:
            raise ProgramFileError("damaged: its checksum does not match its content")
        body_start = _PREFIX.size + head_bytes
        try:
            header = json.loads(content[_PREFIX.size : body_start])
        except ValueError as error:
            raise ProgramFileError(f"malformed: {error}") from None
        return header, content[body_start:-_HASH_BYTES]

    def marks(self, content: bytes) -> bool:
        """Whether a file begins as those of this kind do."""
        return content.startswith(self.magic)


def write_whole(content: bytes, path: Path) -> None:
    """Write a file: the whole or, on any failure, none and the old one untouched.

    Raises:
        ProgramFileError: when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ProgramFileError(f"{path}: cannot be written: {error.strerror}") from None


def read_file(path: Path, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of a file. Raises ProgramFileError, with the file's name, when it cannot be read or parsed."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ProgramFileError(f"{path}: cannot be read: {error.strerror}") from None
    except ProgramFileError as error:
        raise ProgramFileError(f"{path}: {error}") from None


def _scalar(value: object) -> int | float:
    """A numpy scalar as JSON has it: float32 widens without loss."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"a program file holds no {type(value).__name__}")
