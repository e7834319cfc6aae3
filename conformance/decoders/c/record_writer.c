/* Sections 11.5 to 11.7: the record of a canonical encoder. Its checksum is left to writer.c. */
#include "unweight.h"

#include <string.h>

enum { FIXED_BYTES = 16, LANE_ENDS_BYTES = 2 * LANES, PATCH_BYTES = 3, NO_ENTRY = 255 };

/* What a record codes each value as: a palette entry, and whether it needs a patch. */
struct value_map {
    uint8_t entry[256];
    bool patched[256];
};

/* Entries without a length in `code` are not coded; all are without a code, for 11.6. */
static struct value_map map_values(const struct coded_field *field, const struct code *code)
{
    struct value_map map;
    unsigned placeholder = code != NULL ? code->placeholder : 0;
    memset(map.entry, (int)placeholder, sizeof map.entry);
    memset(map.patched, true, sizeof map.patched);
    for (unsigned j = 0; j < palette_entries(field->bits); j++) {
        if (code != NULL && code->length[j] == NO_CODE)
            continue;
        map.entry[field->palette[j]] = (uint8_t)j;
        map.patched[field->palette[j]] = false;
    }
    return map;
}

static size_t count_patches(const struct value_map *map, const uint64_t counts[256])
{
    size_t patches = 0;
    for (unsigned x = 0; x < 256; x++)
        if (map->patched[x])
            patches += (size_t)counts[x];
    return patches;
}

static void write_patches(const struct value_map *map, const uint8_t *values, uint32_t weights,
                          uint8_t *record, size_t at)
{
    uint16_t patches = 0;
    for (uint32_t i = 0; i < weights; i++) {
        if (!map->patched[values[i]])
            continue;
        put16(record + at, (uint16_t)i);
        record[at + 2] = values[i];
        at += PATCH_BYTES;
        patches++;
    }
    put16(record + 6, patches);
}

/* 11.7 */
static size_t write_verbatim(const struct coded_field *field, const uint8_t *values,
                             uint32_t weights, uint8_t *record)
{
    record[4] = RECORD_VERBATIM;
    for (uint32_t i = 0; i < weights; i++)
        put_bits(record + FIXED_BYTES, (uint64_t)i * field->bits, field->bits, values[i]);
    return (size_t)longest_record(weights, field->bits);
}

/* The palette entry that weight i is coded as, surplus included. */
static unsigned entry_at(const struct value_map *map, const uint8_t *values, uint32_t weights,
                         size_t i, unsigned placeholder)
{
    return i < weights ? map->entry[values[i]] : placeholder;
}

/* 11.5: the field's code, or the chunk's own. */
static struct code code_of_chunk(const struct coded_field *field, const uint64_t counts[256],
                                 uint32_t weights)
{
    unsigned entries = palette_entries(field->bits);
    struct code own = choose_code(counts, weights, field->palette, entries);
    uint64_t t = code_cost(&field->code, counts, field->palette, entries);
    uint64_t o = code_cost(&own, counts, field->palette, entries);
    return 256 * o < 255 * t ? own : field->code;
}

static size_t lane_bits(const struct value_map *map, const struct code *code,
                        const uint8_t *values, uint32_t weights, unsigned lane)
{
    size_t bits = 0;
    for (size_t t = 0; t < ceil_div(weights, STEP); t++)
        for (size_t i = 0; i < 8; i++)
            bits += code->length[entry_at(map, values, weights, STEP * t + 8 * lane + i,
                                          code->placeholder)];
    return bits;
}

static void write_lane(const struct value_map *map, const struct code *code,
                       const uint8_t reversed[16], const uint8_t *values, uint32_t weights,
                       unsigned lane, uint8_t *stream)
{
    size_t used = 0;
    for (size_t t = 0; t < ceil_div(weights, STEP); t++) {
        for (size_t i = 0; i < 8; i++) {
            unsigned j = entry_at(map, values, weights, STEP * t + 8 * lane + i,
                                  code->placeholder);
            put_bits(stream, used, code->length[j], reversed[j]);
            used += code->length[j];
        }
    }
}

/* 11.5. Returns the length; nothing is written if that is more than a verbatim record's. */
static size_t write_huffman(const struct coded_field *field, const uint8_t *values,
                            uint32_t weights, const uint64_t counts[256], uint8_t *record)
{
    struct code code = code_of_chunk(field, counts, weights);
    struct value_map map = map_values(field, &code);
    size_t end[LANES], body = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        body += (size_t)ceil_div(lane_bits(&map, &code, values, weights, lane), 8);
        end[lane] = body;
    }
    size_t patches_at = FIXED_BYTES + LANE_ENDS_BYTES + body;
    size_t length = (size_t)align(patches_at + PATCH_BYTES * count_patches(&map, counts), 16);
    if (length > longest_record(weights, field->bits))
        return length;

    uint8_t reversed[16] = {0};
    canonical_codes(code.length, reversed);
    record[4] = RECORD_HUFFMAN;
    for (unsigned j = 0; j < 16; j++)
        record[8 + j / 2] |= (uint8_t)(code.length[j] << 4 * (j % 2));
    uint8_t *streams = record + FIXED_BYTES + LANE_ENDS_BYTES;
    for (unsigned lane = 0; lane < LANES; lane++) {
        put16(record + FIXED_BYTES + 2 * lane, (uint16_t)end[lane]);
        write_lane(&map, &code, reversed, values, weights, lane,
                   streams + (lane == 0 ? 0 : end[lane - 1]));
    }
    write_patches(&map, values, weights, record, patches_at);
    return length;
}

/* 11.6. Returns the length; nothing is written if that is more than a verbatim record's. */
static size_t write_palette(const struct coded_field *field, const uint8_t *values,
                            uint32_t weights, const uint64_t counts[256], uint8_t *record)
{
    struct value_map map = map_values(field, NULL);
    size_t whole = STEP * (size_t)ceil_div(weights, STEP);
    size_t patches_at = FIXED_BYTES + whole / 2;
    size_t length = (size_t)align(patches_at + PATCH_BYTES * count_patches(&map, counts), 16);
    if (length > longest_record(weights, field->bits))
        return length;

    record[4] = RECORD_PALETTE;
    for (size_t i = 0; i < whole; i++) {
        unsigned j = entry_at(&map, values, weights, i, 0);
        record[FIXED_BYTES + i / 2] |= (uint8_t)(j << 4 * (i % 2));
    }
    write_patches(&map, values, weights, record, patches_at);
    return length;
}

/* Returns the record's length. The record checksum stays zero. */
size_t write_record(const struct coded_field *field, const uint8_t *values, uint32_t weights,
                    uint8_t record[MAX_RECORD])
{
    uint64_t counts[256] = {0};
    size_t length;
    for (uint32_t i = 0; i < weights; i++)
        counts[values[i]]++;
    memset(record, 0, MAX_RECORD);
    if (field->form == FORM_HUFFMAN)
        length = write_huffman(field, values, weights, counts, record);
    else
        length = write_palette(field, values, weights, counts, record);
    if (length > longest_record(weights, field->bits))
        return write_verbatim(field, values, weights, record);
    return length;
}
