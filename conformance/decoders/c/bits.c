/* Section 2: little-endian numbers, bit strings, alignment; UTF-8 and the order of names (3.2);
 * PEXT and PDEP (4.2). */
#include "unweight.h"

#include <string.h>

uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
}

uint64_t get64(const uint8_t *bytes)
{
    return (uint64_t)get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

void put16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value & 0xFF);
    bytes[1] = (uint8_t)(value >> 8);
}

void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, (uint16_t)(value & 0xFFFF));
    put16(bytes + 2, (uint16_t)(value >> 16));
}

void put64(uint8_t *bytes, uint64_t value)
{
    put32(bytes, (uint32_t)(value & 0xFFFFFFFF));
    put32(bytes + 4, (uint32_t)(value >> 32));
}

/* Returns bits first..first+count of a bit string, at most 64. Reads no byte without one of them. */
uint64_t get_bits(const uint8_t *string, uint64_t first, unsigned count)
{
    uint64_t value = 0;
    unsigned have = 0;
    while (have < count) {
        unsigned offset = (unsigned)((first + have) % 8);
        uint64_t byte = string[(first + have) / 8];
        unsigned take = 8 - offset;
        if (take > count - have)
            take = count - have;
        value |= ((byte >> offset) & ((1u << take) - 1)) << have;
        have += take;
    }
    return value;
}

/* Sets bits first..first+count of a bit string that were zero. */
void put_bits(uint8_t *zeroed, uint64_t first, unsigned count, uint64_t value)
{
    unsigned done = 0;
    while (done < count) {
        unsigned offset = (unsigned)((first + done) % 8);
        unsigned take = 8 - offset;
        if (take > count - done)
            take = count - done;
        unsigned part = (unsigned)(value >> done) & ((1u << take) - 1);
        zeroed[(first + done) / 8] |= (uint8_t)(part << offset);
        done += take;
    }
}

/* Whether the unused bits in the last byte of a string of so many bits are zero. */
bool padding_bits_are_zero(const uint8_t *string, uint64_t bits)
{
    if (bits % 8 == 0)
        return true;
    return string[bits / 8] >> (bits % 8) == 0;
}

bool all_zero(const uint8_t *bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* The caller sees to it that the result is below 2^64. */
uint64_t align(uint64_t x, uint64_t k)
{
    return (x + k - 1) / k * k;
}

uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static bool is_continuation(const uint8_t *bytes, size_t count, size_t at, uint8_t low, uint8_t high)
{
    return at < count && bytes[at] >= low && bytes[at] <= high;
}

/* RFC 3629, section 4: the second byte excludes overlong forms, surrogates and numbers above
 * 0x10FFFF. */
bool is_utf8(const uint8_t *bytes, size_t count)
{
    size_t at = 0;
    while (at < count) {
        uint8_t first = bytes[at];
        uint8_t low = 0x80, high = 0xBF;
        size_t more;
        if (first <= 0x7F)
            more = 0;
        else if (first >= 0xC2 && first <= 0xDF)
            more = 1;
        else if (first >= 0xE0 && first <= 0xEF)
            more = 2;
        else if (first >= 0xF0 && first <= 0xF4)
            more = 3;
        else
            return false;
        if (first == 0xE0)
            low = 0xA0;
        if (first == 0xED)
            high = 0x9F;
        if (first == 0xF0)
            low = 0x90;
        if (first == 0xF4)
            high = 0x8F;
        for (size_t i = 1; i <= more; i++) {
            if (!is_continuation(bytes, count, at + i, low, high))
                return false;
            low = 0x80;
            high = 0xBF;
        }
        at += 1 + more;
    }
    return true;
}

/* Below 0, 0 or above 0, as a is less than, equal to or greater than b. */
int compare_names(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length)
{
    size_t common = a_length < b_length ? a_length : b_length;
    int order = common == 0 ? 0 : memcmp(a, b, common);
    if (order != 0)
        return order;
    return (a_length > b_length) - (a_length < b_length);
}

uint64_t pext(uint64_t x, uint64_t mask)
{
    uint64_t r = 0;
    unsigned i = 0;
    for (unsigned b = 0; b < 64; b++) {
        if ((mask >> b & 1) == 0)
            continue;
        r |= (x >> b & 1) << i;
        i++;
    }
    return r;
}

uint64_t pdep(uint64_t r, uint64_t mask)
{
    uint64_t x = 0;
    unsigned i = 0;
    for (unsigned b = 0; b < 64; b++) {
        if ((mask >> b & 1) == 0)
            continue;
        x |= (r >> i & 1) << b;
        i++;
    }
    return x;
}
