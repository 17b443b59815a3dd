"""How an archive is built, read from the records of the file itself.

No ZIP library is asked: what it would smooth over is what the table is about.
"""

import struct
import zlib

END = 0x06054B50
ZIP64_LOCATOR = 0x07064B50
ZIP64_END = 0x06064B50
CENTRAL = 0x02014B50
LOCAL = 0x04034B50
DESCRIPTOR = 0x08074B50

METHODS = {0: "stored", 8: "deflate"}
FIELDS = {
    0x0001: "ZIP64",
    0x000A: "NTFS",
    0x000D: "Unix",
    0x5455: "UT",
    0x5855: "UX",
    0x7075: "Unicode path",
    0x7855: "Ux",
    0x7875: "ux",
    0xA11E: "alignment",
    0xCAFE: "JAR",
    0xD935: "alignment",
}


class Member:
    """A member, as its two headers and its data descriptor have it."""

    def __init__(self, data, record):
        (self.made_by, self.needed, self.flags, self.method, self.time, self.date, self.crc, self.packed, self.size,
         name_length, extra_length, comment_length, _, _, self.attributes, self.header) = struct.unpack_from(
            "<HHHHHHIIIHHHHHII", data, record + 4)
        at = record + 46
        self.name = data[at:at + name_length]
        self.central_fields = fields(data[at + name_length:at + name_length + extra_length])
        self.next_record = at + name_length + extra_length + comment_length
        self.sizes_from_zip64()
        self.read_local(data)

    def sizes_from_zip64(self):
        values = self.central_fields.get(0x0001, b"")
        for attribute in ("size", "packed", "header"):
            if getattr(self, attribute) == 0xFFFFFFFF and len(values) >= 8:
                setattr(self, attribute, int.from_bytes(values[:8], "little"))
                values = values[8:]

    def read_local(self, data):
        (magic, _, self.local_flags, _, _, _, self.local_crc, self.local_packed, self.local_size, name_length,
         extra_length) = struct.unpack_from("<IHHHHHIIIHH", data, self.header)
        assert magic == LOCAL
        at = self.header + 30
        self.local_name = data[at:at + name_length]
        extra = data[at + name_length:at + name_length + extra_length]
        self.local_fields = fields(extra)
        self.zero_padding = len(extra) > 0 and not any(extra)
        self.start = at + name_length + extra_length
        self.bytes = data[self.start:self.start + self.packed]

    def descriptor(self, data, end):
        """Returns the length of the data descriptor that fits, or 0."""
        if not self.flags & 8:
            return 0
        at = self.start + self.packed
        for signature in (struct.pack("<I", DESCRIPTOR), b""):
            for form in ("<IQQ", "<III"):
                expected = signature + struct.pack(form, self.crc, self.packed, self.size)
                if at + len(expected) <= end and data[at:at + len(expected)] == expected:
                    return len(expected)
        return 0


class Archive:
    """An archive that starts at the first byte of a file."""

    def __init__(self, data):
        self.data = data
        end = data.rindex(struct.pack("<I", END))
        (_, _, _, self.declared_count, self.declared_length, self.declared_start, comment) = struct.unpack_from("<HHHHIIH", data, end + 4)
        self.comment = comment
        self.trailing = len(data) - (end + 22 + comment)
        start, length, self.count = self.declared_start, self.declared_length, self.declared_count
        self.zip64_end = end >= 20 and data[end - 20:end - 16] == struct.pack("<I", ZIP64_LOCATOR)
        if self.zip64_end:
            at = struct.unpack_from("<Q", data, end - 12)[0]
            self.count, length, start = struct.unpack_from("<QQQ", data, at + 32)
        self.directory = start
        self.members = []
        at = start
        while at < start + length:
            self.members.append(Member(data, at))
            at = self.members[-1].next_record

    def gaps(self):
        """Returns how many bytes before the directory belong to no member."""
        covered = 0
        ordered = sorted(self.members, key=lambda member: member.header)
        ends = [member.header for member in ordered[1:]] + [self.directory]
        for member, end in zip(ordered, ends):
            covered += member.start + member.packed + member.descriptor(self.data, end) - member.header
        return self.directory - covered


def fields(extra):
    """Returns the extra fields that can be read, by their number."""
    found = {}
    while len(extra) >= 4:
        number, length = struct.unpack_from("<HH", extra)
        if number == 0 or length > len(extra) - 4:
            break
        found[number] = extra[4:4 + length]
        extra = extra[4 + length:]
    return found


