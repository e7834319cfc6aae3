"""Bugs of decoders: JSON, byte by byte (section 3.3)."""
from planted import READER, Bugs

text = Bugs("decode", READER)
ALL = [text]

text("json-with-vertical-tabs", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0B, 0x0D):\n",
    "json-with-a-vertical-tab-between-tokens",
    "json-before-a-vertical-tab")
text("json-with-form-feeds", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0C, 0x0D):\n",
    "json-with-a-form-feed-between-tokens",
    "json-before-a-form-feed")
text("json-with-any-control-as-white-space", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while 0 <= self.byte() <= 0x20:\n",
    "json-before-a-form-feed",
    "json-before-a-zero-byte")
text("json-without-tabs", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x0A, 0x0D):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-without-carriage-returns", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-without-line-feeds", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0D):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-with-one-space-at-most", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        if self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n",
    "json-of-tensors-without-dimensions",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-with-two-values", "    if reader.at != len(data):\n", "    if False:\n",
    "json-before-a-second-object",
    "json-before-a-zero-byte")
text("json-without-white-space-behind", "    reader.space()\n    if reader.at", "    if reader.at",
    "json-of-tensors-without-dimensions",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-words-in-any-case", "            if self.data[self.at:self.at + len(word)] == word:\n", "            if self.data[self.at:self.at + len(word)].lower() == word:\n",
    "json-with-metadata-as-null-in-upper-case",
    "json-with-metadata-as-null-capitalized")
text("json-nested-two-deep", '        """Section 3.3, rule 2. The items of an array."""\n        if depth > 2:\n', '        """Section 3.3, rule 2. The items of an array."""\n        if depth > 1:\n',
    "json-of-tensors-without-dimensions",
    "json-with-the-greatest-integers")
OBJECT = '        members = JsonObject()\n        self.space()\n        if self.byte() == ord("}"):\n'
text("json-without-empty-objects", OBJECT, OBJECT.replace('self.byte() == ord("}")', "False"),
    "json-with-empty-metadata-at-the-end",
    "shortest-safetensors-source")
text("json-without-space-in-empty-objects", OBJECT, OBJECT.replace("        self.space()\n", ""),
    "json-with-white-space-in-empty-arrays-and-objects")
COMMA = '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n            self.take(ord(","))\n'
text("json-with-a-trailing-comma-in-objects", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma")
text("json-with-a-trailing-comma-in-the-outermost-object", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}") and depth == 0:\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma")
text("json-with-a-trailing-comma-in-inner-objects", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}") and depth == 1:\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma-in-a-member",
    "json-with-a-trailing-comma-in-metadata")
text("json-without-commas-in-objects", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if self.byte() == ord(","):\n                self.at += 1\n'),
    "json-without-a-comma-between-members",
    "json-without-a-comma-between-tensors")
text("json-without-commas-in-the-outermost-object", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if depth or self.byte() == ord(","):\n                self.take(ord(","))\n'),
    "json-without-a-comma-between-tensors")
text("json-with-two-commas-in-objects", COMMA, COMMA + '            while self.byte() == ord(","):\n                self.at += 1\n',
    "json-with-two-commas-between-tensors")
text("json-with-a-comma-first-in-objects", '        self.take(ord("{"))\n', '        self.take(ord("{"))\n        if self.byte() == ord(","):\n            self.at += 1\n',
    "json-with-a-comma-alone-in-metadata",
    "json-with-a-comma-before-the-first-tensor")
text("json-with-semicolons", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if self.byte() == ord(";"):\n                self.at += 1\n            else:\n                self.take(ord(","))\n'),
    "json-with-a-semicolon-between-tensors")
text("json-without-colons", '            self.take(ord(":"))\n', '            self.space()\n            if self.byte() == ord(":"):\n                self.at += 1\n',
    "json-without-a-colon")
text("json-with-equals-signs", '            self.take(ord(":"))\n', '            self.space()\n            if self.byte() in (ord(":"), ord("=")):\n                self.at += 1\n',
    "json-with-an-equals-sign")
text("json-with-two-colons", '            self.take(ord(":"))\n', '            self.take(ord(":"))\n            if self.byte() == ord(":"):\n                self.at += 1\n',
    "json-with-two-colons")
text("json-without-space-before-colons", '            self.take(ord(":"))\n', '            if self.byte() != ord(":"):\n                raise ValueError("space")\n            self.at += 1\n',
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-of-objects-without-an-end", '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == ord("}"):\n',
     '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == -1:\n                return members\n            if self.byte() == ord("}"):\n',
    "json-without-its-end")
