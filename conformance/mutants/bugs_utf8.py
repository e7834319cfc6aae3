"""Bugs of decoders: UTF-8, byte by byte (sections 3.2 and 3.3)."""
from planted import READER, Bugs

text = Bugs("decode", READER)
ALL = [text]

text("utf-8-of-c0-and-c1", "elif 0xC2 <= first <= 0xDF:", "elif 0xC0 <= first <= 0xDF:",
    "name-with-an-overlong-zero")
text("utf-8-of-c1", "elif 0xC2 <= first <= 0xDF:", "elif 0xC1 <= first <= 0xDF:",
    "name-with-an-overlong-byte-of-c1")
text("utf-8-without-df", "elif 0xC2 <= first <= 0xDF:", "elif 0xC2 <= first < 0xDF:",
    "names-of-every-utf-8-length")
text("utf-8-without-c2", "elif 0xC2 <= first <= 0xDF:", "elif 0xC2 < first <= 0xDF:",
    "names-of-every-utf-8-length")
text("utf-8-overlong-of-3-bytes", "            if first == 0xE0:\n                least = 0xA0\n", "",
    "name-with-an-overlong-zero-of-3-bytes",
    "name-with-an-overlong-sequence-of-e0-9f")
text("utf-8-surrogates", "            if first == 0xED:\n                most = 0x9F\n", "",
    "name-with-a-surrogate")
text("utf-8-high-surrogates", "                most = 0x9F\n", "                most = 0xAF\n",
    "name-with-a-surrogate")
text("utf-8-low-surrogates", "            if first == 0xED:\n                most = 0x9F\n",
     "            if first == 0xED and i + 1 < len(data) and data[i + 1] < 0xB0:\n                most = 0x9F\n",
    "name-with-a-first-low-surrogate",
    "name-with-a-last-low-surrogate")
text("utf-8-without-u-d7ff", "                most = 0x9F\n", "                most = 0x9E\n",
    "names-of-every-utf-8-length")
text("utf-8-without-u-e000", "elif 0xE0 <= first <= 0xEF:", "elif 0xE0 <= first <= 0xEF and first != 0xEE:",
    "names-of-every-utf-8-length")
text("utf-8-overlong-of-4-bytes", "            if first == 0xF0:\n                least = 0x90\n", "",
    "name-with-an-overlong-zero-of-4-bytes",
    "name-with-an-overlong-sequence-of-f0-8f")
text("utf-8-above-10ffff", "            if first == 0xF4:\n                most = 0x8F\n", "",
    "name-with-a-code-point-above-10ffff")
text("utf-8-of-f5", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF5:",
    "name-with-a-sequence-of-f5")
text("utf-8-of-f5-to-f7", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF7:",
    "name-with-a-sequence-of-f5",
    "name-with-a-sequence-of-f6")
text("utf-8-of-f6", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF4 or first == 0xF6:",
    "name-with-a-sequence-of-f6")
text("utf-8-of-3-bytes-from-c0", "elif 0xE0 <= first <= 0xEF:", "elif 0xC0 <= first <= 0xEF:",
    "name-with-three-bytes-that-begin-with-c0",
    "json-with-three-bytes-that-begin-with-c1")
text("utf-8-of-3-bytes-from-80", "elif 0xE0 <= first <= 0xEF:", "elif 0x80 <= first <= 0xEF:",
    "name-with-three-continuation-bytes",
    "json-with-three-continuation-bytes")
text("utf-8-of-4-bytes-from-80", "elif 0xF0 <= first <= 0xF4:", "elif first <= 0xF4:",
    "name-with-four-continuation-bytes",
    "json-with-four-continuation-bytes")
text("utf-8-of-f8-and-more", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF4 or first >= 0xF8:",
    "name-with-four-bytes-that-begin-with-f8",
    "json-with-four-bytes-that-begin-with-ff")
text("utf-8-of-ff", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF4 or first == 0xFF:",
    "name-with-four-bytes-that-begin-with-ff")
