/* Section 6: canonical codes, and the table that decodes them. */
#include "unweight.h"

/* The codes of a complete code, each read backwards: its first bit in the stream is bit 0. */
void canonical_codes(const uint8_t length[16], uint8_t reversed[16])
{
    unsigned code = 0, before = 0;
    bool first = true;
    for (unsigned bits = 0; bits <= 8; bits++) {
        for (unsigned j = 0; j < 16; j++) {
            if (length[j] != bits)
                continue;
            if (!first)
                code = (code + 1) << (bits - before);
            first = false;
            before = bits;
            unsigned r = 0;
            for (unsigned i = 0; i < bits; i++)
                r |= (code >> i & 1) << (bits - 1 - i);
            reversed[j] = (uint8_t)r;
        }
    }
}

/* Checks the code lengths, and makes the table Q. */
status make_table(const uint8_t length[16], unsigned entries, struct decode_table *table)
{
    unsigned sum = 0;
    for (unsigned j = 0; j < 16; j++) {
        if (length[j] > 8 && length[j] != NO_CODE)
            return reject("code-length", "entry %u: found %u, expected 0 to 8, or 15", j,
                          length[j]);
        if (j >= entries && length[j] != NO_CODE)
            return reject("code-length", "entry %u: found %u, expected 15 for an entry that the "
                          "palette does not have", j, length[j]);
        if (length[j] != NO_CODE)
            sum += 256u >> length[j];
    }
    if (sum > 256)
        return reject("code-oversubscribed", "found a sum of %u, expected 256", sum);
    if (sum < 256)
        return reject("code-incomplete", "found a sum of %u, expected 256", sum);

    uint8_t reversed[16] = {0};
    canonical_codes(length, reversed);
    for (unsigned j = 0; j < entries; j++) {
        if (length[j] == NO_CODE)
            continue;
        for (unsigned i = 0; i < 256u >> length[j]; i++) {
            unsigned bits = reversed[j] + (i << length[j]);
            table->entry[bits] = (uint8_t)j;
            table->length[bits] = length[j];
        }
    }
    return ACCEPTED;
}
