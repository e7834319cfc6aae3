/* Section 3.3: the header of a safetensors file, and its comparison with the directory. */
#include "unweight.h"

#include <stdlib.h>
#include <string.h>

static bool name_is(const struct name *name, const char *text)
{
    return compare_names(name->bytes, name->length, (const uint8_t *)text, strlen(text)) == 0;
}

/* Doubles an array that is full. Its length stays in proportion to that of the JSON. */
static status grow(void **array, size_t *capacity, size_t used, size_t size)
{
    if (used < *capacity)
        return ACCEPTED;
    size_t more = *capacity == 0 ? 16 : 2 * *capacity;
    void *larger = realloc(*array, more * size);
    if (larger == NULL)
        return fail("no memory for the safetensors header");
    *array = larger;
    *capacity = more;
    return ACCEPTED;
}

static int by_bytes(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return compare_names(x->bytes, x->length, y->bytes, y->length);
}

/* The members of __metadata__ behind `{`, whose names are collected. */
static status metadata_members(struct scanner *scanner, struct name **names, size_t *count)
{
    size_t capacity = 0;
    json_space(scanner);
    if (json_next_is(scanner, '}'))
        return json_expect(scanner, '}');
    for (;;) {
        struct name value;
        TRY(grow((void **)names, &capacity, *count, sizeof **names));
        TRY(json_string(scanner, &(*names)[*count]));
        (*count)++;
        json_space(scanner);
        TRY(json_expect(scanner, ':'));
        json_space(scanner);
        TRY(json_string(scanner, &value));
        json_space(scanner);
        if (!json_next_is(scanner, ','))
            return json_expect(scanner, '}');
        TRY(json_expect(scanner, ','));
        json_space(scanner);
    }
}

static status metadata(struct scanner *scanner)
{
    struct name *names = NULL;
    size_t count = 0;
    if (json_next_is(scanner, 'n'))
        return json_null(scanner);
    TRY(json_expect(scanner, '{'));
    status result = metadata_members(scanner, &names, &count);
    if (result == ACCEPTED && count > 1) {
        qsort(names, count, sizeof *names, by_bytes);
        for (size_t i = 1; i < count; i++)
            if (by_bytes(&names[i - 1], &names[i]) == 0)
                result = reject("source-header", "__metadata__: found a name twice");
    }
    free(names);
    return result;
}

static status shape(struct scanner *scanner, struct safetensors *header, struct member *member)
{
    member->first_dimension = header->dimensions;
    TRY(json_expect(scanner, '['));
    json_space(scanner);
    if (!json_next_is(scanner, ']')) {
        for (;;) {
            TRY(grow((void **)&header->dimension, &header->dimension_capacity, header->dimensions,
                     sizeof *header->dimension));
            TRY(json_integer(scanner, &header->dimension[header->dimensions]));
            header->dimensions++;
            json_space(scanner);
            if (!json_next_is(scanner, ','))
                break;
            TRY(json_expect(scanner, ','));
            json_space(scanner);
        }
    }
    TRY(json_expect(scanner, ']'));
    member->rank = header->dimensions - member->first_dimension;
    return ACCEPTED;
}

static status data_offsets(struct scanner *scanner, struct member *member)
{
    TRY(json_expect(scanner, '['));
    json_space(scanner);
    TRY(json_integer(scanner, &member->begin));
    json_space(scanner);
    TRY(json_expect(scanner, ','));
    json_space(scanner);
    TRY(json_integer(scanner, &member->end));
    json_space(scanner);
    TRY(json_expect(scanner, ']'));
    if (member->begin > member->end)
        return reject("source-header", "member %llu: found data_offsets that decrease",
                      (unsigned long long)member->order);
    return ACCEPTED;
}

/* dtype, shape and data_offsets of a tensor, each once, in any order. */
static status tensor_member(struct scanner *scanner, struct safetensors *header,
                            struct member *member)
{
    bool have_type = false, have_shape = false, have_offsets = false;
    TRY(json_expect(scanner, '{'));
    for (int i = 0; i < 3; i++) {
        struct name key;
        json_space(scanner);
        if (i > 0) {
            TRY(json_expect(scanner, ','));
            json_space(scanner);
        }
        TRY(json_string(scanner, &key));
        json_space(scanner);
        TRY(json_expect(scanner, ':'));
        json_space(scanner);
        if (!have_type && name_is(&key, "dtype")) {
            struct name type;
            have_type = true;
            TRY(json_string(scanner, &type));
            member->type = dtype_of_name(type.bytes, type.length);
            if (member->type == NULL)
                return json_error(scanner, "a dtype of section 4.1 before it");
        } else if (!have_shape && name_is(&key, "shape")) {
            have_shape = true;
            TRY(shape(scanner, header, member));
        } else if (!have_offsets && name_is(&key, "data_offsets")) {
            have_offsets = true;
            TRY(data_offsets(scanner, member));
        } else {
            return json_error(scanner, "dtype, shape and data_offsets, each once");
        }
    }
    json_space(scanner);
    return json_expect(scanner, '}');
}

