/* Section 11.9: gives the coded fields of a file another encoding. */
#include "unweight.h"

#include <stdlib.h>
#include <string.h>

/* A tensor of the input. */
struct decoded {
    const struct file *file;
    uint32_t number;
    const struct tensor *tensor;
};

static status read_decoded(const void *context, uint64_t first, uint32_t count, uint64_t *weights)
{
    const struct decoded *decoded = context;
    (void)count; /* a whole piece, as the input has pieces */
    return decode_piece(decoded->file, decoded->number, decoded->tensor,
                        first >> piece_log2(decoded->tensor), weights);
}

/* Checks the whole input, tensor checksums included, so that nothing is written of a bad one. */
status prepare_transcoding(const uint8_t *bytes, uint64_t length, struct file *file)
{
    TRY(open_file(bytes, length, file));
    TRY(decode_tensors(file, NULL));
    return check_padding(file);
}

/* A coded tensor: its coded fields of more than 4 bits get the encoding. */
static status transcode_tensor(const struct file *file, uint32_t i, const struct tensor *input,
                               uint8_t encoding, struct output *output, struct tensor *tensor)
{
    static uint64_t counts[MAX_FIELDS][256];
    static uint64_t weights[MAX_CHUNK];
    struct decoded decoded = {file, i, input};
    struct weight_reader reader = {read_decoded, &decoded};
    memset(counts, 0, sizeof counts);
    for (uint64_t piece = 0; piece < pieces(input); piece++) {
        TRY(decode_piece(file, i, input, piece, weights));
        count_values(input, weights, piece_weights(input, piece), counts);
    }
    for (unsigned f = 0; f < tensor->type->fields; f++)
        if (is_coded(tensor->form[f]) && field_bits(tensor->type, f) > 4)
            tensor->form[f] = encoding;
    return write_tensor(output, tensor, &reader, (const uint64_t(*)[256])counts);
}

static status transcode_tensors(const struct file *file, uint8_t encoding, uint8_t *entries,
                                struct output *output)
{
    for (uint32_t i = 0; i < file->directory.tensors; i++) {
        struct tensor input;
        TRY(read_tensor(&file->directory, i, &input));
        struct tensor tensor = input;
        if (input.coded > 0) {
            TRY(transcode_tensor(file, i, &input, encoding, output, &tensor));
        } else if (input.weights > 0) {
            TRY(write_zeros_to(output, align(output->at, input.alignment)));
            TRY(write_bytes(output, file->bytes + input.begin, input.end - input.begin));
        }
        tensor.end = output->at;
        put_entry(entries + (size_t)i * ENTRY_BYTES, &tensor);
    }
    return ACCEPTED;
}

/* The file has passed prepare_transcoding. Its extensions are dropped. */
status transcode(const struct file *file, uint8_t encoding, FILE *output_file)
{
    struct output output = {output_file, 0};
    const struct directory *directory = &file->directory;
    uint8_t *entries = malloc((size_t)directory->length + 1);
    if (entries == NULL)
        return fail("no memory for the directory");
    memcpy(entries, directory->bytes, (size_t)directory->length);
    status result =
        begin_container(&output, directory->length, file->source, file->source_length);
    if (result == ACCEPTED)
        result = transcode_tensors(file, encoding, entries, &output);
    if (result == ACCEPTED)
        result = finish_container(&output, entries, directory->length, directory->tensors,
                                  file->source_kind, file->source, file->source_length);
    free(entries);
    return result;
}
