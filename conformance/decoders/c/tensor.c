/* Sections 3.5 (checksums, palettes, record ends) and 7: from the payload to weights. */
#include "unweight.h"

/* 3.5, rule 3. */
static status check_blocks(const struct file *file, const struct tensor *tensor)
{
    const uint8_t *plane = file->bytes + tensor->begin;
    for (uint64_t i = 0; i < tensor->blocks; i++) {
        uint64_t left = tensor->plane_bytes - i * BLOCK_BYTES;
        uint64_t length = left < BLOCK_BYTES ? left : BLOCK_BYTES;
        TRY(check_crc("block-crc", crc32(plane + i * BLOCK_BYTES, length),
                      get32(plane + tensor->blocks_at + 4 * i)));
    }
    return ACCEPTED;
}

/* 3.5, rule 4, for one palette. */
static status check_palette(const uint8_t *palette, unsigned entries, unsigned bits, unsigned field)
{
    for (unsigned j = 0; j < entries; j++)
        if (palette[j] >> bits != 0)
            return reject("palette-values", "field %u: found %u, expected a value of %u bits",
                          field, palette[j], bits);
    for (unsigned j = 1; j < entries; j++)
        if (palette[j] <= palette[j - 1])
            return reject("palette-values", "field %u: found %u after %u, expected values that "
                          "ascend", field, palette[j], palette[j - 1]);
    if (!all_zero(palette + entries, PALETTE_BYTES - entries))
        return reject("palette-values", "field %u: found a value behind the %u of the palette",
                      field, entries);
    return ACCEPTED;
}

/* 3.5, rule 4. */
static status check_palettes(const struct file *file, const struct tensor *tensor)
{
    const uint8_t *palette = file->bytes + tensor->begin + tensor->palettes_at;
    if (tensor->palettes == 0)
        return ACCEPTED;
    TRY(check_crc("palette-crc", crc32(palette, (uint64_t)PALETTE_BYTES * tensor->palettes),
                  tensor->palette_crc));
    for (unsigned f = 0; f < tensor->type->fields; f++) {
        unsigned bits = field_bits(tensor->type, f);
        if (tensor->form[f] == FORM_PLAIN)
            continue;
        unsigned entries = is_coded(tensor->form[f]) ? palette_entries(bits) : 1;
        TRY(check_palette(palette, entries, bits, f));
        palette += PALETTE_BYTES;
    }
    return ACCEPTED;
}

static uint32_t record_end(const struct file *file, const struct tensor *tensor, uint64_t r)
{
    return get32(file->bytes + tensor->begin + tensor->ends_at + 4 * r);
}

/* 3.5, rule 5. */
static status check_record_ends(const struct file *file, const struct tensor *tensor)
{
    uint64_t records = tensor->chunks * tensor->coded;
    uint32_t before = 0;
    for (uint64_t r = 0; r < records; r++) {
        uint32_t end = record_end(file, tensor, r);
        if (end <= before)
            return reject("record-ends", "record %llu: found end %lu, expected more than %lu",
                          (unsigned long long)r, (unsigned long)end, (unsigned long)before);
        before = end;
    }
    uint64_t payload = tensor->end - tensor->begin - tensor->records_at;
    if (records > 0 && before != payload / 16)
        return reject("record-ends", "found last end %lu, expected %llu", (unsigned long)before,
                      (unsigned long long)(payload / 16));
    return ACCEPTED;
}

/* Checks what section 7 checks of a tensor before its weights. */
status check_tensor(const struct file *file, uint32_t i, const struct tensor *tensor)
{
    report_place_tensor(i);
    TRY(check_blocks(file, tensor));
    TRY(check_palettes(file, tensor));
    return check_record_ends(file, tensor);
}