/* The outermost object. */
static status members(struct scanner *scanner, struct safetensors *header)
{
    bool have_metadata = false;
    TRY(json_expect(scanner, '{'));
    json_space(scanner);
    if (json_next_is(scanner, '}'))
        return json_expect(scanner, '}');
    for (;;) {
        struct name name;
        TRY(json_string(scanner, &name));
        json_space(scanner);
        TRY(json_expect(scanner, ':'));
        json_space(scanner);
        if (name_is(&name, "__metadata__")) {
            if (have_metadata)
                return json_error(scanner, "__metadata__ once");
            have_metadata = true;
            TRY(metadata(scanner));
        } else {
            TRY(grow((void **)&header->member, &header->member_capacity, header->members,
                     sizeof *header->member));
            struct member *member = &header->member[header->members];
            member->name = name;
            member->order = header->members;
            header->members++;
            TRY(tensor_member(scanner, header, member));
        }
        json_space(scanner);
        if (!json_next_is(scanner, ','))
            return json_expect(scanner, '}');
        TRY(json_expect(scanner, ','));
        json_space(scanner);
    }
}

/* 3.3, rule 3. */
static int by_offsets(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int by_member_name(const void *a, const void *b)
{
    const struct member *const *x = a, *const *y = b;
    return by_bytes(&(*x)->name, &(*y)->name);
}

static status sort_members(struct safetensors *header)
{
    uint64_t expected = 0;
    if (header->members == 0)
        return ACCEPTED;
    qsort(header->member, header->members, sizeof *header->member, by_offsets);
    for (size_t i = 0; i < header->members; i++) {
        if (header->member[i].begin != expected)
            return reject("source-header", "tensor %llu: found begin %llu, expected %llu",
                          (unsigned long long)i, (unsigned long long)header->member[i].begin,
                          (unsigned long long)expected);
        expected = header->member[i].end;
    }
    header->by_name = malloc(header->members * sizeof *header->by_name);
    if (header->by_name == NULL)
        return fail("no memory for the safetensors header");
    for (size_t i = 0; i < header->members; i++)
        header->by_name[i] = &header->member[i];
    qsort(header->by_name, header->members, sizeof *header->by_name, by_member_name);
    for (size_t i = 1; i < header->members; i++)
        if (by_member_name(&header->by_name[i - 1], &header->by_name[i]) == 0)
            return reject("source-header", "found a name twice");
    return ACCEPTED;
}

/* 3.3, rules 1 to 3. Whatever the result, the caller frees the header. */
status read_safetensors(const uint8_t *json, size_t length, struct safetensors *header)
{
    memset(header, 0, sizeof *header);
    if (!is_utf8(json, length))
        return reject("source-header", "found JSON that is not UTF-8");
    header->text = malloc(length + 1);
    if (header->text == NULL)
        return fail("no memory for the safetensors header");
    struct scanner scanner = {json, length, 0, header->text, 0};
    TRY(members(&scanner, header));
    json_space(&scanner);
    if (scanner.at != length)
        return json_error(&scanner, "nothing but white space");
    return sort_members(header);
}

void free_safetensors(struct safetensors *header)
{
    free(header->member);
    free(header->by_name);
    free(header->dimension);
    free(header->text);
}

/* 3.3, rule 4, for one tensor. */
static status compare_with_entry(const struct directory *directory, uint32_t i,
                                 const struct safetensors *header)
{
    const struct member *member = &header->member[i];
    struct name name = name_of(directory, i);
    struct tensor tensor;
    uint32_t rank;
    const uint8_t *dimensions = dimensions_of(directory, i, &rank);
    TRY(read_tensor(directory, i, &tensor));
    if (by_bytes(&member->name, &name) != 0)
        return reject("source-header", "found another name than the directory has");
    if (strcmp(member->type->name, tensor.type->name) != 0)
        return reject("source-header", "found dtype %s, expected %s", member->type->name,
                      tensor.type->name);
    if (member->rank != rank)
        return reject("source-header", "found %llu dimensions, expected %lu",
                      (unsigned long long)member->rank, (unsigned long)rank);
    for (uint32_t d = 0; d < rank; d++) {
        uint64_t dimension = header->dimension[member->first_dimension + d];
        if (dimension != get64(dimensions + 8 * d))
            return reject("source-header", "dimension %lu: found %llu, expected %llu",
                          (unsigned long)d, (unsigned long long)dimension,
                          (unsigned long long)get64(dimensions + 8 * d));
    }
    if (member->end - member->begin != tensor.bytes)
        return reject("source-header", "found %llu bytes of data, expected %llu",
                      (unsigned long long)(member->end - member->begin),
                      (unsigned long long)tensor.bytes);
    return ACCEPTED;
}

/* 3.3, rules 1 to 4. The source checksum has been checked. */
status check_source(const struct file *file)
{
    if (file->source_kind != KIND_SAFETENSORS)
        return ACCEPTED;
    uint64_t json_length = get64(file->source);
    if (json_length != file->source_length - 8)
        return reject("source-header", "found a JSON length of %llu, expected %llu",
                      (unsigned long long)json_length,
                      (unsigned long long)(file->source_length - 8));
    struct safetensors header;
    status result = read_safetensors(file->source + 8, (size_t)json_length, &header);
    if (result == ACCEPTED && header.members != file->directory.tensors)
        result = reject("source-header", "found %llu tensors, expected %lu",
                        (unsigned long long)header.members,
                        (unsigned long)file->directory.tensors);
    for (uint32_t i = 0; result == ACCEPTED && i < file->directory.tensors; i++)
        result = compare_with_entry(&file->directory, i, &header);
    free_safetensors(&header);
    return result;
}
