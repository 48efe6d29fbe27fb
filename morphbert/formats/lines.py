"""Reads text files line by line: unpacked, decoded and bounded, with errors that name file, line and remedy."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import STANDARD_INPUT, open_for_reading
from morphbert.git_lfs import refuse_pointer

# The longest line in bytes, and the largest file that is read as one JSON document. A gigabyte without a line end packs
# into a few megabytes; the bounds keep such a file from exhausting the memory.
LONGEST_LINE = 1 << 26
LARGEST_DOCUMENT = 1 << 29

_BUFFER = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# In these encodings a line end is not the byte 0x0A, or that byte is part of other characters too.
_WIDE = ("utf-16", "utf-32", "utf-7", "iso2022", "hz")


def text_encoding(name: str) -> str:
    """Returns Python's name of an encoding: `"UTF-16"` → `"utf-16"`.

    EUC-KR is read as CP949, which has the same characters and more: files that are called EUC-KR often have them.

    Raises:
      UsageError: no text encoding has this name.
    """
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # `hex` and `zip` are codecs of bytes
    except (LookupError, ValueError, TypeError):
        raise UsageError(
            f"--encoding={name}: no text encoding has this name. Korean files are utf-8, cp949 (Excel's CSV), euc-kr "
            "or utf-16."
        ) from None
    return "cp949" if found.name == "euc_kr" else found.name


def ends_lines_plainly(codec: str) -> bool:
    r"""Returns whether the byte 0x0A ends a line, and nothing else has that byte, in an encoding (`text_encoding`)."""
    return not codec.startswith(_WIDE)


def read_lines(
    path: str, count: Callable[[int], object] | None = None, encoding: str | None = None
) -> Iterator[str]:
    r"""Yields the lines of a text file without their `\n` and without a byte order mark.

    The file may be compressed with gzip, bzip2, xz or zstd, as its first bytes or its name show. Only `\n` ends a line:
    U+2028, form feed and the like are characters of the text.

    Args:
      count: receives the number of bytes read from the file, before decompression.
      encoding: the value of `--encoding`. None means UTF-8, for commands without this flag.

    Raises:
      MorphbertError: the file cannot be read, unpacked or decoded, or a line is longer than `LONGEST_LINE`; the message
        names the line.
    """
    with open_for_reading(path) as raw:
        counted: Any = _Counted(raw, count) if count else raw
        yield from lines_of(counted, path, encoding)


def lines_of(raw: IO[bytes], path: str, encoding: str | None = None) -> Iterator[str]:
    """Yields the lines of an open file as `read_lines` does; the ending of `path` may name the compression."""
    name = shown(path)
    codec = text_encoding(encoding or "utf-8")
    number = 0
    damaged: type[Exception] = OSError
    try:
        stream, damaged = _unpacked(raw, path)
        _refuse_marks_of_others(stream, name, codec, encoding)
        if not ends_lines_plainly(codec):
            stream, codec = io.BufferedReader(cast(Any, _Recoded(stream, codec, name)), _BUFFER), "utf-8"
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise MorphbertError(
                    f"{name}, line {number}: the line is longer than {LONGEST_LINE >> 20} MiB. Is this a text file? "
                    "Divide the text into lines, for example one paragraph per line."
                )
            if (
                number == 1
                and b"\r" in line[:-1]
                and not line.endswith(b"\n")
                and line[:1] not in (b"{", b"[")
            ):
                raise MorphbertError(
                    f"{name}: the lines end with \\r alone, as on old Macs. Convert it: tr '\\r' '\\n' < IN > OUT"
                )
            text = line.decode(codec).rstrip("\n")
            yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise not_decoded(f"{name}, line {number}", error, line, encoding) from error
    except (OSError, EOFError, damaged) as error:
        raise _not_readable(f"{name} cannot be read after line {number}", error) from error


def read_text(path: str, encoding: str | None = None) -> str:
    """Returns the whole text of a file that is one document, such as a JSON array, decoded as by `read_lines`.

    Raises:
      MorphbertError: as `read_lines`, or the file is larger than `LARGEST_DOCUMENT`.
    """
    name = shown(path)
    codec = text_encoding(encoding or "utf-8")
    damaged: type[Exception] = OSError
    content = b""
    try:
        with open_for_reading(path) as raw:
            stream, damaged = _unpacked(raw, path)
            _refuse_marks_of_others(stream, name, codec, encoding)
            content = stream.read(LARGEST_DOCUMENT + 1)
        if len(content) > LARGEST_DOCUMENT:
            raise MorphbertError(
                f"{name} is one document of more than {LARGEST_DOCUMENT >> 20} MiB, and one document is read as a "
                "whole. Divide it, or write JSON Lines, one object per line."
            )
        return content.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        start = content.rfind(b"\n", 0, error.start) + 1
        line = content[start : content.find(b"\n", error.start) + 1 or None]
        number = content.count(b"\n", 0, error.start) + 1
        told = UnicodeDecodeError(error.encoding, line, error.start - start, error.end - start, error.reason)
        raise not_decoded(f"{name}, line {number}", told, line, encoding) from error
    except (OSError, EOFError, damaged) as error:
        raise _not_readable(f"{name} cannot be read", error) from error


def is_blank(line: str) -> bool:
    """Returns whether a line has no text."""
    return not line or line.isspace()


def shown(path: str) -> str:
    """Returns the name of a file in messages: `"-"` → `"standard input"`."""
    return "standard input" if path == STANDARD_INPUT else path


def not_decoded(
    where: str, error: UnicodeDecodeError, line: bytes, encoding: str | None = None
) -> MorphbertError:
    """Returns the error for a line in another encoding, with a guess of that encoding."""
    name = error.encoding.upper().replace("_", "-")
    reason = f"{where}: not {name} ({error.reason} at byte {error.start} of the line)."
    if name != "UTF-8":
        return MorphbertError(
            f"{reason} Leave --encoding out if the file is UTF-8, or name another encoding."
        )
    likely = _likely(line)
    if likely == "CP949" and (damage := _damage(line)):
        return MorphbertError(f"{reason} {damage}: iconv -c -f UTF-8 -t UTF-8 IN > OUT")
    guess = ""
    if likely != "CP949":
        guess = f" It looks like {likely}."
    elif _decodes(line, likely):
        guess = " It reads as CP949."
    remedy = (
        "Convert the file first, for example:"
        if encoding is None
        else f"Give --encoding={likely.lower()}, or convert the file:"
    )
    return MorphbertError(f"{reason}{guess} {remedy} iconv -f {likely} -t UTF-8 IN > OUT")


def _damage(line: bytes) -> str:
    """Returns the damage of a line that is UTF-8 apart from a few bytes, and the remedy, or an empty text."""
    try:
        line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        # Some syllables of CP949 have the bytes of others in UTF-8 by chance, but not most of a line.
        readable = sum(
            len(character.encode()) for character in line.decode("utf-8", "ignore") if character > "\x7f"
        )
        if 2 * readable <= sum(byte > 0x7F for byte in line):
            return ""
        return "The rest of the line is UTF-8: a character is damaged or cut off. Restore the file, or drop such bytes"
    return (
        "These bytes are surrogates, halves of a character of UTF-16, which UTF-8 does not have. Write the file again "
        "from its source, or drop them"
    )


def _likely(line: bytes) -> str:
    if b"\0" in line:  # no Korean encoding of single lines has this byte in text
        # Lines are divided at the byte 0x0A, so in UTF-16LE the next line begins with the second half of the line end.
        if line.startswith(b"\0") or line.endswith(b"\0\n"):
            return "UTF-16LE" if line.startswith(b"\0") else "UTF-16BE"
        return "UTF-16LE" if line[1::2].count(0) >= line[::2].count(0) else "UTF-16BE"
    return "CP949"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


# A record's length (8 bytes, little-endian), its checksum (4 bytes), and the first byte of a `tf.train.Example`.
_RECORD_HEAD = 13
_HEAD = 64


def _refuse_marks_of_others(stream: io.BufferedReader, name: str, codec: str, encoding: str | None) -> None:
    head = stream.peek(_HEAD)
    refuse_pointer(head, name)
    if not ends_lines_plainly(codec):
        return
    if head[2:8] == bytes(6) and head[_RECORD_HEAD - 1 : _RECORD_HEAD] == b"\n":
        raise MorphbertError(
            f"{name} is a TFRecord file, not text: give the raw text that its records were made from. "
            "inspect_records.py shows the records."
        )
    for mark, kind in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            flag = "" if encoding is None else f"give --encoding={kind.lower()}, or "
            raise MorphbertError(
                f"{name} is {kind} (its first bytes are that byte order mark), not {codec.upper()}: {flag}convert it: "
                f"iconv -f {kind} -t UTF-8 IN > OUT"
            )


def _not_readable(what: str, error: Exception) -> MorphbertError:
    return MorphbertError(f"{what}: {error}. Is the file complete, and is its ending the right one?")


def _unpacked(raw: IO[bytes], path: str) -> tuple[io.BufferedReader, type[Exception]]:
    """Returns a stream of the decompressed bytes, and the error class for damaged data, beside OSError and EOFError.

    Raises:
      MorphbertError: the package for zstd is missing, or the file is an archive of several files.
    """
    stream = io.BufferedReader(cast(Any, raw), _BUFFER)
    head = stream.peek(10)[:10]
    ending = os.path.splitext(path)[1]
    if head.startswith(b"\x1f\x8b"):
        ending = ".gz"
    elif head.startswith(b"BZh") and head[4:] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        ending = ".bz2"
    elif head.startswith(b"\xfd7zXZ\0"):
        ending = ".xz"
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        ending = ".zst"
    elif head.startswith(b"PK\x03\x04"):
        raise MorphbertError(
            f"{shown(path)} is a ZIP archive or a spreadsheet (.xlsx): unpack it, or save the sheet as CSV in UTF-8."
        )
    unpack, damaged = _opener(ending, path)
    if unpack is None:
        return stream, damaged
    return io.BufferedReader(unpack(stream), _BUFFER), damaged


def _opener(ending: str, path: str) -> tuple[Callable[..., Any] | None, type[Exception]]:
    if ending == ".gz":
        return gzip.open, zlib.error
    if ending == ".bz2":
        return bz2.open, OSError
    if ending == ".xz":
        return lzma.open, lzma.LZMAError
    if ending != ".zst":
        return None, OSError
    try:
        from backports import zstd
    except ImportError as error:
        raise MorphbertError(f"{path}: .zst needs a package: pip install backports.zstd") from error
    return zstd.open, zstd.ZstdError


class _Counted(io.RawIOBase):
    """A stream that counts the bytes read from it."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], object]):
        self._stream = stream
        self._count = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)


class _Recoded(io.RawIOBase):
    r"""A UTF-8 view of a stream in an encoding whose lines do not end with the byte `\n`."""

    def __init__(self, stream: io.BufferedReader, codec: str, name: str):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._codec, self._name = codec, name
        self._ready = b""
        self._line = 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._stream.read1(_BUFFER)
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeError as error:
                raise MorphbertError(
                    f"{self._name}, at or after line {self._line}: not {self._codec.upper()} ({error}). Name the "
                    "encoding of the file with --encoding, or leave the flag out if it is UTF-8."
                ) from error
            self._ready = text.encode("utf-8", "surrogatepass")
            self._line += text.count("\n")
            if not data:
                break
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
