/* Section 3.2, with the rules of 4.1, 4.2 and the payload ends of 3.5.
 *
 * Entries are read from the directory's bytes whenever they are needed, so that memory does not
 * grow with the number of tensors. */
#include "unweight.h"

const uint8_t *entry_of(const struct directory *directory, uint32_t i)
{
    return directory->bytes + (size_t)i * ENTRY_BYTES;
}

static uint32_t dims_end(const struct directory *directory, uint32_t i)
{
    return get32(entry_of(directory, i) + 24);
}

static uint32_t name_end(const struct directory *directory, uint32_t i)
{
    return get32(entry_of(directory, i) + 28);
}

static uint32_t dims_begin(const struct directory *directory, uint32_t i)
{
    return i == 0 ? 0 : dims_end(directory, i - 1);
}

static uint32_t name_begin(const struct directory *directory, uint32_t i)
{
    return i == 0 ? 0 : name_end(directory, i - 1);
}

/* The dimensions, u64 each, outermost first. */
const uint8_t *dimensions_of(const struct directory *directory, uint32_t i, uint32_t *rank)
{
    uint32_t begin = dims_begin(directory, i);
    *rank = dims_end(directory, i) - begin;
    return directory->bytes + (size_t)directory->tensors * ENTRY_BYTES + (size_t)begin * 8;
}

struct name name_of(const struct directory *directory, uint32_t i)
{
    uint32_t last = directory->tensors - 1;
    uint32_t begin = name_begin(directory, i);
    struct name name;
    name.bytes = directory->bytes + (size_t)directory->tensors * ENTRY_BYTES +
                 (size_t)dims_end(directory, last) * 8 + begin;
    name.length = name_end(directory, i) - begin;
    return name;
}

/* 3.2, rule 1 and the padding of rule 2. The caller has checked that the entries are there. */
static status check_parts(const struct directory *directory)
{
    uint64_t end = (uint64_t)directory->tensors * ENTRY_BYTES;
    if (directory->tensors > 0) {
        uint32_t last = directory->tensors - 1;
        end += (uint64_t)dims_end(directory, last) * 8;
        end += name_end(directory, last);
    }
    if (align(end, 8) != directory->length)
        return reject("dir-length", "found %llu bytes, expected %llu",
                      (unsigned long long)directory->length, (unsigned long long)align(end, 8));
    if (!all_zero(directory->bytes + end, directory->length - end))
        return reject("dir-padding", "found a byte that is not zero");
    return ACCEPTED;
}

/* 3.2, rules 2 to 4, but for the names' bytes: the ends have to be checked first. */
static status check_ends(const struct directory *directory, uint32_t i)
{
    const uint8_t *entry = entry_of(directory, i);
    report_place_tensor(i);
    if (!all_zero(entry + 2, 2) || !all_zero(entry + 36, 4))
        return reject("dir-reserved", "found a reserved byte that is not zero");
    if (dims_end(directory, i) < dims_begin(directory, i))
        return reject("dims-end", "found %lu, expected %lu or more",
                      (unsigned long)dims_end(directory, i),
                      (unsigned long)dims_begin(directory, i));
    if (dims_end(directory, i) - dims_begin(directory, i) > MAX_RANK)
        return reject("limit-rank", "found %lu dimensions, expected at most 64",
                      (unsigned long)(dims_end(directory, i) - dims_begin(directory, i)));
    if (name_end(directory, i) < name_begin(directory, i))
        return reject("name-end", "found %lu, expected %lu or more",
                      (unsigned long)name_end(directory, i),
                      (unsigned long)name_begin(directory, i));
    if (name_end(directory, i) - name_begin(directory, i) > MAX_NAME)
        return reject("limit-name", "found %lu bytes, expected at most 65535",
                      (unsigned long)(name_end(directory, i) - name_begin(directory, i)));
    return ACCEPTED;
}

/* 3.2, rule 5. */
static status check_order(const struct directory *directory)
{
    struct name before = {NULL, 0};
    for (uint32_t i = 0; i < directory->tensors; i++) {
        uint32_t number = get32(entry_of(directory, i) + 32);
        report_place_tensor(i);
        if (number >= directory->tensors)
            return reject("name-order", "found tensor %lu by name, expected one below %lu",
                          (unsigned long)number, (unsigned long)directory->tensors);
        struct name name = name_of(directory, number);
        if (i > 0) {
            int order = compare_names(before.bytes, before.length, name.bytes, name.length);
            if (order > 0)
                return reject("name-order", "tensor %lu by name: found a lesser name than before "
                              "it, expected a greater one", (unsigned long)number);
            if (order == 0)
                return reject("name-duplicate", "tensor %lu by name: found the name before it "
                              "again", (unsigned long)number);
        }
        before = name;
    }
    return ACCEPTED;
}

/* 3.2, rules 2 to 5. */
status check_names(const struct directory *directory)
{
    for (uint32_t i = 0; i < directory->tensors; i++)
        TRY(check_ends(directory, i));
    for (uint32_t i = 0; i < directory->tensors; i++) {
        struct name name = name_of(directory, i);
        report_place_tensor(i);
        if (!is_utf8(name.bytes, name.length))
            return reject("name-utf8", "found a name that is not UTF-8");
    }
    return check_order(directory);
}