text("json-of-objects-that-end-with-brackets", '            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n            self.take(ord(","))\n',
     '            self.space()\n            if self.byte() in (ord("}"), ord("]")):\n                self.at += 1\n                return members\n            self.take(ord(","))\n',
    "json-with-a-bracket-for-the-last-brace")
ITEM = '            items.append(self.value(depth + 1))\n            self.space()\n            if self.byte() == ord("]"):\n                self.at += 1\n                return items\n            self.take(ord(","))\n'
text("json-without-space-in-empty-arrays", '        items = []\n        self.space()\n', '        items = []\n',
    "json-with-white-space-in-empty-arrays-and-objects")
text("json-without-empty-arrays", '        items = []\n        self.space()\n        if self.byte() == ord("]"):\n', '        items = []\n        self.space()\n        if False:\n',
    "safetensors-source",
    "json-of-tensors-without-dimensions")
text("json-with-a-trailing-comma-in-arrays", ITEM, ITEM + '            self.space()\n            if self.byte() == ord("]"):\n                self.at += 1\n                return items\n',
    "json-with-a-trailing-comma-in-an-array")
text("json-without-commas-in-arrays", ITEM, ITEM.replace('            self.take(ord(","))\n', '            if self.byte() == ord(","):\n                self.at += 1\n'),
    "json-without-a-comma-between-offsets")
text("json-with-two-commas-in-arrays", ITEM, ITEM + '            self.space()\n            while self.byte() == ord(","):\n                self.at += 1\n',
    "json-with-two-commas-between-offsets")
text("json-with-a-comma-first-in-arrays", '        self.take(ord("["))\n', '        self.take(ord("["))\n        if self.byte() == ord(","):\n            self.at += 1\n',
    "json-with-a-comma-before-the-first-offset")
text("json-of-arrays-that-end-with-braces", ITEM, ITEM.replace('self.byte() == ord("]")', 'self.byte() in (ord("]"), ord("}"))'),
    "json-with-a-brace-for-a-bracket")
text("json-numbers-of-no-digits", "        if digits == 0:\n", "        if False:\n",
    "json-with-a-dimension-of-no-digits-behind-a-number",
    "json-with-a-dimension-of-no-digits-before-a-number",
    "json-with-a-comma-for-the-first-offset")
text("json-without-space-behind-values-in-metadata",
    "            members.append((name, self.value(depth + 1)))\n            self.space()\n",
    "            members.append((name, self.value(depth + 1)))\n"
    '            if depth != 1 or name in ("dtype", "shape", "data_offsets"):\n                self.space()\n',
    "json-with-white-space-in-metadata")
text("json-numbers-with-leading-zeros", '        if self.data[begin] == 0x30 and digits > 1:\n', "        if False:\n",
    "json-with-a-dimension-of-a-leading-zero")
text("json-zeros-alone-lead", '        if self.data[begin] == 0x30 and digits > 1:\n', '        if self.data[begin] == 0x30 and self.data[begin:self.at].strip(b"0"):\n',
    "json-with-a-dimension-of-two-zeros",
    "json-with-a-dimension-of-three-zeros")
text("json-numbers-with-plus-signs", "        begin = self.at\n        value = 0\n", '        if self.byte() == ord("+"):\n            self.at += 1\n        begin = self.at\n        value = 0\n',
    "json-with-a-dimension-of-a-plus-sign")
text("json-numbers-with-minus-signs", "        begin = self.at\n        value = 0\n", '        if self.byte() == ord("-"):\n            self.at += 1\n        begin = self.at\n        value = 0\n',
    "json-with-an-offset-of-minus-0")
text("json-numbers-with-a-fraction-dropped", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        if self.byte() == ord("."):\n            self.at += 1\n            while 0x30 <= self.byte() <= 0x39:\n                self.at += 1\n',
    "json-with-an-offset-of-0-with-a-fraction",
    "json-with-a-dimension-of-a-fraction-of-0")
text("json-numbers-with-an-exponent-dropped", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        if self.byte() in b"eE":\n            self.at += 1\n            while 0x30 <= self.byte() <= 0x39:\n                self.at += 1\n',
    "json-with-a-dimension-of-an-upper-case-exponent",
    "json-with-a-dimension-of-an-exponent-of-0")
text("json-numbers-up-to-a-letter", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        while 0x41 <= self.byte() <= 0x7A and self.byte() not in (0x5B, 0x5D):\n            self.at += 1\n',
    "json-with-a-dimension-of-digits-and-a-letter")
