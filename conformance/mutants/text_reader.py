"""Section 3.3, and rule 4 of 3.2: UTF-8 and JSON, read byte by byte.

The decoder beside this folder reads both with Python's library. This module does it as a decoder in another language would,
so that bugs can be planted in it; `planted.py` puts its two functions in the place of the decoder's.
"""
from unweight_decode import JsonObject


def is_utf8(data):
    """Section 3.2, rule 4. Whether the bytes are UTF-8 as RFC 3629 defines it."""
    i = 0
    while i < len(data):
        first = data[i]
        if first < 0x80:
            more, least, most = 0, 0, 0
        elif 0xC2 <= first <= 0xDF:
            more, least, most = 1, 0x80, 0xBF
        elif 0xE0 <= first <= 0xEF:
            more, least, most = 2, 0x80, 0xBF
            if first == 0xE0:
                least = 0xA0
            if first == 0xED:
                most = 0x9F
        elif 0xF0 <= first <= 0xF4:
            more, least, most = 3, 0x80, 0xBF
            if first == 0xF0:
                least = 0x90
            if first == 0xF4:
                most = 0x8F
        else:
            return False
        if i + more >= len(data):
            return False
        if more and not least <= data[i + 1] <= most:
            return False
        if more > 1 and not 0x80 <= data[i + 2] <= 0xBF:
            return False
        if more > 2 and not 0x80 <= data[i + 3] <= 0xBF:
            return False
        i += 1 + more
    return True


def read_json(data):
    """Section 3.3, rule 1. One JSON object."""
    if not is_utf8(data):
        raise ValueError("no UTF-8")
    reader = Reader(data)
    value = reader.value(0)
    reader.space()
    if reader.at != len(data):
        raise ValueError("more than one value")
    return value


class Reader:
    """Section 3.3, rules 1 and 2. A position in the JSON."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def byte(self):
        """Section 3.3, rule 1. The next byte, or -1 at the end."""
        return self.data[self.at] if self.at < len(self.data) else -1

    def space(self):
        """Section 3.3, rule 1. Skip white space."""
        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):
            self.at += 1

    def take(self, byte):
        """Section 3.3, rule 1. Skip white space and this byte."""
        self.space()
        if self.byte() != byte:
            raise ValueError(f"expected {chr(byte)} at {self.at}")
        self.at += 1

    def value(self, depth):
        """Section 3.3, rule 1. Any value."""
        self.space()
        byte = self.byte()
        if byte == ord("{"):
            return self.object(depth)
        if byte == ord("["):
            return self.array(depth)
        if byte == ord('"'):
            return self.string()
        for word, value in ((b"null", None), (b"true", True), (b"false", False)):
            if self.data[self.at:self.at + len(word)] == word:
                self.at += len(word)
                return value
        return self.number()

    def object(self, depth):
        """Section 3.3, rule 2. The members of an object, in order."""
        if depth > 2:
            raise ValueError("nested too deep")
        self.take(ord("{"))
        members = JsonObject()
        self.space()
        if self.byte() == ord("}"):
            self.at += 1
            return members
        while True:
            self.space()
            name = self.string()
            self.take(ord(":"))
            members.append((name, self.value(depth + 1)))
            self.space()
            if self.byte() == ord("}"):
                self.at += 1
                return members
            self.take(ord(","))

    def array(self, depth):
        """Section 3.3, rule 2. The items of an array."""
        if depth > 2:
            raise ValueError("nested too deep")
        self.take(ord("["))
        items = []
        self.space()
        if self.byte() == ord("]"):
            self.at += 1
            return items
        while True:
            items.append(self.value(depth + 1))
            self.space()
            if self.byte() == ord("]"):
                self.at += 1
                return items
            self.take(ord(","))

    def number(self):
        """Section 3.3, rule 2. Digits alone: no sign, fraction or exponent, and no zero before others."""
        begin = self.at
        value = 0
        while 0x30 <= self.byte() <= 0x39:
            value = value * 10 + self.byte() - 0x30
            if value >= 2**64:
                raise ValueError("2^64 or more")
            self.at += 1
        digits = self.at - begin
        if digits == 0:
            raise ValueError(f"expected a value at {begin}")
        if self.data[begin] == 0x30 and digits > 1:
            raise ValueError("a zero before other digits")
        return value

    def string(self):
        """Section 3.3, rules 1 and 2. A string, its escapes resolved."""
        if self.byte() != ord('"'):
            raise ValueError(f"expected a string at {self.at}")
        self.at += 1
        text = bytearray()
        while self.byte() != ord('"'):
            byte = self.byte()
            if byte < 0x20:
                raise ValueError("a control character, or no end")
            self.at += 1
            if byte != ord("\\"):
                text.append(byte)
                continue
            text += self.escape()
        self.at += 1
        return text.decode("utf-8", "replace")

    def escape(self):
        """Section 3.3, rule 2. What an escape means, in UTF-8."""
        byte = self.byte()
        self.at += 1
        short = {0x22: b'"', 0x5C: b"\\", 0x2F: b"/", 0x62: b"\b", 0x66: b"\f", 0x6E: b"\n", 0x72: b"\r", 0x74: b"\t"}
        if byte in short:
            return short[byte]
        if byte != ord("u"):
            raise ValueError("an unknown escape")
        unit = self.unit()
        if 0xD800 <= unit <= 0xDBFF:
            if self.data[self.at:self.at + 2] != b"\\u":
                raise ValueError("half a surrogate pair")
            self.at += 2
            low = self.unit()
            if not 0xDC00 <= low <= 0xDFFF:
                raise ValueError("half a surrogate pair")
            unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)
        elif 0xDC00 <= unit <= 0xDFFF:
            raise ValueError("half a surrogate pair")
        return chr(unit).encode("utf-8", "surrogatepass")

    def unit(self):
        """Section 3.3, rule 2. Four hexadecimal digits."""
        digits = self.data[self.at:self.at + 4]
        if len(digits) != 4:
            raise ValueError("an escape cut short")
        value = 0
        for digit in digits:
            if 0x30 <= digit <= 0x39:
                digit -= 0x30
            elif 0x41 <= digit <= 0x46:
                digit -= 0x41 - 10
            elif 0x61 <= digit <= 0x66:
                digit -= 0x61 - 10
            else:
                raise ValueError("no hexadecimal digit")
            value = value * 16 + digit
        self.at += 4
        return value
