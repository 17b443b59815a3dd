#!/usr/bin/env python3
"""Write the named files of both corpora: archives and npy headers, each odd in its own way. Files
whose names start with `found_` were found by the fuzzer and stay as they are."""

import io
import pathlib
import struct
import zipfile
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"
SATURATED = 0xFFFFFFFF


def npy(literal, version=(1, 0), data=b"", length=None, encoding="latin-1"):
    """Return an npy file with this dictionary, padded as NumPy pads it."""
    text = literal.encode(encoding)
    width = "<H" if version[0] == 1 else "<I"
    start = 8 + struct.calcsize(width)
    text += b" " * (-(start + len(text) + 1) % 64) + b"\n"
    length = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack(width, length) + text + data


def dictionary(descr="'<f8'", order="False", shape="(3, 4)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


class Member:
    """A stored member, of which any header field can be given a wrong value."""

    def __init__(self, name, data=b"data", **lies):
        self.name = name if isinstance(name, bytes) else name.encode()
        self.data = data
        self.lies = lies

    def field(self, header, field, truth):
        return self.lies.get(f"{header}_{field}", self.lies.get(field, truth))

    def fixed(self, header):
        """Return the fields that local and central headers share, from the flags to the sizes."""
        truth = {
            "flags": 0,
            "method": 0,
            "time": 0,
            "date": 33,
            "crc": zlib.crc32(self.data),
            "stored": len(self.data),
            "size": len(self.data),
        }
        values = [self.field(header, field, value) for field, value in truth.items()]
        return struct.pack("<HHHHIII", *values)

    def local(self):
        name = self.field("local", "name", self.name)
        extra = self.field("local", "extra", b"")
        signature = self.lies.get("local_signature", b"PK\x03\x04")
        lengths = struct.pack("<HH", len(name), len(extra))
        header = signature + b"\x2d\0" + self.fixed("local") + lengths + name + extra
        return header + self.data + self.lies.get("descriptor", b"")

    def central(self, offset):
        extra = self.field("central", "extra", b"")
        comment = self.lies.get("comment", b"")
        return b"".join(
            [
                b"PK\x01\x02\x2d\x03\x2d\0",
                self.fixed("central"),
                struct.pack("<HHH", len(self.name), len(extra), len(comment)),
                struct.pack("<HHI", self.lies.get("disk", 0), 0, 0o600 << 16),
                struct.pack("<I", self.lies.get("offset", offset)),
                self.name,
                extra,
                comment,
            ]
        )


def archive(*members, prefix=b"", comment=b"", zip64=False, after=b"", again=b"", **lies):
    out, directory = b"", b""
    for member in members:
        directory += member.central(len(out))
        out += member.local()
    directory += again
    start, length = len(out), len(directory)
    count = len(members) + again.count(b"PK\x01\x02")
    out += directory
    if zip64:
        record = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, start)
        locator = struct.pack("<IQI", 0, lies.get("zip64_offset", len(out)), 1)
        out += b"PK\x06\x06" + record + b"PK\x06\x07" + locator
        start, count, length = SATURATED, 0xFFFF, SATURATED
    count, length = lies.get("count", count), lies.get("length", length)
    start, disk = lies.get("start", start), lies.get("disk", 0)
    end = struct.pack("<HHHHIIH", disk, disk, count, count, length, start, len(comment))
    return prefix + out + b"PK\x05\x06" + end + comment + after


