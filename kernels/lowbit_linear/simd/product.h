// Products of two integer matrices in planes, exact, by counting bits.
//
// Two bipolar ones: Σ 2^(i + j) (K - 2 |a_i ^ b_j|). Else, for v = o + Σ c_i a_i and w = p + Σ d_j b_j, one of o and p 0:
// Σ c_i d_j |a_i & b_j| + p Σ c_i |a_i| + o Σ d_j |b_j|. Bits filled up are 0 in both and add nothing.
#pragma once

#include "tables.h"

#include <vector>

namespace {

struct Planes {
    const uint8_t *bytes;  // [bits][rows][wide]
    int64_t bits, rows, wide;
    bool bipolar;

    const uint8_t *row(int64_t plane, int64_t r) const { return bytes + (plane * rows + r) * wide; }
    int64_t weight(int64_t i) const { return bipolar ? 2 << i : (i == bits - 1 ? -(1 << i) : 1 << i); }
    int64_t offset() const { return bipolar ? 1 - (1 << bits) : 0; }
};

struct And {
    template <class T> static T of(T a, T b) { return a & b; }
};
struct Xor {
    template <class T> static T of(T a, T b) { return a ^ b; }
};

// How many bits are set in HOW of two rows of `wide` bytes: of nibbles by a table, V bytes at a time, then of words.
template <class HOW> inline int64_t counted(const uint8_t *a, const uint8_t *b, int64_t wide) {
    int64_t found = 0, k = 0;
#if TABLES
    static const uint8_t ones[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    const Bits table = spread(ones), nibble = all(15);
    while (k + V <= wide) {
        Bytes bytes = {};
        for (int left = 31; left && k + V <= wide; --left, k += V) {  // 31 * 8 < 256
            const Bits both = HOW::of(load<Bits>(a + k, a + wide), load<Bits>(b + k, b + wide));
            bytes += (Bytes)lookup(table, both & nibble) + (Bytes)lookup(table, both >> 4 & nibble);
        }
        const Bits sums = added(bytes);
        for (int t = 0; t < V / 8; ++t) found += sums[t];
    }
#endif
    for (; k < wide; k += 8)
        found += __builtin_popcountll(HOW::of(load<uint64_t>(a + k, a + wide), load<uint64_t>(b + k, b + wide)));
    return found;
}

// Σ c_i |a_i| of a row.
inline int64_t weighed(const Planes &a, int64_t r) {
    int64_t total = 0;
    for (int64_t i = 0; i < a.bits; ++i) total += a.weight(i) * counted<And>(a.row(i, r), a.row(i, r), a.wide);
    return total;
}

// Columns [first, last) of out [a.rows, b.rows].
void multiply(const Planes &a, const Planes &b, int64_t columns, int32_t *out, int64_t first, int64_t last) {
    const bool both = a.bipolar && b.bipolar;
    const int64_t o = a.offset(), p = b.offset();
    std::vector<int64_t> more(a.rows, 0);
    if (!both && p != 0)
        for (int64_t s = 0; s < a.rows; ++s) more[s] = p * weighed(a, s);
    for (int64_t r = first; r < last; ++r) {
        const int64_t own = !both && o != 0 ? o * weighed(b, r) : 0;
        for (int64_t s = 0; s < a.rows; ++s) {
            int64_t total = both ? 0 : more[s] + own;
            for (int64_t i = 0; i < a.bits; ++i)
                for (int64_t j = 0; j < b.bits; ++j)
                    total += both ? (columns - 2 * counted<Xor>(a.row(i, s), b.row(j, r), a.wide)) << (i + j)
                                  : a.weight(i) * b.weight(j) * counted<And>(a.row(i, s), b.row(j, r), a.wide);
            out[s * b.rows + r] = static_cast<int32_t>(total);
        }
    }
}

}  // namespace
