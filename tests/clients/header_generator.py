"""Random npy headers, in the spellings of dtypes and literals that NumPy and Python know.

NumPy reads about half of them. Left out are spellings that it reads by accident, such as a string
of two letters in place of a field, or a dtype in place of a shape.
"""

import random
import re

SOUND = "b1 ? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 f16 c8 c16 c32 S0 S3 U2 V0 V7 O M8 m8[s]".split()
KINDS = "b i u f c S U V O m M ? x".split()
SIZES = ["", *"0 1 2 3 4 8 10 16 32 64 +8 -1 2147483648".split(), " 8", "8 "]
CHARACTERS = "?bBhHiIlLqQnNpPefdgFDGSUVOcMmxkz8"
NAMES = """
    bool bool_ byte ubyte half single double longdouble csingle cdouble clongdouble short ushort
    int int_ intc intp uint uintc uintp long ulong longlong ulonglong int8 uint8 int16 uint32 int64
    float16 float32 float64 float128 complex64 complex128 complex256 complex float object object_
    str str_ bytes bytes_ void unicode datetime64 timedelta64 Float64 float65 float256 record
""".split()
UNITS = [*"Y M W D h m s ms us μs ns ps fs as generic B".split(), ""]


class Generator:
    """Makes the same headers for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def pick(self, values):
        return self.random.choice(values)

    def single(self):
        """A string for a dtype without commas."""
        order = self.pick(["<", ">", "|", "=", "", "", ""])
        if self.chance(50):
            return order + self.pick(SOUND)
        form = self.random.randrange(8)
        if form < 3:
            return order + self.pick(KINDS) + self.pick(SIZES)
        if form < 5:
            return order + self.pick(CHARACTERS)
        if form < 7:
            return (order if self.chance(5) else "") + self.pick(NAMES)
        name = self.pick(["M8", "m8", "datetime64", "timedelta64"])
        number = self.pick(["", "", "1", "25", " 2", "+3", "0"])
        divisor = "/1" if self.chance(5) else ""
        return f"{order}{name}[{number}{self.pick(UNITS)}{divisor}]"

    def typestr(self):
        if self.chance(75):
            return self.single()
        items = []
        for _ in range(self.random.randrange(1, 4)):
            shape = self.pick(
                ["", "", "2", "3 ", "(2,)", "(2,3)", "( 2 , 1 )", "()", "0", "(2, 3)", "1"]
            )
            items.append(self.pick(["", "", "<", "="]) + shape + self.single())
        comma = self.pick([", ", " ,", ",,"]) if self.chance(10) else ","
        return comma.join(items) + ("," if self.chance(10) else "")

    def shape(self):
        lengths = [
            self.random.randrange(-1 if self.chance(2) else 0, 4)
            for _ in range(self.random.randrange(4))
        ]
        if self.chance(30):
            return self.random.randrange(-1 if self.chance(5) else 0, 4)
        return lengths if lengths and self.chance(10) else tuple(lengths)

    def descr(self, depth=0):
        form = self.random.randrange(10)
        if depth > 4 or form < 5:
            return self.typestr()
        if form == 5:
            return (self.descr(depth + 1), self.shape())
        return [self.field(depth + 1) for _ in range(self.random.randrange(5))]

    def field(self, depth):
        name = self.name()
        if self.chance(20):
            name = self.pick(["", "é", "it's", 'a"b', "\\", "\n", "f0"])
        if self.chance(10):
            name = (self.pick([None, 3, "title", self.name()]), name)
        parts = [name, self.descr(depth)]
        if self.chance(30):
            parts.append(self.shape())
        if self.chance(1):
            parts.append(2)
        return parts if self.chance(5) else tuple(parts)

    def name(self):
        return "".join(self.random.choices("abcdefghijk_", k=self.random.randrange(1, 4)))

    def space(self):
        if self.chance(90):
            return self.pick(["", "", " "])
        return self.pick(["\t", "\n", "\x0c", "\r\n", "  ", "# a comment: '\n", "\\\n", "#\n\n"])

    def literal(self, value):
        """One way to write a value."""
        text = self.bare_literal(value)
        if self.chance(3):
            text = f"({self.space()}{text}{self.space()})"
        return self.space() + text + self.space()

    def bare_literal(self, value):
        if value is None or isinstance(value, bool):
            return repr(value)
        if isinstance(value, int):
            return self.number(value)
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, dict):
            entries = [(self.literal(key), self.literal(value)) for key, value in value.items()]
            if self.chance(5):
                key, _ = self.pick(entries)
                entries.insert(0, (key, self.literal(self.pick([None, True, 7, "<f4", (2,)]))))
            return self.brackets("{}", [f"{key}:{value}" for key, value in entries])
        brackets = "[]" if isinstance(value, list) else "()"
        elements = [self.literal(element) for element in value]
        if brackets == "()" and len(elements) == 1:
            comma = "" if self.chance(2) else ","
            return f"({elements[0]}{comma}{self.space()})"
        return self.brackets(brackets, elements)

    def brackets(self, brackets, elements):
        comma = "," if elements and self.chance(20) or self.chance(1) else ""
        if self.chance(1):
            comma += ","
        return brackets[0] + ",".join(elements) + comma + self.space() + brackets[1]

    def number(self, value):
        if self.chance(80):
            return str(value)
        sign = "-" if value < 0 else self.pick(["", "+", "+ "])
        digits = self.pick(
            [str, hex, oct, bin, lambda number: f"0_{number}", lambda number: f"0{number}"]
        )
        return sign + digits(abs(value))

    def string(self, value):
        if self.chance(20) and value:
            at = self.random.randrange(len(value) + 1)
            return self.one_string(value[:at]) + self.space() + self.one_string(value[at:])
        return self.one_string(value)

    def one_string(self, value):
        if self.chance(70):
            return repr(value)
        prefix = self.pick(["", "", "u", "U", "r", "R"])
        quote = self.pick(["'", '"', "'''", '"""'])
        if prefix.lower() == "r":
            return prefix + quote + value + quote
        return prefix + quote + "".join(self.character(character) for character in value) + quote

    def character(self, character):
        code = ord(character)
        if character in "'\"\\\n" or self.chance(10):
            escapes = [f"\\u{code:04x}", f"\\U{code:08x}"]
            if code < 256:
                escapes += [f"\\x{code:02x}", f"\\{code:03o}"]
            return self.pick(escapes)
        return "\\\n" + character if self.chance(2) else character

    def header(self):
        """A version and the text of a dictionary."""
        dictionary = {
            "descr": self.descr(),
            "fortran_order": self.chance(50),
            "shape": tuple(self.random.randrange(4) for _ in range(self.random.randrange(4))),
        }
        if self.chance(2):
            dictionary["shape"] = self.shape()
        if self.chance(1):
            dictionary[self.name()] = 0
        text = self.literal(dictionary).strip(" \t\n\r\x0c").rstrip("\\")
        if self.chance(5) and "L" not in text:
            text = re.sub(r"(?<=\d)(?=[,)])", "L", text)
        version = self.pick([1, 2] if re.search(r"\dL", text) else [1, 2, 3])
        return version, text + " " * self.random.randrange(64) + "\n"
