/* Section 5: records. The record's checksum has been checked (tensor.c). */
#include "unweight.h"

#include <string.h>

enum { FIXED_BYTES = 16, LANE_ENDS_BYTES = 2 * LANES, PATCH_BYTES = 3 };

/* 5.1, rules 2 and 3. */
static status check_head(const struct record *record)
{
    uint8_t kind = record->bytes[4];
    if (kind > RECORD_PALETTE)
        return reject("record-kind", "found kind %u, expected 0 to 2", kind);
    if (kind == RECORD_HUFFMAN && record->form != FORM_HUFFMAN)
        return reject("record-form", "found a huffman record of a palette field");
    if (kind == RECORD_PALETTE && record->form != FORM_PALETTE)
        return reject("record-form", "found a palette record of a huffman field");
    if (record->bytes[5] != 0)
        return reject("record-reserved", "found 0x%02X at 5, expected zero", record->bytes[5]);
    if (kind == RECORD_VERBATIM && get16(record->bytes + 6) != 0)
        return reject("record-reserved", "found %u patches in a verbatim record, expected none",
                      get16(record->bytes + 6));
    if (kind != RECORD_HUFFMAN && get64(record->bytes + 8) != 0)
        return reject("record-reserved", "found code lengths, expected none in kind %u", kind);
    return ACCEPTED;
}

/* 5.1, rule 4, and the padding bytes of rule 5; `end` is where the contents end. */
static status check_end(const struct record *record, size_t end)
{
    if (align(end, 16) != record->length)
        return reject("record-length", "found %llu bytes, expected %llu",
                      (unsigned long long)record->length, (unsigned long long)align(end, 16));
    if (!all_zero(record->bytes + end, record->length - end))
        return reject("record-padding", "found a padding byte that is not zero");
    return ACCEPTED;
}

/* 5.4 */
static status decode_verbatim(const struct record *record, uint8_t *values)
{
    const uint8_t *body = record->bytes + FIXED_BYTES;
    uint64_t bits = (uint64_t)record->weights * record->bits;
    TRY(check_end(record, FIXED_BYTES + (size_t)ceil_div(bits, 8)));
    if (!padding_bits_are_zero(body, bits))
        return reject("record-padding", "found a padding bit that is not zero");
    for (uint32_t i = 0; i < record->weights; i++)
        values[i] = (uint8_t)get_bits(body, (uint64_t)i * record->bits, record->bits);
    return ACCEPTED;
}

/* The 8 bits from bit `at` of a lane on; those past its end are taken to be 0. */
static unsigned next_bits(const uint8_t *lane, size_t bytes, size_t at)
{
    size_t i = at / 8;
    unsigned low = i < bytes ? lane[i] : 0u;
    unsigned high = i + 1 < bytes ? lane[i + 1] : 0u;
    return (low | high << 8) >> at % 8 & 0xFF;
}

/* Section 7, step 4 of a record, for one lane. The values of a whole last step are written. */
static status decode_lane(const struct record *record, const struct decode_table *table,
                          unsigned lane, const uint8_t *stream, size_t bytes, uint8_t *values)
{
    size_t steps = ceil_div(record->weights, STEP);
    size_t used = 0;
    for (size_t t = 0; t < steps; t++) {
        for (size_t i = 0; i < 8; i++) {
            unsigned bits = next_bits(stream, bytes, used);
            values[STEP * t + 8 * lane + i] = record->palette[table->entry[bits]];
            used += table->length[bits];
        }
    }
    if (used > 8 * bytes)
        return reject("lane-overrun", "lane %u: found codes of %llu bits, expected at most %llu",
                      lane, (unsigned long long)used, (unsigned long long)(8 * bytes));
    if (8 * bytes - used >= 8)
        return reject("lane-underrun", "lane %u: found codes of %llu bits, expected more than "
                      "%llu", lane, (unsigned long long)used, (unsigned long long)(8 * bytes - 8));
    if (!padding_bits_are_zero(stream, used))
        return reject("lane-padding", "lane %u: found a bit that is not zero after its codes",
                      lane);
    return ACCEPTED;
}