/* The record of a chunk and coded field number `coded`, with its length and checksum checked. */
static status find_record(const struct file *file, const struct tensor *tensor, uint64_t chunk,
                          unsigned coded, struct record *record)
{
    uint64_t r = chunk * tensor->coded + coded;
    uint64_t from = 16 * (uint64_t)(r == 0 ? 0 : record_end(file, tensor, r - 1));
    uint64_t to = 16 * (uint64_t)record_end(file, tensor, r);
    const uint8_t *plane = file->bytes + tensor->begin;
    record->bytes = plane + tensor->records_at + from;
    record->length = (size_t)(to - from);
    record->weights = piece_weights(tensor, chunk);
    if (record->length > longest_record(record->weights, record->bits))
        return reject("record-too-long", "found %llu bytes, expected at most %llu",
                      (unsigned long long)record->length,
                      (unsigned long long)longest_record(record->weights, record->bits));
    uint32_t crc = crc32(record->bytes + 4, record->length - 4);
    if (coded == 0) {
        uint64_t first_bit = (chunk << tensor->chunk_log2) * tensor->plain_bits;
        crc = crc32_more(crc, plane + first_bit / 8,
                         ceil_div((uint64_t)record->weights * tensor->plain_bits, 8));
    }
    return check_crc("record-crc", crc, get32(record->bytes));
}

static void set_field(uint64_t *weights, uint32_t count, unsigned low, const uint8_t *values)
{
    for (uint32_t i = 0; i < count; i++)
        weights[i] |= (uint64_t)values[i] << low;
}

/* Section 7, steps 1 and 2 of a tensor, for one piece of it; `weights` has MAX_CHUNK. */
status decode_piece(const struct file *file, uint32_t i, const struct tensor *tensor,
                    uint64_t piece, uint64_t *weights)
{
    static uint8_t values[MAX_CHUNK];
    uint32_t count = piece_weights(tensor, piece);
    const uint8_t *plane = file->bytes + tensor->begin;
    const uint8_t *palette = plane + tensor->palettes_at;
    uint64_t first = piece << piece_log2(tensor);
    unsigned coded = 0;
    for (uint32_t w = 0; w < count; w++) {
        uint64_t plain = get_bits(plane, (first + w) * tensor->plain_bits, tensor->plain_bits);
        weights[w] = pdep(plain, tensor->plain_mask);
    }
    for (unsigned f = 0; f < tensor->type->fields; f++) {
        unsigned low = tensor->type->field[f].low;
        if (tensor->form[f] == FORM_PLAIN)
            continue;
        if (tensor->form[f] == FORM_CONSTANT) {
            for (uint32_t w = 0; w < count; w++)
                weights[w] |= (uint64_t)palette[0] << low;
        } else {
            struct record record = {.form = tensor->form[f],
                                    .bits = field_bits(tensor->type, f),
                                    .palette = palette};
            report_place_record(i, piece, f);
            TRY(find_record(file, tensor, piece, coded, &record));
            TRY(decode_record(&record, values));
            set_field(weights, count, low, values);
            coded++;
        }
        palette += PALETTE_BYTES;
    }
    return ACCEPTED;
}

static status write_weights(const struct dtype *type, const uint64_t *weights, uint32_t count,
                            uint32_t *crc, FILE *output)
{
    static uint8_t bytes[MAX_CHUNK * 8];
    size_t length = (size_t)count * type->weight_bytes;
    for (size_t at = 0; at < length; at++) {
        unsigned byte = (unsigned)(at % type->weight_bytes);
        bytes[at] = (uint8_t)(weights[at / type->weight_bytes] >> 8 * byte & 0xFF);
    }
    *crc = crc32_more(*crc, bytes, length);
    if (output != NULL && fwrite(bytes, 1, length, output) != length)
        return fail("cannot write the output");
    return ACCEPTED;
}

/* Section 7, step 2 of a file. Without an output the tensors are checked alone. */
status decode_tensors(const struct file *file, FILE *output)
{
    static uint64_t weights[MAX_CHUNK];
    for (uint32_t i = 0; i < file->directory.tensors; i++) {
        struct tensor tensor;
        uint32_t crc = 0;
        TRY(read_tensor(&file->directory, i, &tensor));
        TRY(check_tensor(file, i, &tensor));
        for (uint64_t piece = 0; piece < pieces(&tensor); piece++) {
            TRY(decode_piece(file, i, &tensor, piece, weights));
            TRY(write_weights(tensor.type, weights, piece_weights(&tensor, piece), &crc, output));
        }
        report_place_tensor(i);
        TRY(check_crc("tensor-crc", crc, tensor.crc));
    }
    return ACCEPTED;
}
