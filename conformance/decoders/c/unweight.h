/* Unweight, a codec written from spec/unweight.md alone: what its modules share.
 *
 * Section numbers in comments are those of the specification. The modules stand below in the
 * order of the specification. */
#ifndef UNWEIGHT_H
#define UNWEIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The result of every function that can fail; it is also the exit code of the programs. */
typedef enum {
    ACCEPTED = 0,
    REJECTED = 1, /* the input breaks a rule of section 10 */
    FAILED = 2    /* input or output, memory, wrong use */
} status;

#define TRY(call)                     \
    do {                              \
        status tried = (call);        \
        if (tried != ACCEPTED)        \
            return tried;             \
    } while (0)

enum {
    HEADER_BYTES = 64,
    ENTRY_BYTES = 40,
    GUARD_BYTES = 64,
    PALETTE_BYTES = 16,
    BLOCK_BYTES = 65536,
    STEP = 256,
    LANES = 32,
    MAX_FIELDS = 8,
    MIN_CHUNK_LOG2 = 12,
    MAX_CHUNK_LOG2 = 16,
    MAX_CHUNK = 65536,
    MAX_RANK = 64,
    MAX_NAME = 65535,
    MAX_TENSORS = 1 << 20,
    MAX_PART = 1 << 28, /* bytes of the directory, of the source section, of the extensions */
    KIND_SAFETENSORS = 1,
    NO_CODE = 15
};

enum { FORM_PLAIN = 0, FORM_HUFFMAN = 1, FORM_PALETTE = 2, FORM_CONSTANT = 3 };
enum { RECORD_VERBATIM = 0, RECORD_HUFFMAN = 1, RECORD_PALETTE = 2 };

/* report.c: the one line that a program writes when it does not accept. */
status reject(const char *rule, const char *format, ...);
status fail(const char *format, ...);
void report_place_file(void);
void report_place_tensor(uint32_t tensor);
void report_place_record(uint32_t tensor, uint64_t chunk, unsigned field);
int report_exit(status result);

/* bits.c: section 2. */
uint16_t get16(const uint8_t *bytes);
uint32_t get32(const uint8_t *bytes);
uint64_t get64(const uint8_t *bytes);
void put16(uint8_t *bytes, uint16_t value);
void put32(uint8_t *bytes, uint32_t value);
void put64(uint8_t *bytes, uint64_t value);
uint64_t get_bits(const uint8_t *string, uint64_t first, unsigned count);
void put_bits(uint8_t *zeroed, uint64_t first, unsigned count, uint64_t value);
bool padding_bits_are_zero(const uint8_t *string, uint64_t bits);
bool all_zero(const uint8_t *bytes, uint64_t count);
uint64_t align(uint64_t x, uint64_t k);
uint64_t ceil_div(uint64_t a, uint64_t b);
bool is_utf8(const uint8_t *bytes, size_t count);
int compare_names(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length);
uint64_t pext(uint64_t x, uint64_t mask);
uint64_t pdep(uint64_t r, uint64_t mask);

/* crc32.c: section 8. */
uint32_t crc32(const uint8_t *bytes, uint64_t count);
uint32_t crc32_more(uint32_t crc, const uint8_t *bytes, uint64_t count);
status check_crc(const char *rule, uint32_t found, uint32_t expected);

/* types.c: section 4.1. */
struct field {
    uint8_t high, low; /* bits [high..low] of a weight */
};

struct dtype {
    const char *name;
    uint8_t code, element_bits, weight_bytes, fields;
    struct field field[MAX_FIELDS];
};

const struct dtype *dtype_of_code(uint8_t code);
const struct dtype *dtype_of_name(const uint8_t *name, size_t length);
unsigned field_bits(const struct dtype *type, unsigned field);
uint64_t field_mask(const struct dtype *type, unsigned field);

/* directory.c: sections 3.2, 4.1, 4.2 and the payload ends of 3.5. */
struct directory {
    const uint8_t *bytes;
    uint64_t length;
    uint32_t tensors;
    uint64_t payload_begin; /* P0 */
};

/* A directory entry, and what follows from it. Offsets of parts count from `begin`. */
struct tensor {
    const struct dtype *type;
    uint64_t bytes, weights;     /* of the original data; n */
    uint8_t form[MAX_FIELDS];
    unsigned chunk_log2;         /* k; 0 if no field is coded */
    uint32_t crc, palette_crc;
    uint64_t plain_mask;         /* M */
    unsigned plain_bits;         /* W */
    unsigned palettes, coded;    /* m, q */
    uint64_t chunks, blocks;     /* c, b */
    uint64_t plane_bytes;        /* P */
    uint64_t alignment;          /* A */
    uint64_t blocks_at, palettes_at, ends_at, records_at; /* C, G, the record ends, R */
    uint64_t begin, end;         /* B, E: file offsets */
};

struct name {
    const uint8_t *bytes;
    size_t length;
};

status check_directory(const struct directory *directory);
status check_names(const struct directory *directory);
status read_tensor(const struct directory *directory, uint32_t i, struct tensor *tensor);
status read_shape(const struct directory *directory, uint32_t i, struct tensor *tensor);
const uint8_t *entry_of(const struct directory *directory, uint32_t i);
struct name name_of(const struct directory *directory, uint32_t i);
const uint8_t *dimensions_of(const struct directory *directory, uint32_t i, uint32_t *rank);
void lay_out(struct tensor *tensor);
bool is_coded(uint8_t form);
uint64_t longest_record(uint64_t weights, unsigned bits);
unsigned piece_log2(const struct tensor *tensor);
uint32_t piece_weights(const struct tensor *tensor, uint64_t piece);
uint64_t pieces(const struct tensor *tensor);