def zip64_extra(*numbers):
    return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def written_by_python(compression=zipfile.ZIP_STORED, stream=False):
    """Return an archive of `zipfile`, with data descriptors if it is written to a stream."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.bytes = b""

        def writable(self):
            return True

        def write(self, data):
            self.bytes += bytes(data)
            return len(data)

    out = Pipe() if stream else io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name in ["x.npy", "größe.npy", "d/y.npy"]:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            with file.open(info, "w", force_zip64=True) as member:
                member.write(npy(dictionary(shape="(2,)"), data=bytes(16)))
    return out.bytes if stream else out.getvalue()


X, Y = Member("x"), Member("y")
DATA_CRC = zlib.crc32(b"data")
UNICODE_PATH = struct.pack("<HHBI", 0x7075, 6, 1, zlib.crc32(b"x")) + b"y"
TIMESTAMP = struct.pack("<HHBi", 0x5455, 5, 1, 1_000_000_000)
END_RECORD = b"PK\x05\x06" + bytes(18)
ENDLESS = Member("x", size=SATURATED, stored=SATURATED)

ARCHIVES = {
    "empty": archive(),
    "nothing": b"",
    "no_archive": npy(dictionary()),
    "np_savez": written_by_python(),
    "np_savez_compressed": written_by_python(zipfile.ZIP_DEFLATED),
    "streamed": written_by_python(stream=True),
    "two_members": archive(X, Y),
    "zip64_end": archive(X, Y, zip64=True),
    "zip64_end_behind_a_prefix": archive(X, Y, zip64=True, prefix=b"#!/bin/sh\n"),
    "zip64_end_missing": archive(X, zip64=True).replace(b"PK\x06\x06", bytes(4)),
    "zip64_end_in_too_short_a_file": b"PK\x06\x07" + bytes(12) + b"\1\0\0\0" + END_RECORD,
    "zip64_locator_with_a_wrong_offset": archive(X, zip64=True, zip64_offset=7),
    "zip64_sizes": archive(
        Member("x", stored=SATURATED, size=SATURATED, extra=zip64_extra(4, 4)), Y
    ),
    "zip64_offset": archive(
        Member("x", offset=SATURATED, central_extra=zip64_extra(0)), Y
    ),
    "zip64_value_missing": archive(Member("x", size=SATURATED, extra=zip64_extra())),
    "zip64_offset_of_2_to_the_64": archive(
        Member("x", offset=SATURATED, central_extra=zip64_extra(2**64 - 1)), prefix=b"MZ"
    ),
    "zip64_size_of_2_to_the_63": archive(
        Member("x", stored=SATURATED, size=SATURATED, extra=zip64_extra(2**63, 2**63))
    ),
    "saturated_without_zip64": archive(ENDLESS),
    "descriptor": archive(
        Member(
            "x",
            flags=8,
            local_crc=0,
            local_stored=0,
            local_size=0,
            descriptor=b"PK\x07\x08" + struct.pack("<III", DATA_CRC, 4, 4),
        ),
        Y,
    ),
    "descriptor_saturated": archive(
        Member(
            "x",
            flags=8,
            local_crc=0,
            local_stored=SATURATED,
            local_size=SATURATED,
            descriptor=b"PK\x07\x08" + struct.pack("<III", DATA_CRC, SATURATED, SATURATED),
        ),
        Y,
    ),
    "descriptors_of_64_bits": archive(
        Member("x", flags=8, descriptor=b"PK\x07\x08" + struct.pack("<IQQ", DATA_CRC, 4, 4)),
        Member("y", b"", flags=8, descriptor=b"PK\x07\x08" + bytes(20)),
    ),
    "local_crc_and_sizes_missing": archive(
        Member("x", local_crc=0), Member("y", local_stored=0, local_size=0)
    ),
    "utf8_flag_in_one_header": archive(
        Member("x", local_flags=1 << 11), Member("y", central_flags=1 << 11)
    ),
    "prefix": archive(X, Y, prefix=b"#!/bin/sh\n"),
    "comment": archive(X, Y, comment=b"a comment"),
    "comment_with_an_end_record": archive(X, comment=END_RECORD),
    "comment_with_a_signature": archive(X, comment=b"PK\x05\x06"),
    "member_with_an_archive": archive(Member("inner.npz", archive(X, Y)), Y),
    "truncated_outer_archive": Member("inner.npz", archive(X, Y)).local(),
    "comment_with_an_archive": archive(X, comment=archive(Y) + b"more"),
    "something_appended": archive(X, after=b"x"),
    "zeros_appended": archive(X, after=bytes(512)),
    "zeros_behind_zip64_end": archive(X, zip64=True, after=bytes(10)),
    "zeros_behind_a_comment": archive(X, comment=END_RECORD, after=bytes(10)),
    "newline_appended": archive(X, after=b"\n"),
    "too_many_entries_declared": archive(X, Y, count=3),
    "too_few_entries_declared": archive(X, Y, count=1),
    "directory_too_long": archive(X, length=1000),
    "directory_starts_in_itself": archive(X, start=60),
    "split": archive(X, disk=1),
    "on_another_disk": archive(Member("x", disk=3)),
    "encrypted": archive(Member("x", flags=1)),
    "deflate64": archive(Member("x", method=9, size=10)),
    "stored_sizes_differ": archive(Member("x", size=5)),
    "headers_disagree": archive(Member("x", local_name=b"z"), Member("y", local_size=9)),
    "local_header_missing": archive(Member("x", local_signature=b"PK\0\0"), Y),
    "local_header_outside": archive(X, Member("y", offset=10_000)),
    "same_extent_twice": archive(X, Member("x", offset=0)),
    "listed_twice": archive(X, Y, again=X.central(0) + Y.central(35)),
    "overlap": archive(Member("x", Y.local()), Member("y", offset=31)),
    "runs_into_the_directory": archive(Member("x", stored=50, size=50)),
    "directories": archive(Member("a/", b""), Member("a/b/", b""), Member("a/b/c.npy"), X),
    "directory_with_data": archive(Member("a/"), Member("a/x")),
    "file_and_directory": archive(Member("a"), Member("a/b"), Member("a (1)")),
    "climbing_names": archive(Member("../x"), Member("/x"), Member("./x"), Member("a//../x")),
    "no_name_left": archive(Member(""), Member("."), Member(".."), Member("//")),
    "nul_in_a_name": archive(Member(b"a\0b"), X),
    "same_name_thrice": archive(X, X, X),
    "names_that_become_one": archive(*(Member(name) for name in ["x", "/x", "x (1)", "//x"])),
    "cp437_and_utf8": archive(Member(b"gr\x94\xe1e"), Member("größe")),
    "long_names": archive(*(Member("ä" * 200 + end) for end in [".npy", ".npy/x", "."])),
    "unicode_path": archive(Member("x", central_extra=UNICODE_PATH)),
    "unicode_path_of_another_name": archive(Member("z", central_extra=UNICODE_PATH)),
    "unicode_paths_that_clash": archive(Member("x", central_extra=UNICODE_PATH), Y, X),
    "timestamp": archive(Member("x", central_extra=TIMESTAMP), Member("y", date=0xFFFF, time=0xFFFF)),
    "extra_field_too_long": archive(Member("x", extra=b"\1\0\xFF\xFF\0")),
    "comment_of_a_member": archive(Member("x", comment=b"a comment"), Y),
}

FIELDS = "[('a', '<i4'), ('b', '|S5'), ('c', '<f8', (2, 3))]"

HEADERS = {
    "float": npy(dictionary()),
    "with_data": npy(dictionary(shape="(2,)"), data=bytes(16)),
    "version_2": npy(dictionary(), (2, 0)),
    "version_3": npy(dictionary(), (3, 0)),
    "version_4": npy(dictionary(), (4, 0)),
    "scalar": npy(dictionary(shape="()")),
    "eight_dimensions": npy(dictionary(shape="(1, 2, 3, 4, 5, 6, 7, 8)")),
    "zero_length": npy(dictionary(shape="(0, 18446744073709551615)")),
    "too_many_elements": npy(dictionary(shape="(9223372036854775807, 3)")),
    "length_of_2_to_the_64": npy(dictionary(shape="(18446744073709551616,)")),
    "negative_length": npy(dictionary(shape="(-1,)")),
    "hexadecimal_length": npy(dictionary(shape="(0x10,)")),
    "leading_zero": npy(dictionary(shape="(03,)")),
    "number_in_parentheses": npy(dictionary(shape="(3)")),
    "list_for_a_shape": npy(dictionary(shape="[3, 4]")),
    "python_2_long": npy(dictionary(shape="(3L, 4L)")),
    "python_2_unicode": npy(dictionary(descr="u'<f8'")),
    "bytes_for_a_dtype": npy(dictionary(descr="b'<f8'")),
    "fortran_order": npy(dictionary(order="True")),
    "order_is_a_number": npy(dictionary(order="1")),
    "bool": npy(dictionary("'|b1'")),
    "complex": npy(dictionary("'<c16'")),
    "object": npy(dictionary("'|O'")),
    "no_such_dtype": npy(dictionary("'float'")),
    "fields": npy(dictionary(FIELDS)),
    "fields_with_titles": npy(dictionary("[(('title', 'name'), '<i4')]")),
    "nested_fields": npy(dictionary(f"[('outer', {FIELDS}, (4,)), ('x', '|b1')]")),
    "no_fields": npy(dictionary("[]")),
    "fields_in_latin_1": npy(dictionary("[('é', '<i4')]")),
    "fields_in_utf_8": npy(dictionary("[('é', '<i4')]"), (3, 0), encoding="utf-8"),
    "no_utf_8": npy(dictionary("[('é', '<i4')]"), (3, 0)),
    "subarray": npy(dictionary("('<f8', (2,))")),
    "subarray_of_a_subarray": npy(dictionary("[('m', ('<f8', (3,)), (2,))]")),
    "list_of_dtypes": npy(dictionary("'<i4, (2, 3)f8'")),
    "name_of_a_dtype": npy(dictionary("'float64'")),
    "time_with_a_unit": npy(dictionary("'<M8[25s]'")),
    "strings_side_by_side": npy(dictionary("'flo' r\"at\" '64'")),
    "comments": npy(dictionary("# the type\n'<f8' # was it\n")),
    "signs_and_parentheses": npy(dictionary(shape="(+3, (4), 0b1_0)")),
    "joined_lines": npy("{'descr':\\\n'<f8','fortran_order':False,'shape':()}"),
    "last_of_equal_keys": npy("{'descr': None, " + dictionary()[1:]),
    "nested_32_deep": npy(dictionary("[" * 32 + "]" * 32)),
    "nested_200_deep": npy(dictionary("[" * 199 + "]" * 199)),
    "nested_201_deep": npy(dictionary("[" * 200 + "]" * 200)),
    "nested_1000_deep": npy(dictionary("(" * 1000 + ")" * 1000)),
    "nested_without_end": npy("{" * 1000),
    "escapes": npy(dictionary(r"'\x3cf8'")),
    "escaped_quote": npy(dictionary(r"[('it\'s', '<i4')]")),
    "line_break_in_a_string": npy(dictionary("'<f\n8'")),
    "triple_quotes": npy(dictionary("'''<f8'''")),
    "double_quotes": npy('{"descr":"<f8","fortran_order":False,"shape":(3,)}'),
    "other_order_of_keys": npy("{'shape': (3,), 'descr': '<f8', 'fortran_order': False}"),
    "same_key_twice": npy("{'descr': '<f8', " + dictionary()[1:]),
    "one_key_more": npy("{'more': 1, " + dictionary()[1:]),
    "one_key_fewer": npy("{'descr': '<f8', 'shape': (3,)}"),
    "no_dictionary": npy("('<f8', False, (3,))"),
    "something_behind": npy(dictionary() + " x"),
    "empty": b"",
    "only_the_magic": b"\x93NUMPY",
    "no_dictionary_at_all": npy("", length=0),
    "length_of_2_to_the_32": npy(dictionary(), (2, 0), length=SATURATED),
    "length_one_too_short": npy(dictionary(), length=117),
    "no_newline": npy(dictionary())[:-1] + b" ",
}


def main():
    for kind, suffix, files in [("index", "zip", ARCHIVES), ("header", "npy", HEADERS)]:
        directory = CORPUS / kind
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            assert len(content) < 4096, name
            (directory / f"{name}.{suffix}").write_bytes(content)


if __name__ == "__main__":
    main()