/* 4.1: the element count; more than 2^56 where it is greater than that, however much. */
static uint64_t count_elements(const uint8_t *dimensions, uint32_t rank)
{
    const uint64_t most = UINT64_C(1) << 56;
    uint64_t count = 1;
    for (uint32_t d = 0; d < rank; d++)
        if (get64(dimensions + 8 * d) == 0)
            return 0;
    for (uint32_t d = 0; d < rank; d++) {
        uint64_t dimension = get64(dimensions + 8 * d);
        if (dimension > most / count)
            return most + 1;
        count *= dimension;
    }
    return count;
}

/* 4.1: type and size of a tensor. */
status read_shape(const struct directory *directory, uint32_t i, struct tensor *tensor)
{
    const uint8_t *entry = entry_of(directory, i);
    uint32_t rank;
    const uint8_t *dimensions = dimensions_of(directory, i, &rank);
    report_place_tensor(i);
    tensor->type = dtype_of_code(entry[0]);
    if (tensor->type == NULL)
        return reject("dtype-unknown", "found code %u, expected 1 to 22", entry[0]);
    uint64_t elements = count_elements(dimensions, rank);
    if (elements > UINT64_C(1) << 56)
        return reject("limit-elements", "found a shape of more than 2^56 elements");
    uint64_t bits = elements * tensor->type->element_bits;
    if (bits % 8 != 0)
        return reject("tensor-bits", "found %llu bits, expected whole bytes",
                      (unsigned long long)bits);
    tensor->bytes = bits / 8;
    tensor->weights = tensor->bytes / tensor->type->weight_bytes;
    return ACCEPTED;
}

bool is_coded(uint8_t form)
{
    return form == FORM_HUFFMAN || form == FORM_PALETTE;
}

/* 5.1: the length of the verbatim record, the greatest that a record can have. */
uint64_t longest_record(uint64_t weights, unsigned bits)
{
    return align(16 + ceil_div(weights * bits, 8), 16);
}

/* Sections 2 and 3.5: what follows from type, size, forms and chunk size. */
void lay_out(struct tensor *tensor)
{
    const struct dtype *type = tensor->type;
    uint64_t fields = 0;
    tensor->palettes = 0;
    tensor->coded = 0;
    for (unsigned f = 0; f < type->fields; f++) {
        if (tensor->form[f] == FORM_PLAIN)
            continue;
        tensor->palettes++;
        fields |= field_mask(type, f);
        if (is_coded(tensor->form[f]))
            tensor->coded++;
    }
    tensor->plain_mask = ~fields & (UINT64_MAX >> (64 - 8 * type->weight_bytes));
    tensor->plain_bits = 0;
    for (unsigned b = 0; b < 64; b++)
        tensor->plain_bits += (unsigned)(tensor->plain_mask >> b & 1);
    tensor->plane_bytes = ceil_div(tensor->weights * tensor->plain_bits, 8);
    tensor->chunks = 0;
    if (tensor->coded > 0)
        tensor->chunks = ceil_div(tensor->weights, UINT64_C(1) << tensor->chunk_log2);
    tensor->blocks = 0;
    if (tensor->coded == 0 && tensor->plane_bytes > BLOCK_BYTES)
        tensor->blocks = ceil_div(tensor->plane_bytes, BLOCK_BYTES);
    tensor->alignment = tensor->bytes >= 65536 ? 256 : 16;
    tensor->blocks_at = align(tensor->plane_bytes, 4);
    tensor->palettes_at = align(tensor->blocks_at + 4 * tensor->blocks, tensor->alignment);
    tensor->ends_at = tensor->palettes_at + (uint64_t)PALETTE_BYTES * tensor->palettes;
    tensor->records_at = align(tensor->ends_at + 4 * tensor->chunks * tensor->coded, 16);
}

/* A tensor is decoded in pieces: its chunks, or 65,536 weights each if no field is coded. */
unsigned piece_log2(const struct tensor *tensor)
{
    return tensor->coded > 0 ? tensor->chunk_log2 : MAX_CHUNK_LOG2;
}

uint64_t pieces(const struct tensor *tensor)
{
    return ceil_div(tensor->weights, UINT64_C(1) << piece_log2(tensor));
}

uint32_t piece_weights(const struct tensor *tensor, uint64_t piece)
{
    uint64_t whole = UINT64_C(1) << piece_log2(tensor);
    uint64_t left = tensor->weights - piece * whole;
    return (uint32_t)(left < whole ? left : whole);
}

