/* The tokens of JSON (RFC 8259) that the header of a safetensors file has: section 3.3.
 *
 * The whole text has been checked to be UTF-8 before. */
#include "unweight.h"

status json_error(const struct scanner *scanner, const char *expected)
{
    if (scanner->at >= scanner->length)
        return reject("source-header", "found the end of the JSON, expected %s", expected);
    return reject("source-header", "byte %llu of the JSON: found 0x%02X, expected %s",
                  (unsigned long long)scanner->at, scanner->json[scanner->at], expected);
}

bool json_next_is(struct scanner *scanner, char character)
{
    return scanner->at < scanner->length &&
           scanner->json[scanner->at] == (uint8_t)character;
}

void json_space(struct scanner *scanner)
{
    while (json_next_is(scanner, ' ') || json_next_is(scanner, '\t') ||
           json_next_is(scanner, '\n') || json_next_is(scanner, '\r'))
        scanner->at++;
}

status json_expect(struct scanner *scanner, char character)
{
    char expected[4] = {'\'', character, '\'', '\0'};
    if (!json_next_is(scanner, character))
        return json_error(scanner, expected);
    scanner->at++;
    return ACCEPTED;
}

/* Four hexadecimal digits. */
static status hex4(struct scanner *scanner, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit;
        if (scanner->at >= scanner->length)
            return json_error(scanner, "a hexadecimal digit");
        uint8_t c = scanner->json[scanner->at];
        if (c >= '0' && c <= '9')
            digit = (uint32_t)c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)c - 'A' + 10;
        else
            return json_error(scanner, "a hexadecimal digit");
        *value = *value << 4 | digit;
        scanner->at++;
    }
    return ACCEPTED;
}

static void put_text(struct scanner *scanner, uint32_t byte)
{
    scanner->text[scanner->text_length] = (uint8_t)byte;
    scanner->text_length++;
}

/* UTF-8 of a character takes no more bytes than its escape, so the text has space for it. */
static void put_character(struct scanner *scanner, uint32_t c)
{
    if (c < 0x80) {
        put_text(scanner, c);
    } else if (c < 0x800) {
        put_text(scanner, 0xC0 | c >> 6);
        put_text(scanner, 0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        put_text(scanner, 0xE0 | c >> 12);
        put_text(scanner, 0x80 | (c >> 6 & 0x3F));
        put_text(scanner, 0x80 | (c & 0x3F));
    } else {
        put_text(scanner, 0xF0 | c >> 18);
        put_text(scanner, 0x80 | (c >> 12 & 0x3F));
        put_text(scanner, 0x80 | (c >> 6 & 0x3F));
        put_text(scanner, 0x80 | (c & 0x3F));
    }
}

/* What follows \u: a character, or the first half of a pair with the second behind it. */
static status unicode_escape(struct scanner *scanner)
{
    uint32_t first, second;
    TRY(hex4(scanner, &first));
    if (first >= 0xDC00 && first <= 0xDFFF)
        return json_error(scanner, "the first half of a surrogate pair before its second");
    if (first >= 0xD800 && first <= 0xDBFF) {
        TRY(json_expect(scanner, '\\'));
        TRY(json_expect(scanner, 'u'));
        TRY(hex4(scanner, &second));
        if (second < 0xDC00 || second > 0xDFFF)
            return json_error(scanner, "the second half of a surrogate pair");
        first = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    }
    put_character(scanner, first);
    return ACCEPTED;
}

static status escape(struct scanner *scanner)
{
    static const char names[] = "\"\\/bfnrt";
    static const char characters[] = "\"\\/\b\f\n\r\t";
    if (json_next_is(scanner, 'u')) {
        scanner->at++;
        return unicode_escape(scanner);
    }
    for (size_t i = 0; i < sizeof names - 1; i++) {
        if (!json_next_is(scanner, names[i]))
            continue;
        put_text(scanner, (uint8_t)characters[i]);
        scanner->at++;
        return ACCEPTED;
    }
    return json_error(scanner, "an escape");
}

status json_string(struct scanner *scanner, struct name *string)
{
    size_t begin = scanner->text_length;
    TRY(json_expect(scanner, '"'));
    while (!json_next_is(scanner, '"')) {
        if (scanner->at >= scanner->length || scanner->json[scanner->at] < 0x20)
            return json_error(scanner, "a character of a string");
        uint8_t c = scanner->json[scanner->at];
        scanner->at++;
        if (c == '\\')
            TRY(escape(scanner));
        else
            put_text(scanner, c);
    }
    scanner->at++;
    string->bytes = scanner->text + begin;
    string->length = scanner->text_length - begin;
    return ACCEPTED;
}

static bool at_digit(const struct scanner *scanner)
{
    return scanner->at < scanner->length && scanner->json[scanner->at] >= '0' &&
           scanner->json[scanner->at] <= '9';
}

/* Digits alone. What may follow a number, the caller checks: a fraction or an exponent fails
 * there. */
status json_integer(struct scanner *scanner, uint64_t *value)
{
    *value = 0;
    if (!at_digit(scanner))
        return json_error(scanner, "a digit");
    if (json_next_is(scanner, '0')) {
        scanner->at++;
        if (at_digit(scanner))
            return json_error(scanner, "no digit after a leading 0");
        return ACCEPTED;
    }
    while (at_digit(scanner)) {
        uint64_t digit = (uint64_t)scanner->json[scanner->at] - '0';
        if (*value > (UINT64_MAX - digit) / 10)
            return json_error(scanner, "an integer below 2^64");
        *value = *value * 10 + digit;
        scanner->at++;
    }
    return ACCEPTED;
}

status json_null(struct scanner *scanner)
{
    for (const char *c = "null"; *c != '\0'; c++)
        TRY(json_expect(scanner, *c));
    return ACCEPTED;
}
