/* Sections 3 and 11.8: writes the container and the payload of tensors.
 *
 * A tensor is read several times: for the lengths of its records, for its plain plane, for its
 * records. So the output is written from front to back, and memory holds record ends alone. */
#include "unweight.h"

#include <stdlib.h>
#include <string.h>

status write_bytes(struct output *output, const uint8_t *bytes, uint64_t count)
{
    if (count > 0 && fwrite(bytes, 1, (size_t)count, output->file) != count)
        return fail("cannot write the output");
    output->at += count;
    return ACCEPTED;
}

status write_zeros_to(struct output *output, uint64_t offset)
{
    static const uint8_t zeros[4096];
    while (output->at < offset) {
        uint64_t left = offset - output->at;
        TRY(write_bytes(output, zeros, left < sizeof zeros ? left : sizeof zeros));
    }
    return ACCEPTED;
}

/* Leaves space for header and directory. */
status begin_container(struct output *output, uint64_t directory_length, const uint8_t *source,
                       uint64_t source_length)
{
    TRY(write_zeros_to(output, HEADER_BYTES + directory_length));
    TRY(write_bytes(output, source, source_length));
    return write_zeros_to(output, align(output->at, 256));
}

status finish_container(struct output *output, const uint8_t *directory, uint64_t directory_length,
                        uint32_t tensors, unsigned source_kind, const uint8_t *source,
                        uint64_t source_length)
{
    uint8_t header[HEADER_BYTES] = {0x89, 'U', 'N', 'W', 0x0D, 0x0A, 0x1A, 0x0A};
    TRY(write_zeros_to(output, output->at + GUARD_BYTES));
    put16(header + 8, 1);
    put32(header + 12, tensors);
    put64(header + 16, output->at);
    put64(header + 24, directory_length);
    put64(header + 32, source_length);
    put32(header + 40, crc32(directory, directory_length));
    put32(header + 44, crc32(source, source_length));
    header[56] = (uint8_t)source_kind;
    put32(header + 60, crc32(header, 60));
    if (fseek(output->file, 0, SEEK_SET) != 0)
        return fail("cannot seek in the output");
    TRY(write_bytes(output, header, HEADER_BYTES));
    return write_bytes(output, directory, directory_length);
}

/* The parts of a directory entry that depend on how the tensor was encoded. */
void put_entry(uint8_t *entry, const struct tensor *tensor)
{
    uint32_t forms = 0;
    for (unsigned f = 0; f < tensor->type->fields; f++)
        forms |= (uint32_t)tensor->form[f] << 4 * f;
    entry[1] = (uint8_t)tensor->chunk_log2;
    put32(entry + 4, forms);
    put64(entry + 8, tensor->end);
    put32(entry + 16, tensor->crc);
    put32(entry + 20, tensor->palette_crc);
}

/* Adds the values of weights to the counts of all fields of the type. */
void count_values(const struct tensor *tensor, const uint64_t *some_weights, uint32_t count,
                  uint64_t counts[MAX_FIELDS][256])
{
    for (unsigned f = 0; f < tensor->type->fields; f++) {
        unsigned low = tensor->type->field[f].low;
        unsigned mask = (1u << field_bits(tensor->type, f)) - 1;
        for (uint32_t i = 0; i < count; i++)
            counts[f][some_weights[i] >> low & mask]++;
    }
}

/* A tensor on its way: how it is read, and how its fields are stored. */
struct job {
    struct tensor before, tensor; /* before and after 11.8 */
    const struct weight_reader *reader;
    struct coded_field field[MAX_FIELDS];
    uint8_t palettes[MAX_FIELDS * PALETTE_BYTES];
    uint32_t *record_end;
};

static uint64_t weights[MAX_CHUNK];
static uint8_t values[MAX_CHUNK];
static uint8_t plane[MAX_CHUNK * 8];
static uint8_t record[MAX_RECORD];