text("json-numbers-wrap", "            if value >= 2**64:\n                raise ValueError(\"2^64 or more\")\n", "            value %= 2**64\n",
    "json-with-an-offset-of-2-to-the-64-more",
    "json-with-a-dimension-of-2-to-the-64-more")
text("json-numbers-of-19-digits", "            if value >= 2**64:\n", "            if value >= 10**19:\n",
    "json-with-the-greatest-integers")
text("json-numbers-of-20-digits", "            if value >= 2**64:\n                raise ValueError(\"2^64 or more\")\n",
     "            if self.at - begin >= 20:\n                raise ValueError(\"2^64 or more\")\n            value %= 2**64\n",
    "json-with-an-offset-of-2-to-the-64-more",
    "json-with-a-dimension-of-2-to-the-64-more")
text("json-numbers-below-2-to-the-64-minus-1", "            if value >= 2**64:\n", "            if value >= 2**64 - 1:\n",
    "json-with-the-greatest-integers")
CONTROL = "            if byte < 0x20:\n                raise ValueError(\"a control character, or no end\")\n"
for _byte, _name in ((0x00, "nul"), (0x01, "byte-01"), (0x08, "backspaces"), (0x09, "tabs"), (0x0A, "line-feeds"), (0x0B, "vertical-tabs"), (0x0C, "form-feeds"),
                     (0x0D, "carriage-returns"), (0x1B, "escapes"), (0x1F, "byte-1f")):
    text(f"json-strings-with-{_name}", CONTROL, CONTROL.replace("byte < 0x20", f"byte < 0x20 and byte != {_byte}"),
         f"json-with-the-byte-{_byte:02x}-in-a-string" if _byte else "json-with-a-zero-byte-in-a-string")
text("json-strings-with-any-control-character", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0"),
    "json-with-a-line-feed-in-a-string",
    "json-with-a-zero-byte-in-a-string")
text("json-strings-without-bytes-above-127", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0x20 or byte > 127"),
    "json-with-metadata",
    "source-amid-white-space-and-coded-tensors")
text("json-strings-without-del", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0x20 or byte == 127"),
    "json-with-escapes-at-their-edges")
text("json-strings-without-spaces", CONTROL, CONTROL.replace("byte < 0x20", "byte <= 0x20"),
    "json-with-every-escape")
text("json-strings-end-at-a-single-quote", "        if self.byte() != ord('\"'):\n", "        if self.byte() not in b'\"\\'':\n",
    "json-with-escapes-at-their-edges",
     also=[("        while self.byte() != ord('\"'):\n", "        while self.byte() not in (34, 39):\n")])
text("json-strings-end-at-escaped-quotes", '            if byte != ord("\\\\"):\n', '            if byte != ord("\\\\") or self.byte() == ord(\'"\'):\n',
    "json-with-every-escape")
text("json-strings-end-at-a-nul", '        return text.decode("utf-8", "replace")\n', '        return text.split(b"\\0")[0].decode("utf-8", "replace")\n',
    "source-with-a-longer-name",
    "json-with-every-escape")
text("json-strings-of-255-bytes", '        return text.decode("utf-8", "replace")\n', '        return text[:255].decode("utf-8", "replace")\n',
    "json-with-a-name-of-65532-bytes")
text("json-strings-of-1023-bytes", '        return text.decode("utf-8", "replace")\n', '        return text[:1023].decode("utf-8", "replace")\n',
    "json-with-a-name-of-65532-bytes")
SHORT = '        short = {0x22: b\'"\', 0x5C: b"\\\\", 0x2F: b"/", 0x62: b"\\b", 0x66: b"\\f", 0x6E: b"\\n", 0x72: b"\\r", 0x74: b"\\t"}\n'
for _letter, _name in (('"', "quotes"), ("\\", "backslashes"), ("/", "slashes"), ("b", "backspaces"), ("f", "form-feeds"), ("n", "line-feeds"),
                       ("r", "carriage-returns"), ("t", "tabs")):
    text(f"json-without-escaped-{_name}", SHORT, SHORT + f"        short.pop({ord(_letter)})\n",
         "json-with-every-escape")
text("json-with-escaped-single-quotes", SHORT, SHORT + "        short[0x27] = b\"'\"\n",
    "json-with-an-escaped-single-quote")
text("json-with-escaped-vertical-tabs", SHORT, SHORT + "        short[0x76] = b\"\\v\"\n",
    "json-with-an-escaped-vertical-tab")
