/* Section 11.1: encodes a safetensors file; 11.2: the sample of each tensor. */
#include "unweight.h"

#include <stdlib.h>
#include <string.h>

struct encoding {
    const uint8_t *source;
    uint64_t length, header_length; /* of the source; of its source section */
    uint8_t form;                   /* the encoding */
    unsigned chunk_log2;
    struct safetensors header;
    uint8_t *entries; /* the directory's bytes, that entries can be completed in */
    struct directory directory;
};

/* The data of one tensor in the source. */
struct data {
    const uint8_t *bytes;
    unsigned weight_bytes;
};

static status read_data(const void *context, uint64_t first, uint32_t count, uint64_t *weights)
{
    const struct data *data = context;
    const uint8_t *bytes = data->bytes + first * data->weight_bytes;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = 0;
        for (unsigned b = 0; b < data->weight_bytes; b++)
            weights[i] |= (uint64_t)bytes[b] << 8 * b;
        bytes += data->weight_bytes;
    }
    return ACCEPTED;
}

/* The directory without what depends on the encoding of tensors. */
static status make_directory(struct encoding *job)
{
    const struct safetensors *header = &job->header;
    uint64_t names_at = (uint64_t)header->members * ENTRY_BYTES;
    uint64_t length = 0;
    if (header->members > MAX_TENSORS)
        return reject("limit-tensors", "found %llu tensors, expected at most 2^20",
                      (unsigned long long)header->members);
    names_at += 8 * (uint64_t)header->dimensions;
    length = names_at;
    for (size_t i = 0; i < header->members; i++)
        length += header->member[i].name.length;
    length = align(length, 8);
    if (length > MAX_PART)
        return reject("limit-directory", "found %llu bytes, expected at most 2^28",
                      (unsigned long long)length);
    job->entries = calloc((size_t)length + 1, 1);
    if (job->entries == NULL)
        return fail("no memory for the directory");

    uint8_t *dimension = job->entries + header->members * ENTRY_BYTES;
    uint8_t *name = job->entries + names_at;
    uint32_t dims_end = 0, name_end = 0;
    for (size_t i = 0; i < header->members; i++) {
        const struct member *member = &header->member[i];
        uint8_t *entry = job->entries + i * ENTRY_BYTES;
        for (size_t d = 0; d < member->rank; d++) {
            put64(dimension, header->dimension[member->first_dimension + d]);
            dimension += 8;
        }
        memcpy(name, member->name.bytes, member->name.length);
        name += member->name.length;
        dims_end += (uint32_t)member->rank;
        name_end += (uint32_t)member->name.length;
        entry[0] = member->type->code;
        put32(entry + 24, dims_end);
        put32(entry + 28, name_end);
        put32(entry + 32, (uint32_t)(header->by_name[i] - header->member));
    }
    job->directory.bytes = job->entries;
    job->directory.length = length;
    job->directory.tensors = (uint32_t)header->members;
    return ACCEPTED;
}

/* 11.1: the source section, the directory, and that the data are there, neither less nor more. */
static status open_source(struct encoding *job)
{
    if (job->length < 8)
        return reject("source-header", "found %llu bytes of source, expected 8 or more",
                      (unsigned long long)job->length);
    uint64_t json_length = get64(job->source);
    if (json_length > job->length - 8)
        return reject("source-header", "found %llu bytes behind the JSON length, expected %llu",
                      (unsigned long long)(job->length - 8), (unsigned long long)json_length);
    job->header_length = 8 + json_length;
    if (job->header_length > MAX_PART)
        return reject("limit-source", "found %llu bytes, expected at most 2^28",
                      (unsigned long long)job->header_length);
    TRY(read_safetensors(job->source + 8, (size_t)json_length, &job->header));
    TRY(make_directory(job));
    TRY(check_names(&job->directory));
    uint64_t end = 0;
    for (uint32_t i = 0; i < job->directory.tensors; i++) {
        const struct member *member = &job->header.member[i];
        struct tensor tensor;
        TRY(read_shape(&job->directory, i, &tensor));
        if (member->end - member->begin != tensor.bytes)
            return reject("source-header", "found %llu bytes of data, expected %llu",
                          (unsigned long long)(member->end - member->begin),
                          (unsigned long long)tensor.bytes);
        end = member->end;
    }
    report_place_file();
    if (end != job->length - job->header_length)
        return reject("source-header", "found %llu bytes of data, expected %llu",
                      (unsigned long long)(job->length - job->header_length),
                      (unsigned long long)end);
    return ACCEPTED;
}

/* Counts all values, and those of the sample (11.2). */
static status count_all(const struct tensor *tensor, const struct weight_reader *reader,
                        uint64_t counts[MAX_FIELDS][256], uint64_t sample[MAX_FIELDS][256])
{
    uint64_t weights[STEP];
    bool whole = tensor->weights <= 32768;
    for (uint64_t step = 0; step < ceil_div(tensor->weights, STEP); step++) {
        uint64_t left = tensor->weights - step * STEP;
        uint32_t count = (uint32_t)(left < STEP ? left : STEP);
        TRY(reader->read(reader->context, step * STEP, count, weights));
        count_values(tensor, weights, count, counts);
        if (whole || step % 17 == 0)
            count_values(tensor, weights, count, sample);
    }
    return ACCEPTED;
}

static status encode_tensor(const struct encoding *job, uint32_t i, struct output *output)
{
    static uint64_t counts[MAX_FIELDS][256], sample[MAX_FIELDS][256];
    const uint8_t *bytes = job->source + job->header_length + job->header.member[i].begin;
    uint8_t *entry = job->entries + (size_t)i * ENTRY_BYTES;
    struct tensor tensor = {0};
    TRY(read_shape(&job->directory, i, &tensor));
    tensor.crc = crc32(bytes, tensor.bytes);
    if (tensor.weights > 0) {
        struct data data = {bytes, tensor.type->weight_bytes};
        struct weight_reader reader = {read_data, &data};
        memset(counts, 0, sizeof counts);
        memset(sample, 0, sizeof sample);
        TRY(count_all(&tensor, &reader, counts, sample));
        for (unsigned f = 0; f < tensor.type->fields; f++) {
            tensor.form[f] = choose_form(job->form, field_bits(tensor.type, f), &tensor,
                                         job->chunk_log2, counts[f], sample[f]);
            if (is_coded(tensor.form[f]))
                tensor.chunk_log2 = job->chunk_log2;
        }
        TRY(write_tensor(output, &tensor, &reader, (const uint64_t(*)[256])counts));
    }
    tensor.end = output->at;
    put_entry(entry, &tensor);
    return ACCEPTED;
}

static status encode_source(struct encoding *job, FILE *file)
{
    struct output output = {file, 0};
    const struct directory *directory = &job->directory;
    TRY(open_source(job));
    TRY(begin_container(&output, directory->length, job->source, job->header_length));
    for (uint32_t i = 0; i < directory->tensors; i++)
        TRY(encode_tensor(job, i, &output));
    return finish_container(&output, directory->bytes, directory->length, directory->tensors,
                            KIND_SAFETENSORS, job->source, job->header_length);
}

/* Writes the canonical file of a safetensors file with all tensors compressed. */
status encode(const uint8_t *source, uint64_t length, uint8_t encoding, unsigned chunk_log2,
              FILE *output)
{
    struct encoding job = {
        .source = source, .length = length, .form = encoding, .chunk_log2 = chunk_log2};
    status result = encode_source(&job, output);
    free_safetensors(&job.header);
    free(job.entries);
    return result;
}