/* container.c: sections 3.1, 3.4 and the padding of 3.5. */
struct file {
    const uint8_t *bytes;
    uint64_t length;
    struct directory directory;
    unsigned source_kind;
    const uint8_t *source, *extensions;
    uint64_t source_length, extension_length;
};

status open_file(const uint8_t *bytes, uint64_t length, struct file *file);
status check_padding(const struct file *file);

/* json.c and safetensors.c: section 3.3. */
struct scanner {
    const uint8_t *json;
    size_t length, at;
    uint8_t *text; /* strings with their escapes resolved, one after another */
    size_t text_length;
};

status json_error(const struct scanner *scanner, const char *expected);
void json_space(struct scanner *scanner);
bool json_next_is(struct scanner *scanner, char character);
status json_expect(struct scanner *scanner, char character);
status json_string(struct scanner *scanner, struct name *string);
status json_integer(struct scanner *scanner, uint64_t *value);
status json_null(struct scanner *scanner);

struct member {
    struct name name;
    const struct dtype *type;
    size_t first_dimension, rank;
    uint64_t begin, end;
    size_t order; /* its number in the JSON */
};

struct safetensors {
    struct member *member; /* in the order of 3.3 */
    const struct member **by_name;
    size_t members, member_capacity;
    uint64_t *dimension;
    size_t dimensions, dimension_capacity;
    uint8_t *text;
};

status read_safetensors(const uint8_t *json, size_t length, struct safetensors *header);
void free_safetensors(struct safetensors *header);
status check_source(const struct file *file);

/* huffman.c: section 6. */
struct decode_table {
    uint8_t entry[256], length[256];
};

void canonical_codes(const uint8_t length[16], uint8_t reversed[16]);
status make_table(const uint8_t length[16], unsigned entries, struct decode_table *table);

/* record.c: section 5. */
struct record {
    const uint8_t *bytes;
    size_t length;
    uint8_t form;
    unsigned bits;          /* w */
    const uint8_t *palette;
    uint32_t weights;       /* n */
};

status decode_record(const struct record *record, uint8_t *values);

/* tensor.c: the payload rules of section 3.5, section 7. */
status check_tensor(const struct file *file, uint32_t i, const struct tensor *tensor);
status decode_piece(const struct file *file, uint32_t i, const struct tensor *tensor,
                    uint64_t piece, uint64_t *weights);
status decode_tensors(const struct file *file, FILE *output);

/* code_choice.c: sections 11.2 to 11.4. */
struct code {
    uint8_t length[16]; /* NO_CODE where an entry has none */
    unsigned placeholder;
};

unsigned palette_entries(unsigned bits);
void make_palette(const uint64_t counts[256], unsigned bits, uint8_t palette[16]);
uint64_t code_cost(const struct code *code, const uint64_t counts[256], const uint8_t palette[16],
                   unsigned entries);
struct code choose_code(const uint64_t counts[256], uint64_t weights, const uint8_t palette[16],
                        unsigned entries);
uint8_t choose_form(uint8_t encoding, unsigned bits, const struct tensor *tensor,
                    unsigned chunk_log2, const uint64_t counts[256], const uint64_t sample[256]);

/* record_writer.c: sections 11.5 to 11.7. */
enum { MAX_RECORD = 16 + MAX_CHUNK };

struct coded_field {
    uint8_t form;
    unsigned bits;
    uint8_t palette[16];
    struct code code; /* of the whole tensor */
};

size_t write_record(const struct coded_field *field, const uint8_t *values, uint32_t weights,
                    uint8_t record[MAX_RECORD]);

/* writer.c: sections 11.1 and 11.8. */
struct output {
    FILE *file;
    uint64_t at;
};

/* Gives weights first..first+count of a tensor: a piece of it, as directory.c has pieces. */
struct weight_reader {
    status (*read)(const void *context, uint64_t first, uint32_t count, uint64_t *weights);
    const void *context;
};

status write_bytes(struct output *output, const uint8_t *bytes, uint64_t count);
status write_zeros_to(struct output *output, uint64_t offset);
status begin_container(struct output *output, uint64_t directory_length, const uint8_t *source,
                       uint64_t source_length);
status finish_container(struct output *output, const uint8_t *directory, uint64_t directory_length,
                        uint32_t tensors, unsigned source_kind, const uint8_t *source,
                        uint64_t source_length);
status write_tensor(struct output *output, struct tensor *tensor,
                    const struct weight_reader *reader, const uint64_t counts[MAX_FIELDS][256]);
void count_values(const struct tensor *tensor, const uint64_t *weights, uint32_t count,
                  uint64_t counts[MAX_FIELDS][256]);
void put_entry(uint8_t *entry, const struct tensor *tensor);

/* encoder.c: section 11.1 and the sample of 11.2; transcoder.c: section 11.9. */
status encode(const uint8_t *source, uint64_t length, uint8_t encoding, unsigned chunk_log2,
              FILE *output);
status prepare_transcoding(const uint8_t *bytes, uint64_t length, struct file *file);
status transcode(const struct file *file, uint8_t encoding, FILE *output);

/* program.c: what the main programs share. */
status read_input(const char *path, uint8_t **bytes, uint64_t *length);
status close_output(FILE *output, const char *path, status result);
status parse_encoding(const char *word, uint8_t *encoding);

#endif