text("json-with-escaped-nul", SHORT, SHORT + "        short[0x30] = b\"\\0\"\n",
    "json-with-an-escaped-nul-of-c")
text("json-with-escaped-zero-bytes", SHORT, SHORT + "        short[0] = b\"\\0\"\n",
    "json-with-an-escaped-zero-byte")
text("json-with-escaped-bells", SHORT, SHORT + "        short[0x61] = b\"\\a\"\n",
    "json-with-an-escaped-bell")
text("json-with-escaped-line-ends", SHORT, SHORT + "        short[0x0A] = b\"\"\n",
    "json-with-an-escaped-line-end")
text("json-with-escapes-in-upper-case", SHORT, SHORT + "        short.update({code - 32: text for code, text in list(short.items()) if code > 96})\n",
    "json-with-an-escape-of-n-in-upper-case")
text("json-with-any-escape", '            raise ValueError("an unknown escape")\n', "            return bytes([byte])\n",
    "json-with-an-unknown-escape")
text("json-with-escapes-by-u-in-upper-case", '        if byte != ord("u"):\n', '        if byte not in b"uU":\n',
    "json-with-an-escape-of-u-in-upper-case")
text("json-with-escapes-by-x", '        if byte != ord("u"):\n',
     '        if byte == ord("x"):\n            self.at += 2\n            return bytes([int(self.data[self.at - 2:self.at], 16)])\n        if byte != ord("u"):\n',
    "json-with-an-unknown-escape")
text("json-escapes-of-slashes-stay", SHORT, SHORT.replace('0x2F: b"/"', '0x2F: b"\\\\/"'),
    "json-with-every-escape")
text("json-escapes-of-form-feeds-and-backspaces-exchanged", SHORT, SHORT.replace('0x62: b"\\b", 0x66: b"\\f"', '0x62: b"\\f", 0x66: b"\\b"'),
    "json-with-every-escape")
HIGH = "        if 0xD800 <= unit <= 0xDBFF:\n"
LOW = "        elif 0xDC00 <= unit <= 0xDFFF:\n"
text("json-surrogates-up-to-dbfe", HIGH, "        if 0xD800 <= unit <= 0xDBFE:\n",
    "json-with-escapes-at-their-edges", also=[(LOW, "        elif 0xDBFF <= unit <= 0xDFFF:\n")])
text("json-surrogates-from-d801-on", HIGH, "        if 0xD800 < unit <= 0xDBFF:\n",
    "json-with-escapes-at-their-edges", also=[(LOW, "        elif 0xDC00 <= unit <= 0xDFFF or unit == 0xD800:\n")])
text("json-low-surrogates-from-dc01-on", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 < low <= 0xDFFF:\n",
    "json-with-escapes-at-their-edges")
text("json-low-surrogates-up-to-dffe", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 <= low < 0xDFFF:\n",
    "json-with-escapes-at-their-edges")
text("json-low-surrogates-up-to-e000", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 <= low <= 0xE000:\n",
    "json-with-d800-before-e000")
text("json-low-surrogates-from-dbff-on", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDBFF <= low <= 0xDFFF:\n",
    "json-with-d800-before-dbff")
text("json-pairs-with-any-unit", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if False:\n",
    "json-with-a-high-surrogate-before-another-escape", also=[("            unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)\n", "            unit = 0x10000 + (unit - 0xD800 << 10) + (low & 0x3FF)\n")])
text("json-lone-high-surrogates", '            if self.data[self.at:self.at + 2] != b"\\\\u":\n                raise ValueError("half a surrogate pair")\n',
     '            if self.data[self.at:self.at + 2] != b"\\\\u":\n                return b"?"\n',
    "json-with-a-high-surrogate-before-a-letter",
    "json-with-a-high-surrogate-alone-in-metadata")
text("json-lone-low-surrogates", LOW, LOW + '            return b"?"\n',
    "json-with-a-low-surrogate-alone-in-metadata",
    "json-with-a-surrogate-alone-in-a-metadata-name")
text("json-lone-low-surrogates-of-dfff", LOW, "        elif 0xDC00 <= unit < 0xDFFF:\n",
    "json-with-a-surrogate-alone-in-a-metadata-name", also=[('        return chr(unit).encode("utf-8", "surrogatepass")\n', '        return chr(unit).encode("utf-8", "replace")\n')])