/* Palettes and codes of the fields that are not plain: 11.3, 11.5. */
static void make_fields(struct job *job, const uint64_t counts[MAX_FIELDS][256])
{
    struct tensor *tensor = &job->tensor;
    uint8_t *palette = job->palettes;
    for (unsigned f = 0; f < tensor->type->fields; f++) {
        struct coded_field *field = &job->field[f];
        if (tensor->form[f] == FORM_PLAIN)
            continue;
        field->form = tensor->form[f];
        field->bits = field_bits(tensor->type, f);
        if (field->form == FORM_CONSTANT) {
            memset(field->palette, 0, PALETTE_BYTES);
            for (unsigned x = 0; x < 256; x++)
                if (counts[f][x] != 0)
                    field->palette[0] = (uint8_t)x;
        } else {
            make_palette(counts[f], field->bits, field->palette);
            field->code = choose_code(counts[f], tensor->weights, field->palette,
                                      palette_entries(field->bits));
        }
        memcpy(palette, field->palette, PALETTE_BYTES);
        palette += PALETTE_BYTES;
    }
}

/* The weights of a piece of the tensor as it is before it may become raw. */
static status read_weights(const struct job *job, uint64_t piece)
{
    const struct tensor *before = &job->before;
    return job->reader->read(job->reader->context, piece << piece_log2(before),
                             piece_weights(before, piece), weights);
}

static void take_values(const struct dtype *type, unsigned field, uint32_t count)
{
    unsigned low = type->field[field].low;
    unsigned mask = (1u << field_bits(type, field)) - 1;
    for (uint32_t i = 0; i < count; i++)
        values[i] = (uint8_t)(weights[i] >> low & mask);
}

/* The lengths of all records, which give the payload's length and the record ends. */
static status measure_records(struct job *job)
{
    struct tensor *tensor = &job->tensor;
    uint32_t end = 0;
    uint64_t r = 0;
    job->record_end = malloc((size_t)(tensor->chunks * tensor->coded) * sizeof *job->record_end);
    if (job->record_end == NULL)
        return fail("no memory for the record ends");
    for (uint64_t chunk = 0; chunk < tensor->chunks; chunk++) {
        uint32_t count = piece_weights(tensor, chunk);
        TRY(read_weights(job, chunk));
        for (unsigned f = 0; f < tensor->type->fields; f++) {
            if (!is_coded(tensor->form[f]))
                continue;
            take_values(tensor->type, f, count);
            end += (uint32_t)(write_record(&job->field[f], values, count, record) / 16);
            job->record_end[r] = end;
            r++;
        }
    }
    return ACCEPTED;
}

static uint64_t payload_bytes(const struct job *job)
{
    const struct tensor *tensor = &job->tensor;
    uint64_t records = tensor->chunks * tensor->coded;
    if (records > 0)
        return tensor->records_at + 16 * (uint64_t)job->record_end[records - 1];
    if (tensor->palettes > 0)
        return tensor->ends_at;
    if (tensor->blocks > 0)
        return tensor->blocks_at + 4 * tensor->blocks;
    return tensor->plane_bytes;
}

/* 11.8: makes all fields plain where that takes no more space. */
static void make_raw_if_no_longer(struct job *job)
{
    struct tensor *tensor = &job->tensor;
    struct job raw = {.tensor = *tensor};
    memset(raw.tensor.form, FORM_PLAIN, sizeof raw.tensor.form);
    raw.tensor.chunk_log2 = 0;
    lay_out(&raw.tensor);
    if (align(payload_bytes(job), tensor->alignment) >=
        align(payload_bytes(&raw), tensor->alignment))
        *tensor = raw.tensor;
}

/* The plain values of the weights read, packed. Returns their bytes. */
static size_t pack_plane(const struct tensor *tensor, uint32_t count)
{
    uint64_t bits = (uint64_t)count * tensor->plain_bits;
    size_t bytes = (size_t)ceil_div(bits, 8);
    memset(plane, 0, bytes);
    for (uint32_t i = 0; i < count; i++)
        put_bits(plane, (uint64_t)i * tensor->plain_bits, tensor->plain_bits,
                 pext(weights[i], tensor->plain_mask));
    return bytes;
}