/* 5.2 */
static status decode_huffman(const struct record *record, uint8_t *values)
{
    uint8_t length[16];
    struct decode_table table;
    unsigned patches = get16(record->bytes + 6);
    for (unsigned j = 0; j < 16; j++)
        length[j] = record->bytes[8 + j / 2] >> 4 * (j % 2) & 0xF;
    TRY(make_table(length, palette_entries(record->bits), &table));

    if (record->length < FIXED_BYTES + LANE_ENDS_BYTES)
        return reject("record-length", "found %llu bytes, expected 80 or more",
                      (unsigned long long)record->length);
    const uint8_t *ends = record->bytes + FIXED_BYTES;
    const uint8_t *streams = ends + LANE_ENDS_BYTES;
    for (unsigned lane = 1; lane < LANES; lane++)
        if (get16(ends + 2 * lane) < get16(ends + 2 * (lane - 1)))
            return reject("lane-ends", "lane %u: found end %u, expected %u or more", lane,
                          get16(ends + 2 * lane), get16(ends + 2 * (lane - 1)));
    size_t end = (size_t)FIXED_BYTES + LANE_ENDS_BYTES + get16(ends + 2 * (LANES - 1));
    TRY(check_end(record, end + (size_t)PATCH_BYTES * patches));

    for (unsigned lane = 0; lane < LANES; lane++) {
        size_t from = lane == 0 ? 0 : get16(ends + 2 * (lane - 1));
        size_t to = get16(ends + 2 * lane);
        TRY(decode_lane(record, &table, lane, streams + from, to - from, values));
    }
    return ACCEPTED;
}

/* 5.3 */
static status decode_palette(const struct record *record, uint8_t *values)
{
    const uint8_t *body = record->bytes + FIXED_BYTES;
    size_t bytes = 128 * (size_t)ceil_div(record->weights, STEP);
    TRY(check_end(record, FIXED_BYTES + bytes + (size_t)PATCH_BYTES * get16(record->bytes + 6)));
    for (size_t i = 0; i < bytes; i++) {
        values[2 * i] = record->palette[body[i] & 0xF];
        values[2 * i + 1] = record->palette[body[i] >> 4];
    }
    return ACCEPTED;
}

/* 5.5 */
static status apply_patches(const struct record *record, uint8_t *values)
{
    unsigned count = get16(record->bytes + 6);
    size_t at = FIXED_BYTES;
    if (record->bytes[4] == RECORD_HUFFMAN)
        at += LANE_ENDS_BYTES + get16(record->bytes + FIXED_BYTES + LANE_ENDS_BYTES - 2);
    else
        at += 128 * (size_t)ceil_div(record->weights, STEP);
    unsigned before = 0;
    for (unsigned p = 0; p < count; p++) {
        unsigned position = get16(record->bytes + at);
        unsigned value = record->bytes[at + 2];
        if (p > 0 && position <= before)
            return reject("patch-order", "patch %u: found position %u, expected more than %u", p,
                          position, before);
        if (position >= record->weights)
            return reject("patch-position", "patch %u: found position %u, expected less than %lu",
                          p, position, (unsigned long)record->weights);
        if (value >> record->bits != 0)
            return reject("patch-value", "patch %u: found %u, expected a value of %u bits", p,
                          value, record->bits);
        values[position] = (uint8_t)value;
        before = position;
        at += PATCH_BYTES;
    }
    return ACCEPTED;
}

/* Section 7, steps 1 to 6 of a record. `values` has space for MAX_CHUNK values. */
status decode_record(const struct record *record, uint8_t *values)
{
    TRY(check_head(record));
    if (record->bytes[4] == RECORD_VERBATIM)
        return decode_verbatim(record, values);
    if (record->bytes[4] == RECORD_HUFFMAN)
        TRY(decode_huffman(record, values));
    else
        TRY(decode_palette(record, values));
    return apply_patches(record, values);
}