/* 4.2 */
static status read_forms(const uint8_t *entry, struct tensor *tensor)
{
    uint32_t forms = get32(entry + 4);
    for (unsigned f = 0; f < MAX_FIELDS; f++) {
        uint8_t form = (uint8_t)(forms >> 4 * f & 0xF);
        if (form > FORM_CONSTANT)
            return reject("form-unknown", "field %u: found form %u, expected 0 to 3", f, form);
        if (form != FORM_PLAIN && f >= tensor->type->fields)
            return reject("form-field", "field %u: found form %u, expected 0, for %s has %u "
                          "fields", f, form, tensor->type->name, tensor->type->fields);
        if (form == FORM_PALETTE && field_bits(tensor->type, f) <= 4)
            return reject("form-field", "field %u: found the form palette, expected another for "
                          "at most 4 bits", f);
        if (form != FORM_PLAIN && tensor->weights == 0)
            return reject("form-empty", "field %u: found form %u, expected 0", f, form);
        if (is_coded(form) && tensor->bytes > UINT64_C(1) << 36)
            return reject("limit-coded", "field %u: found %llu bytes, expected at most 2^36", f,
                          (unsigned long long)tensor->bytes);
        tensor->form[f] = form;
    }
    return ACCEPTED;
}

static status check_chunk_size(const struct tensor *tensor)
{
    unsigned k = tensor->chunk_log2;
    bool coded = false;
    for (unsigned f = 0; f < MAX_FIELDS; f++)
        coded = coded || is_coded(tensor->form[f]);
    if (coded && (k < MIN_CHUNK_LOG2 || k > MAX_CHUNK_LOG2))
        return reject("chunk-size", "found %u, expected 12 to 16", k);
    if (!coded && k != 0)
        return reject("chunk-size", "found %u, expected 0 without a coded field", k);
    return ACCEPTED;
}

/* 3.5: the greatest length of all records together. At most 2^36 bytes are coded. */
static uint64_t longest_records(const struct tensor *tensor)
{
    uint64_t sum = 0;
    for (unsigned f = 0; f < tensor->type->fields; f++) {
        if (!is_coded(tensor->form[f]))
            continue;
        unsigned bits = field_bits(tensor->type, f);
        sum += (tensor->chunks - 1) * longest_record(piece_weights(tensor, 0), bits);
        sum += longest_record(piece_weights(tensor, tensor->chunks - 1), bits);
    }
    return sum;
}

/* 3.5, rule 1. Sizes are below 2^62, so only a sum with a file offset can leave 64 bits. */
static status check_end(const struct tensor *tensor, uint64_t before)
{
    unsigned long long end = tensor->end;
    if (tensor->weights == 0) {
        if (tensor->end != before)
            return reject("payload-end", "found %llu, expected %llu without weights", end,
                          (unsigned long long)before);
        return ACCEPTED;
    }
    if (tensor->begin < before)
        return reject("payload-end", "found an aligned beginning of 2^64 or more");
    if (tensor->end < tensor->begin)
        return reject("payload-end", "found %llu, expected more than %llu", end,
                      (unsigned long long)tensor->begin);
    uint64_t size = tensor->end - tensor->begin;
    uint64_t expected = tensor->plane_bytes;
    if (tensor->blocks > 0)
        expected = tensor->blocks_at + 4 * tensor->blocks;
    if (tensor->palettes > 0)
        expected = tensor->ends_at;
    if (tensor->coded == 0) {
        if (size != expected)
            return reject("payload-end", "found a payload of %llu bytes, expected %llu",
                          (unsigned long long)size, (unsigned long long)expected);
        return ACCEPTED;
    }
    if (size < tensor->records_at)
        return reject("payload-end", "found a payload of %llu bytes, expected more than %llu",
                      (unsigned long long)size, (unsigned long long)tensor->records_at);
    uint64_t records = size - tensor->records_at;
    if (records % 16 != 0 || records < 16 * tensor->chunks * tensor->coded ||
        records > longest_records(tensor))
        return reject("payload-end", "found records of %llu bytes, expected a multiple of 16 from "
                      "%llu to %llu", (unsigned long long)records,
                      (unsigned long long)(16 * tensor->chunks * tensor->coded),
                      (unsigned long long)longest_records(tensor));
    return ACCEPTED;
}

/* Reads and checks entry i: 3.2, rule 6. */
status read_tensor(const struct directory *directory, uint32_t i, struct tensor *tensor)
{
    const uint8_t *entry = entry_of(directory, i);
    TRY(read_shape(directory, i, tensor));
    TRY(read_forms(entry, tensor));
    tensor->chunk_log2 = entry[1];
    TRY(check_chunk_size(tensor));
    lay_out(tensor);
    tensor->crc = get32(entry + 16);
    tensor->palette_crc = get32(entry + 20);
    if (tensor->palettes == 0 && tensor->palette_crc != 0)
        return reject("palette-crc", "found 0x%08lX, expected 0 without palettes",
                      (unsigned long)tensor->palette_crc);

    uint64_t before = directory->payload_begin;
    if (i > 0)
        before = get64(entry_of(directory, i - 1) + 8);
    tensor->end = get64(entry + 8);
    tensor->begin = tensor->weights == 0 ? before : align(before, tensor->alignment);
    return check_end(tensor, before);
}

/* 3.2. The directory checksum has been checked, and that all entries are there. */
status check_directory(const struct directory *directory)
{
    TRY(check_parts(directory));
    TRY(check_names(directory));
    for (uint32_t i = 0; i < directory->tensors; i++) {
        struct tensor tensor;
        TRY(read_tensor(directory, i, &tensor));
    }
    return ACCEPTED;
}