text("utf-8-with-a-second-byte-of-7f", "more, least, most = 1, 0x80, 0xBF", "more, least, most = 1, 0x7F, 0xBF",
    "name-with-a-second-byte-of-7f",
    "json-with-a-second-byte-of-7f")
text("utf-8-with-a-second-byte-of-c0", "more, least, most = 1, 0x80, 0xBF", "more, least, most = 1, 0x80, 0xC0",
    "name-with-a-second-byte-of-c0",
    "json-with-a-second-byte-of-c0")
text("utf-8-with-a-second-byte-of-7f-of-four", "more, least, most = 3, 0x80, 0xBF", "more, least, most = 3, 0x7F, 0xBF",
    "name-with-a-second-byte-of-7f-of-four")
text("utf-8-with-a-third-byte-of-7f", "if more > 1 and not 0x80 <=", "if more > 1 and not 0x7F <=",
    "name-with-a-third-byte-of-7f",
    "json-with-a-third-byte-of-7f")
text("utf-8-with-a-fourth-byte-of-7f", "if more > 2 and not 0x80 <=", "if more > 2 and not 0x7F <=",
    "name-with-a-fourth-byte-of-7f")
text("utf-8-up-to-f3", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF3:",
    "names-of-every-utf-8-length")
text("utf-8-up-to-3-bytes", "elif 0xF0 <= first <= 0xF4:", "elif False:",
    "names-sort-as-unsigned-bytes",
    "names-of-every-utf-8-length")
text("utf-8-of-lone-continuation-bytes", "        if first < 0x80:\n", "        if first < 0xC0:\n",
    "name-with-a-continuation-byte-alone")
text("utf-8-without-del", "        if first < 0x80:\n", "        if first < 0x7F:\n",
    "names-of-every-utf-8-length")
text("utf-8-that-ends-early", "        if i + more >= len(data):\n            return False\n", "        if i + more >= len(data):\n            return True\n",
    "name-with-a-cut-sequence-at-the-end")
text("utf-8-without-the-last-byte", "        if i + more >= len(data):\n", "        if i + more + 1 >= len(data) and more:\n",
    "names-that-differ-in-unicode-normal-form",
    "names-sort-as-unsigned-bytes")
text("utf-8-with-any-second-byte", "        if more and not least <= data[i + 1] <= most:\n            return False\n", "",
    "name-with-a-code-point-above-10ffff",
    "name-with-a-surrogate")
text("utf-8-with-a-second-byte-of-bit-7", "        if more and not least <= data[i + 1] <= most:\n", "        if more and (data[i + 1] < least or more == 1 and data[i + 1] < 0x80):\n",
    "name-with-a-code-point-above-10ffff",
    "name-with-a-surrogate")
text("utf-8-with-any-third-byte", "        if more > 1 and not 0x80 <= data[i + 2] <= 0xBF:\n            return False\n", "",
    "name-with-an-ascii-third-byte",
    "name-with-a-third-byte-of-c0")
text("utf-8-with-a-third-byte-of-bit-7", "        if more > 1 and not 0x80 <= data[i + 2] <= 0xBF:\n", "        if more > 1 and not 0x80 <= data[i + 2]:\n",
    "name-with-a-third-byte-of-c0")
text("utf-8-with-any-fourth-byte", "        if more > 2 and not 0x80 <= data[i + 3] <= 0xBF:\n            return False\n", "",
    "name-with-an-ascii-fourth-byte",
    "name-with-a-fourth-byte-of-c0")
text("utf-8-with-a-fourth-byte-of-bit-7", "        if more > 2 and not 0x80 <= data[i + 3] <= 0xBF:\n", "        if more > 2 and not 0x80 <= data[i + 3]:\n",
    "name-with-a-fourth-byte-of-c0")
text("json-in-any-bytes", "    if not is_utf8(data):\n", "    if False:\n",
    "json-with-a-byte-of-latin-1",
    "json-with-a-surrogate-in-utf-8")
text("json-in-ascii", "    if not is_utf8(data):\n", "    if max(data) > 127:\n",
    "json-with-metadata",
    "source-amid-white-space-and-coded-tensors")
