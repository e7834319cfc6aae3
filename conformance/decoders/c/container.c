/* Sections 3.1 (file header), 3.4 (extensions) and the padding rule of 3.5. */
#include "unweight.h"

#include <string.h>

static const uint8_t magic[8] = {0x89, 'U', 'N', 'W', 0x0D, 0x0A, 0x1A, 0x0A};

/* 3.1, rules 1 and 2: what has to be known before anything else is interpreted. */
static status check_magic_and_version(const uint8_t *bytes, uint64_t length)
{
    size_t compared = length < sizeof magic ? (size_t)length : sizeof magic;
    if (compared > 0 && memcmp(bytes, magic, compared) != 0)
        return reject("file-magic", "found other first bytes, expected an unweight file");
    if (length < HEADER_BYTES)
        return reject("file-truncated", "found %llu bytes, expected a header of 64",
                      (unsigned long long)length);
    if (get16(bytes + 8) != 1)
        return reject("file-version", "found major version %u, expected 1", get16(bytes + 8));
    return ACCEPTED;
}

/* 3.1, rules 3 to 5. */
static status check_header_fields(const uint8_t *header)
{
    TRY(check_crc("file-header-crc", crc32(header, 60), get32(header + 60)));
    if (!all_zero(header + 57, 3))
        return reject("file-reserved", "found a reserved byte that is not zero");
    if (get32(header + 12) > MAX_TENSORS)
        return reject("limit-tensors", "found %lu tensors, expected at most 2^20",
                      (unsigned long)get32(header + 12));
    if (get64(header + 24) > MAX_PART)
        return reject("limit-directory", "found %llu bytes, expected at most 2^28",
                      (unsigned long long)get64(header + 24));
    if (get64(header + 32) > MAX_PART)
        return reject("limit-source", "found %llu bytes, expected at most 2^28",
                      (unsigned long long)get64(header + 32));
    if (get32(header + 48) > MAX_PART)
        return reject("limit-extensions", "found %lu bytes, expected at most 2^28",
                      (unsigned long)get32(header + 48));
    if (header[56] > KIND_SAFETENSORS)
        return reject("source-kind", "found kind %u, expected 0 or 1", header[56]);
    uint64_t source_length = get64(header + 32);
    if (header[56] == 0 && source_length != 0)
        return reject("source-length", "found %llu bytes of source kind 0, expected none",
                      (unsigned long long)source_length);
    if (header[56] == KIND_SAFETENSORS && source_length < 8)
        return reject("source-length", "found %llu bytes of source kind 1, expected 8 or more",
                      (unsigned long long)source_length);
    return ACCEPTED;
}

/* 3.1, rule 6, and what rule 7 says of a file without its payload. */
static status check_length(const uint8_t *header, uint64_t length, uint64_t payload_begin)
{
    uint64_t stated = get64(header + 16);
    if (length < stated)
        return reject("file-truncated", "found %llu bytes, expected %llu",
                      (unsigned long long)length, (unsigned long long)stated);
    if (length > stated)
        return reject("file-trailing", "found %llu bytes, expected %llu",
                      (unsigned long long)length, (unsigned long long)stated);
    if (stated < payload_begin + GUARD_BYTES)
        return reject("file-length", "found %llu bytes, expected at least %llu",
                      (unsigned long long)stated,
                      (unsigned long long)(payload_begin + GUARD_BYTES));
    return ACCEPTED;
}

/* 3.1, rule 7. */
static status check_payload_end(const struct file *file)
{
    const struct directory *directory = &file->directory;
    uint64_t end = directory->payload_begin;
    if (directory->tensors > 0)
        end = get64(entry_of(directory, directory->tensors - 1) + 8);
    if (file->length - GUARD_BYTES != end)
        return reject("file-length", "found %llu bytes, expected the payload end %llu and 64",
                      (unsigned long long)file->length, (unsigned long long)end);
    return ACCEPTED;
}

