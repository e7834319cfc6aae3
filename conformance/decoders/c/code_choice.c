/* Sections 11.2 to 11.4: which form, palette and code an encoder takes. */
#include "unweight.h"

#include <string.h>

/* The values that a palette of a field of so many bits has (3.5). */
unsigned palette_entries(unsigned bits)
{
    return bits < 4 ? 1u << bits : 16;
}

/* 11.3 */
void make_palette(const uint64_t counts[256], unsigned bits, uint8_t palette[16])
{
    unsigned values = 1u << bits;
    bool taken[256] = {false};
    unsigned entries = 0;
    memset(palette, 0, PALETTE_BYTES);
    if (bits <= 4) {
        for (unsigned j = 0; j < values; j++)
            palette[j] = (uint8_t)j;
        return;
    }
    unsigned greatest = 0;
    for (unsigned x = 0; x < values; x++)
        if (counts[x] > 0)
            greatest = x;
    while (entries < 16) {
        unsigned best = values;
        for (unsigned x = 0; x < values; x++) {
            if (taken[x] || counts[x] == 0)
                continue;
            if (best == values || counts[x] > counts[best])
                best = x;
        }
        if (best == values)
            break;
        taken[best] = true;
        entries++;
    }
    for (unsigned x = greatest; x > 0 && entries < 16; x--) {
        if (taken[x - 1])
            continue;
        taken[x - 1] = true;
        entries++;
    }
    for (unsigned x = greatest + 1; entries < 16; x++) {
        taken[x] = true;
        entries++;
    }
    unsigned j = 0;
    for (unsigned x = 0; x < values; x++) {
        if (!taken[x])
            continue;
        palette[j] = (uint8_t)x;
        j++;
    }
}

/* An element of the lists of package-merge: how often each palette entry is in its multiset. */
struct package {
    uint64_t count;
    uint8_t times[16];
};

/* Of equal counts, items stand before packages. Returns the length of the merged list. */
static unsigned merge(const struct package *items, unsigned item_count,
                      const struct package *packages, unsigned package_count,
                      struct package *merged)
{
    unsigned i = 0, p = 0;
    while (i < item_count || p < package_count) {
        bool item = p == package_count ||
                    (i < item_count && items[i].count <= packages[p].count);
        merged[i + p] = item ? items[i] : packages[p];
        if (item)
            i++;
        else
            p++;
    }
    return i + p;
}

/* 11.4: package_merge, for items sorted by (count, entry), at least two. */
static void package_merge(const struct package *items, unsigned count, uint8_t length[16])
{
    struct package list[32], packages[16];
    unsigned list_length = count;
    memcpy(list, items, count * sizeof *items);
    for (int round = 0; round < 7; round++) {
        unsigned pairs = list_length / 2;
        for (unsigned i = 0; i < pairs; i++) {
            packages[i].count = list[2 * i].count + list[2 * i + 1].count;
            for (unsigned j = 0; j < 16; j++)
                packages[i].times[j] =
                    (uint8_t)(list[2 * i].times[j] + list[2 * i + 1].times[j]);
        }
        list_length = merge(items, count, packages, pairs, list);
    }
    for (unsigned j = 0; j < 16; j++)
        if (length[j] != NO_CODE)
            for (unsigned i = 0; i < 2 * count - 2; i++)
                length[j] = (uint8_t)(length[j] + list[i].times[j]);
}

/* 11.4: code_of, for the entries of which `in_set` is true. */
static struct code code_of(const bool in_set[16], const uint64_t counts[256],
                           const uint8_t palette[16])
{
    struct code code;
    struct package items[16];
    unsigned count = 0;
    for (unsigned j = 0; j < 16; j++) {
        code.length[j] = in_set[j] ? 0 : NO_CODE;
        if (!in_set[j])
            continue;
        unsigned at = count;
        while (at > 0 && items[at - 1].count > counts[palette[j]]) {
            items[at] = items[at - 1];
            at--;
        }
        memset(&items[at], 0, sizeof items[at]);
        items[at].count = counts[palette[j]];
        items[at].times[j] = 1;
        count++;
    }
    if (count > 1)
        package_merge(items, count, code.length);
    code.placeholder = 0;
    for (unsigned j = 1; j < 16; j++)
        if (code.length[j] < code.length[code.placeholder])
            code.placeholder = j;
    return code;
}

static uint64_t sum_of(const uint64_t counts[256])
{
    uint64_t sum = 0;
    for (unsigned x = 0; x < 256; x++)
        sum += counts[x];
    return sum;
}

/* 11.4: the cost in bits. */
uint64_t code_cost(const struct code *code, const uint64_t counts[256], const uint8_t palette[16],
                   unsigned entries)
{
    uint64_t cost = 0, with_code = 0;
    for (unsigned j = 0; j < entries; j++) {
        if (code->length[j] == NO_CODE)
            continue;
        cost += counts[palette[j]] * code->length[j];
        with_code += counts[palette[j]];
    }
    return cost + (sum_of(counts) - with_code) * (code->length[code->placeholder] + 24u);
}

/* 11.4: choose_code. */
struct code choose_code(const uint64_t counts[256], uint64_t weights, const uint8_t palette[16],
                        unsigned entries)
{
    bool first[16] = {false}, second[16] = {false};
    unsigned first_size = 0, second_size = 0, greatest = 0;
    uint64_t inside = 0;
    for (unsigned j = 0; j < entries; j++) {
        uint64_t h = counts[palette[j]];
        if (h > counts[palette[greatest]])
            greatest = j;
        first[j] = 4096 * h >= weights && h > 0;
        second[j] = 64 * h >= weights;
        if (first[j])
            first_size++;
        if (!second[j])
            continue;
        second_size++;
        inside += h;
    }
    if (first_size == 0)
        first[greatest] = true;
    struct code code = code_of(first, counts, palette);
    if (second_size == 0 || second_size == first_size || 64 * (weights - inside) > weights)
        return code;
    struct code other = code_of(second, counts, palette);
    if (code_cost(&other, counts, palette, entries) < code_cost(&code, counts, palette, entries))
        return other;
    return code;
}

/* 11.2, for a field of a tensor with weights; `counts` are of all of them. */
uint8_t choose_form(uint8_t encoding, unsigned bits, const struct tensor *tensor,
                    unsigned chunk_log2, const uint64_t counts[256], const uint64_t sample[256])
{
    uint64_t n = tensor->weights;
    uint8_t palette[16];
    for (unsigned x = 0; x < 256; x++)
        if (counts[x] == n && n * bits > 128)
            return FORM_CONSTANT;
    if (tensor->bytes > UINT64_C(1) << 36)
        return FORM_PLAIN;
    if (encoding == FORM_PALETTE && bits <= 4)
        return FORM_PLAIN;

    uint64_t sampled = sum_of(sample);
    uint64_t chunk = UINT64_C(1) << chunk_log2;
    uint64_t y = n < chunk ? n : chunk;
    uint64_t z;
    unsigned entries = palette_entries(bits);
    make_palette(sample, bits, palette);
    if (encoding == FORM_HUFFMAN) {
        struct code code = choose_code(sample, sampled, palette, entries);
        z = code_cost(&code, sample, palette, entries) * y + 800 * sampled;
    } else {
        uint64_t outside = sampled;
        for (unsigned j = 0; j < entries; j++)
            outside -= sample[palette[j]];
        z = (4 * sampled + 24 * outside) * y + 160 * sampled;
    }
    return 64 * z < 63 * bits * sampled * y ? encoding : FORM_PLAIN;
}