def describe(data):
    """Returns what the tables say of an archive, as plain values."""
    archive = Archive(data)
    arrays = [member for member in archive.members if member.name.endswith(b".npy")]
    return {
        "method": sorted({METHODS.get(member.method, str(member.method)) for member in arrays}),
        "sizes": sorted({sizes(archive, member) for member in arrays}),
        "zip64": zip64(archive, arrays),
        "fields": field_names(arrays),
        "align": alignment(arrays),
        "dates": sorted({date(member) for member in arrays}),
        "notes": notes(archive, arrays),
        "headers": sorted({header(member) for member in arrays}),
        "order": [member.name.decode("utf-8", "replace") for member in archive.members],
    }


def sizes(archive, member):
    """Returns where a reader of the local header finds the sizes."""
    if not member.flags & 8:
        if 0xFFFFFFFF in (member.local_packed, member.local_size):
            return "ZIP64 field"
        return "header" if (member.local_packed, member.local_size) == (member.packed, member.size) else "nowhere"
    length = member.descriptor(archive.data, archive.directory)
    text = {0: "no descriptor that fits", 12: "descriptor, unsigned", 16: "descriptor",
            20: "64-bit descriptor, unsigned", 24: "64-bit descriptor"}[length]
    filled = (member.local_packed, member.local_size) == (member.packed, member.size)
    return f"header and {text}" if filled else text


def zip64(archive, arrays):
    found = []
    if any(0x0001 in member.local_fields for member in arrays):
        found.append("local")
    if any(0x0001 in member.central_fields for member in arrays):
        found.append("central")
    if archive.zip64_end:
        found.append("end")
    return found


def field_names(arrays):
    numbers = {number for member in arrays for number in (*member.local_fields, *member.central_fields)}
    names = [FIELDS.get(number, f"0x{number:04x}") for number in sorted(numbers) if number != 0x0001]
    if any(member.zero_padding for member in arrays):
        names.append("zeros")
    return names


def alignment(arrays):
    """Returns the largest power of two, up to 4096, at which the data of every stored array starts."""
    places = [member.start + data_start(member.bytes) for member in arrays if member.method == 0]
    return max((size for size in (2**power for power in range(13)) if all(place % size == 0 for place in places)),
               default=0) if places else 0


def data_start(npy):
    return 10 + int.from_bytes(npy[8:10], "little") if npy[6] == 1 else 12 + int.from_bytes(npy[8:12], "little")


def header(member):
    """Returns the version of an array's header, and what its length is a multiple of."""
    npy = member.bytes if member.method == 0 else zlib.decompress(member.bytes, -15)
    start = data_start(npy)
    multiple = next((size for size in (64, 32, 16, 8, 4, 2) if start % size == 0), 1)
    text = npy[10:start] if npy[6] == 1 else npy[12:start]
    fortran = " Fortran" if b"'fortran_order': True" in text else ""
    return f"{npy[6]}.{npy[7]}:{multiple}{fortran}"


def date(member):
    if member.date == 0:
        return "none"
    year, month, day = 1980 + (member.date >> 9), member.date >> 5 & 15, member.date & 31
    if (year, month, day) == (1980, 1, 1):
        return "1980"
    return "the file's" if year == 2001 else "now" if year > 2020 else f"{year}-{month:02}-{day:02}"


def notes(archive, arrays):
    """Yields what no column says."""
    found = []
    utf8 = [bool(member.flags & 0x800) for member in arrays]
    if all(utf8):
        found.append("UTF-8 flag")
    if any(member.flags & 0x800 != member.local_flags & 0x800 for member in arrays):
        found.append("UTF-8 flag in one header only")
    others = {member.flags & ~0x808 for member in arrays} - {0}
    found += [f"flags 0x{flags:04x}" for flags in sorted(others)]
    if any(member.name != member.local_name for member in arrays):
        found.append("names differ between headers")
    if any(member.local_crc not in (member.crc, 0) for member in arrays):
        found.append("CRC differs between headers")
    if any(member.name.endswith(b"/") for member in archive.members):
        found.append("directories")
    extra = [member.name.decode() for member in archive.members if not member.name.endswith((b".npy", b"/"))]
    if extra:
        found.append("also " + ", ".join(extra))
    if archive.count != len(archive.members):
        found.append(f"{archive.count} entries declared")
    if archive.gaps():
        found.append(f"{archive.gaps()} bytes in no member")
    if archive.comment:
        found.append("comment")
    if archive.trailing:
        found.append(f"{archive.trailing} bytes behind")
    return found