text("json-lone-low-surrogates-of-dc00", LOW, "        elif 0xDC00 < unit <= 0xDFFF:\n",
    "json-with-dc00-alone", also=[('        return chr(unit).encode("utf-8", "surrogatepass")\n', '        return chr(unit).encode("utf-8", "replace")\n')])
text("json-without-u-d7ff", HIGH, "        if 0xD7FF <= unit <= 0xDBFF:\n",
    "json-with-escapes-at-their-edges")
text("json-without-u-e000", LOW, "        elif 0xDC00 <= unit <= 0xE000:\n",
    "json-with-escapes-at-their-edges")
text("json-pairs-10000-too-low", "            unit = 0x10000 + (unit", "            unit = (unit",
    "json-with-every-escape")
text("json-pairs-as-two-characters", "            unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)\n",
     '            return (chr(unit) + chr(low)).encode("utf-8", "surrogatepass")\n',
    "json-with-every-escape")
text("json-hexadecimal-up-to-g", "            elif 0x41 <= digit <= 0x46:\n", "            elif 0x41 <= digit <= 0x47:\n",
    "json-with-a-g-in-an-escape",
    "json-with-a-last-g-in-an-escape")
text("json-hexadecimal-up-to-small-g", "            elif 0x61 <= digit <= 0x66:\n", "            elif 0x61 <= digit <= 0x67:\n",
    "json-with-a-small-g-in-an-escape")
text("json-hexadecimal-in-capitals", "            elif 0x61 <= digit <= 0x66:\n", "            elif False:\n",
    "json-with-metadata-as-null-by-an-escaped-name",
    "json-with-escaped-names")
text("json-hexadecimal-in-small-letters", "            elif 0x41 <= digit <= 0x46:\n", "            elif False:\n",
    "json-with-metadata-as-null-by-an-escaped-name",
    "json-with-escaped-names")
text("json-hexadecimal-of-any-bytes", '                raise ValueError("no hexadecimal digit")\n', "                digit &= 15\n",
    "json-with-a-sign-in-an-escape")
text("json-hexadecimal-with-colons", "            if 0x30 <= digit <= 0x39:\n", "            if 0x30 <= digit <= 0x3A:\n",
    "json-with-a-colon-in-an-escape")
text("json-hexadecimal-with-at-signs", "            elif 0x41 <= digit <= 0x46:\n", "            elif 0x40 <= digit <= 0x46:\n",
    "json-with-an-at-sign-in-an-escape")
text("json-hexadecimal-with-graves", "            elif 0x61 <= digit <= 0x66:\n", "            elif 0x60 <= digit <= 0x66:\n",
    "json-with-a-grave-in-an-escape")
text("json-hexadecimal-with-spaces", '            if 0x30 <= digit <= 0x39:\n', '            if digit == 0x20:\n                continue\n            if 0x30 <= digit <= 0x39:\n',
    "json-with-a-space-in-an-escape",
    "json-with-a-space-at-the-end-of-an-escape")
text("json-hexadecimal-of-up-to-4-digits", '            else:\n                raise ValueError("no hexadecimal digit")\n',
     '            else:\n                self.at -= 4 - digits.index(digit)\n                break\n',
    "json-with-an-escape-cut-short",
    "json-with-a-sign-in-an-escape")

# Escapes in UTF-8.
ENCODED = '        return chr(unit).encode("utf-8", "surrogatepass")\n'
THREE = "        if {}:\n            return bytes((0xE0 | unit >> 12, 0x80 | unit >> 6 & 63, 0x80 | unit & 63))\n"
text.several("json-escapes-in-{}", ENCODED, [
    ("3-bytes-from-80", THREE.format("0x80 <= unit < 0x10000") + ENCODED, "json-with-escapes-on-the-borders-of-utf-8"),
    ("3-bytes-from-7ff", THREE.format("0x7FF <= unit < 0x10000") + ENCODED, "json-with-escapes-on-the-borders-of-utf-8"),
    ("1-byte-up-to-80", "        if unit == 0x80:\n            return b\"\\x80\"\n" + ENCODED,
     "json-with-escapes-on-the-borders-of-utf-8"),
])
text("json-escapes-without-a-capital-a", "            elif 0x41 <= digit <= 0x46:\n", "            elif 0x41 < digit <= 0x46:\n",
    "json-with-escapes-on-the-borders-of-utf-8")
text("json-strings-of-65535-bytes", '        return text.decode("utf-8", "replace")\n',
    '        return text[:65535].decode("utf-8", "replace")\n',
    "json-with-metadata-names-that-differ-behind-65535-bytes")
