/* Section 4.1: the table of types and their fields. */
#include "unweight.h"

#include <string.h>

#define INTEGER_8 {7, 4}, {3, 1}
#define INTEGER_16 {15, 12}, {11, 8}, INTEGER_8
#define INTEGER_32 {31, 28}, {27, 24}, {23, 20}, {19, 16}, INTEGER_16
#define INTEGER_64 {63, 56}, {55, 48}, {47, 40}, {39, 32}, {31, 24}, {23, 16}, {15, 8}, {7, 1}

static const struct dtype types[] = {
    {"BOOL", 1, 8, 1, 2, {INTEGER_8}},
    {"U8", 2, 8, 1, 2, {INTEGER_8}},
    {"I8", 3, 8, 1, 2, {INTEGER_8}},
    {"F8_E5M2", 4, 8, 1, 2, {{6, 2}, {1, 0}}},
    {"F8_E4M3", 5, 8, 1, 2, {{6, 3}, {2, 0}}},
    {"F8_E8M0", 6, 8, 1, 1, {{7, 1}}},
    {"F8_E4M3FNUZ", 7, 8, 1, 2, {{6, 3}, {2, 0}}},
    {"F8_E5M2FNUZ", 8, 8, 1, 2, {{6, 2}, {1, 0}}},
    {"F4", 9, 4, 1, 2, {INTEGER_8}},
    {"F6_E2M3", 10, 6, 1, 0, {{0, 0}}},
    {"F6_E3M2", 11, 6, 1, 0, {{0, 0}}},
    {"I16", 12, 16, 2, 4, {INTEGER_16}},
    {"U16", 13, 16, 2, 4, {INTEGER_16}},
    {"F16", 14, 16, 2, 4, {{14, 10}, {9, 7}, {6, 3}, {2, 0}}},
    {"BF16", 15, 16, 2, 3, {{14, 7}, {6, 4}, {3, 0}}},
    {"I32", 16, 32, 4, 8, {INTEGER_32}},
    {"U32", 17, 32, 4, 8, {INTEGER_32}},
    {"F32", 18, 32, 4, 6, {{30, 23}, {22, 20}, {19, 16}, {15, 13}, {12, 8}, {7, 0}}},
    {"I64", 19, 64, 8, 8, {INTEGER_64}},
    {"U64", 20, 64, 8, 8, {INTEGER_64}},
    {"F64", 21, 64, 8, 8,
     {{59, 52}, {62, 60}, {47, 40}, {39, 32}, {31, 24}, {23, 16}, {15, 8}, {7, 0}}},
    {"C64", 22, 64, 8, 8,
     {{30, 23}, {22, 16}, {15, 8}, {7, 0}, {62, 55}, {54, 48}, {47, 40}, {39, 32}}},
};

enum { TYPES = sizeof types / sizeof types[0] };

/* Returns NULL if there is no such type. */
const struct dtype *dtype_of_code(uint8_t code)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].code == code)
            return &types[i];
    return NULL;
}

/* Returns NULL if there is no such type. */
const struct dtype *dtype_of_name(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < TYPES; i++) {
        const uint8_t *known = (const uint8_t *)types[i].name;
        if (compare_names(known, strlen(types[i].name), name, length) == 0)
            return &types[i];
    }
    return NULL;
}

/* w */
unsigned field_bits(const struct dtype *type, unsigned field)
{
    return (unsigned)type->field[field].high - type->field[field].low + 1;
}

uint64_t field_mask(const struct dtype *type, unsigned field)
{
    return ((UINT64_C(1) << field_bits(type, field)) - 1) << type->field[field].low;
}