/* Adds bytes of the plane to the checksums of its blocks. */
static void add_to_blocks(uint8_t *block_crcs, uint64_t at, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        uint64_t block = (at + done) / BLOCK_BYTES;
        size_t part = (size_t)((block + 1) * BLOCK_BYTES - (at + done));
        if (part > bytes - done)
            part = bytes - done;
        uint8_t *crc = block_crcs + 4 * block;
        put32(crc, crc32_more(get32(crc), plane + done, part));
        done += part;
    }
}

static status write_plane(struct output *output, const struct job *job, uint8_t *block_crcs)
{
    const struct tensor *tensor = &job->tensor;
    for (uint64_t piece = 0; piece < pieces(&job->before); piece++) {
        TRY(read_weights(job, piece));
        size_t bytes = pack_plane(tensor, piece_weights(&job->before, piece));
        if (tensor->blocks > 0)
            add_to_blocks(block_crcs, output->at - tensor->begin, bytes);
        TRY(write_bytes(output, plane, bytes));
    }
    return ACCEPTED;
}

static status write_plane_and_blocks(struct output *output, const struct job *job)
{
    const struct tensor *tensor = &job->tensor;
    uint8_t *block_crcs = calloc((size_t)tensor->blocks + 1, 4);
    if (block_crcs == NULL)
        return fail("no memory for the block checksums");
    status result = write_plane(output, job, block_crcs);
    if (result == ACCEPTED && tensor->blocks > 0)
        result = write_zeros_to(output, tensor->begin + tensor->blocks_at);
    if (result == ACCEPTED)
        result = write_bytes(output, block_crcs, 4 * tensor->blocks);
    free(block_crcs);
    return result;
}

static status write_records(struct output *output, const struct job *job)
{
    const struct tensor *tensor = &job->tensor;
    for (uint64_t r = 0; r < tensor->chunks * tensor->coded; r++) {
        uint8_t end[4];
        put32(end, job->record_end[r]);
        TRY(write_bytes(output, end, 4));
    }
    TRY(write_zeros_to(output, tensor->begin + tensor->records_at));
    for (uint64_t chunk = 0; chunk < tensor->chunks; chunk++) {
        uint32_t count = piece_weights(tensor, chunk);
        bool first = true;
        TRY(read_weights(job, chunk));
        for (unsigned f = 0; f < tensor->type->fields; f++) {
            if (!is_coded(tensor->form[f]))
                continue;
            take_values(tensor->type, f, count);
            size_t length = write_record(&job->field[f], values, count, record);
            uint32_t crc = crc32(record + 4, length - 4);
            if (first)
                crc = crc32_more(crc, plane, pack_plane(tensor, count));
            first = false;
            put32(record, crc);
            TRY(write_bytes(output, record, length));
        }
    }
    return ACCEPTED;
}

static status write_payload(struct output *output, struct job *job)
{
    struct tensor *tensor = &job->tensor;
    if (tensor->coded > 0)
        TRY(measure_records(job));
    make_raw_if_no_longer(job);
    tensor->begin = align(output->at, tensor->alignment);
    tensor->palette_crc = 0;
    TRY(write_zeros_to(output, tensor->begin));
    TRY(write_plane_and_blocks(output, job));
    if (tensor->palettes > 0) {
        uint64_t bytes = (uint64_t)PALETTE_BYTES * tensor->palettes;
        tensor->palette_crc = crc32(job->palettes, bytes);
        TRY(write_zeros_to(output, tensor->begin + tensor->palettes_at));
        TRY(write_bytes(output, job->palettes, bytes));
    }
    if (tensor->coded > 0)
        TRY(write_records(output, job));
    return ACCEPTED;
}

/* Writes a tensor with weights whose forms are chosen, and completes it. `counts` are those of
 * the values of all fields that are not plain. */
status write_tensor(struct output *output, struct tensor *tensor,
                    const struct weight_reader *reader, const uint64_t counts[MAX_FIELDS][256])
{
    static struct job job;
    memset(&job, 0, sizeof job);
    lay_out(tensor);
    job.before = *tensor;
    job.tensor = *tensor;
    job.reader = reader;
    make_fields(&job, counts);
    status result = write_payload(output, &job);
    free(job.record_end);
    *tensor = job.tensor;
    tensor->end = output->at;
    return result;
}