/* 3.4 */
static status check_extensions(const uint8_t *bytes, uint64_t length)
{
    if (length % 8 != 0)
        return reject("extension-length", "found %llu bytes, expected a multiple of 8",
                      (unsigned long long)length);
    uint64_t at = 0;
    while (at < length) {
        uint32_t kind = get32(bytes + at);
        uint64_t contents = get32(bytes + at + 4);
        uint64_t item = align(8 + contents, 8);
        if (item > length - at)
            return reject("extension-length", "item at %llu: found %llu bytes, expected at most "
                          "%llu", (unsigned long long)at, (unsigned long long)item,
                          (unsigned long long)(length - at));
        if (!all_zero(bytes + at + 8 + contents, item - 8 - contents))
            return reject("extension-padding", "item at %llu: found a byte that is not zero",
                          (unsigned long long)at);
        if (kind >> 31 != 0)
            return reject("extension-unknown", "item at %llu: found critical kind 0x%08lX, which "
                          "this decoder does not know", (unsigned long long)at,
                          (unsigned long)kind);
        at += item;
    }
    return ACCEPTED;
}

/* Section 7, step 1 of a file. Everything but the payload's contents is checked. */
status open_file(const uint8_t *bytes, uint64_t length, struct file *file)
{
    report_place_file();
    TRY(check_magic_and_version(bytes, length));
    TRY(check_header_fields(bytes));

    uint64_t directory_length = get64(bytes + 24);
    file->bytes = bytes;
    file->length = length;
    file->source_kind = bytes[56];
    file->source_length = get64(bytes + 32);
    file->extension_length = get32(bytes + 48);
    uint64_t source_at = HEADER_BYTES + directory_length;
    uint64_t extensions_at = source_at + file->source_length;
    uint64_t payload_begin = align(extensions_at + file->extension_length, 256);
    TRY(check_length(bytes, length, payload_begin));

    file->source = bytes + source_at;
    file->extensions = bytes + extensions_at;
    file->directory.bytes = bytes + HEADER_BYTES;
    file->directory.length = directory_length;
    file->directory.tensors = get32(bytes + 12);
    file->directory.payload_begin = payload_begin;

    if (directory_length < (uint64_t)file->directory.tensors * ENTRY_BYTES)
        return reject("dir-length", "found %llu bytes, expected 40 for each tensor",
                      (unsigned long long)directory_length);
    TRY(check_crc("dir-crc", crc32(file->directory.bytes, directory_length), get32(bytes + 40)));
    TRY(check_directory(&file->directory));
    report_place_file();
    TRY(check_payload_end(file));
    TRY(check_crc("source-crc", crc32(file->source, file->source_length), get32(bytes + 44)));
    TRY(check_source(file));
    TRY(check_crc("extension-crc", crc32(file->extensions, file->extension_length),
                  get32(bytes + 52)));
    return check_extensions(file->extensions, file->extension_length);
}

static status check_zeros(const struct file *file, uint64_t from, uint64_t to)
{
    if (!all_zero(file->bytes + from, to - from))
        return reject("padding", "bytes %llu to %llu: found a byte that is not zero",
                      (unsigned long long)from, (unsigned long long)(to - 1));
    return ACCEPTED;
}

/* 3.5, rule 2 for one tensor; `before` is where the payload of the one before it ends. */
static status check_tensor_padding(const struct file *file, const struct tensor *tensor,
                                   uint64_t before)
{
    uint64_t begin = tensor->begin;
    const uint8_t *plane = file->bytes + begin;
    TRY(check_zeros(file, before, begin));
    if (!padding_bits_are_zero(plane, tensor->weights * tensor->plain_bits))
        return reject("padding", "last byte of the plain plane: found a bit that is not zero");
    uint64_t end = tensor->plane_bytes;
    if (tensor->blocks > 0) {
        TRY(check_zeros(file, begin + end, begin + tensor->blocks_at));
        end = tensor->blocks_at + 4 * tensor->blocks;
    }
    if (tensor->palettes > 0)
        TRY(check_zeros(file, begin + end, begin + tensor->palettes_at));
    if (tensor->coded > 0)
        TRY(check_zeros(file, begin + tensor->ends_at + 4 * tensor->chunks * tensor->coded,
                        begin + tensor->records_at));
    return ACCEPTED;
}

/* 3.5, rule 2: all padding before, in and between payloads, and the guard. */
status check_padding(const struct file *file)
{
    const struct directory *directory = &file->directory;
    report_place_file();
    TRY(check_zeros(file, (uint64_t)(file->extensions - file->bytes) + file->extension_length,
                    directory->payload_begin));
    uint64_t before = directory->payload_begin;
    for (uint32_t i = 0; i < directory->tensors; i++) {
        struct tensor tensor;
        TRY(read_tensor(directory, i, &tensor));
        if (tensor.weights > 0)
            TRY(check_tensor_padding(file, &tensor, before));
        before = tensor.end;
    }
    report_place_file();
    return check_zeros(file, before, file->length);
}
