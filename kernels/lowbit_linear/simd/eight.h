// Inputs in 8-bit integers: codes are put together from the planes in registers and multiplied as bytes, exactly.
//
// A code is taken less the lowest of its format, so that it is not negative: v = step c + low, and the sum over a group
// is step Σ c x + low Σ x. Codes come four bits at a time (those of 5 to 8 bits in two halves), in the order of codes.h:
// vector j has columns 8 b + j for each byte b. One instruction multiplies them with bytes of x and adds neighbours; 8
// such vectors fit 16 bits: 8 * 2 * 15 * 128 < 2^15. Sums of a group are int32 and wrap, which is right where the whole fits.
#pragma once

#include "codes.h"

#include <cmath>

namespace {

typedef int16_t Words __attribute__((vector_size(V)));
typedef uint32_t Ints __attribute__((vector_size(V)));

struct Eight {
    Job job;
    const void *x;       // [samples][columns] of int8, or of floats
    const float *steps;  // the scale of a sample, `each` apart: 0, or 1
    int64_t each;
    bool floats;
    float low, high, zero;
};

// A sample's codes of floats: over its step, half to even, within [low, high], less zero. Whether all are numbers.
inline bool rounded(const Eight &e, int64_t n, float step, int8_t *to) {
    const float *x = static_cast<const float *>(e.x) + n * e.job.columns;
    int bad = 0;
    for (int64_t c = 0; c < e.job.columns; ++c) {
        float u = std::nearbyintf(x[c] / step);
        u = u > e.low ? u : e.low;  // NaN is the lowest here
        to[c] = static_cast<int8_t>((u < e.high ? u : e.high) - e.zero);
        bad |= x[c] != x[c];
    }
    return !bad;
}

// Of each pair of bytes c0 x0 + c1 x1, for c in [0, 15] and x int8.
inline Words pairs(Bits codes, Bits x) {
#if defined(__AVX512BW__) && VECTOR == 64
    return (Words)_mm512_maddubs_epi16((__m512i)codes, (__m512i)x);
#elif defined(__AVX2__) && VECTOR == 32
    return (Words)_mm256_maddubs_epi16((__m256i)codes, (__m256i)x);
#else
    const Words c = (Words)codes, y = (Words)x;
    return (c & 255) * ((y << 8) >> 8) + (c >> 8) * (y >> 8);
#endif
}

// Neighbours added.
inline Ints quads(Words two) {
#if defined(__AVX512BW__) && VECTOR == 64
    return (Ints)_mm512_madd_epi16((__m512i)two, _mm512_set1_epi16(1));
#elif defined(__AVX2__) && VECTOR == 32
    return (Ints)_mm256_madd_epi16((__m256i)two, _mm256_set1_epi16(1));
#else
    typedef int32_t Signed __attribute__((vector_size(V)));
    const Signed both = (Signed)two;
    return (Ints)(((Signed)((Ints)both << 16) >> 16) + (both >> 16));
#endif
}

// Codes of up to FIELD bits, 1, 2 or 4, as 8 vectors of bytes; `flip`: what the highest of the planes is turned by.
template <int FIELD> inline void fields(const Job &job, int64_t row, int64_t block, int first, int count, Bits flip, Bits *to) {
    const int64_t plane = job.rows * job.wide;
    const uint8_t *from = job.planes + first * plane + row * job.wide + block * V, *end = job.end();
    Bits p[FIELD];
    for (int i = 0; i < FIELD; ++i) {
        p[i] = i < count ? load<Bits>(from + i * plane, end) : Bits{};
        if (i == count - 1) p[i] ^= flip;
    }
    if constexpr (FIELD > 1)
        for (int i = 0; i < FIELD; i += 2) exchange<1>(p[i], p[i + 1], all(0x55));
    if constexpr (FIELD > 2)
        for (int k = 0; k < 2; ++k) exchange<2>(p[k], p[k + 2], all(0x33));
    for (int j = 0; j < 8; ++j) to[j] = p[j & (FIELD - 1)] >> (j & ~(FIELD - 1)) & all((1 << FIELD) - 1);
}

// The codes of a block of a row: 8 vectors, of 5 to 8 bits (HALVES) 8 more with those above the lowest four.
template <int FIELD, bool HALVES> inline void halves(const Job &job, int64_t row, int64_t block, Bits *to) {
    const Bits flip = job.bipolar ? Bits{} : all(255);
    if constexpr (HALVES) {
        fields<4>(job, row, block, 0, 4, Bits{}, to);
        fields<4>(job, row, block, 4, job.bits - 4, flip, to + 8);
    } else {
        fields<FIELD>(job, row, block, 0, job.bits, flip, to);
    }
}

inline Bits at(const int8_t *from) {
    Bits found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

// Σ c x of the 4 bytes, 32 columns, that share a lane.
template <bool HALVES> inline Ints lanes(const Bits *codes, const int8_t *x) {
    Words low = {}, high = {};
    for (int j = 0; j < 8; ++j) {
        const Bits y = at(x + j * V);
        low += pairs(codes[j], y);
        if constexpr (HALVES) high += pairs(codes[8 + j], y);
    }
    Ints sum = quads(low);
    if constexpr (HALVES) sum += quads(high) << 4;
    return sum;
}

// Σ c x of 8 V / PIECE pieces of so many columns: 32, a byte's 8 (those of even bytes first), or 1.
template <int PIECE, bool HALVES> inline void pieces(const Bits *codes, const int8_t *x, uint32_t *to) {
    if constexpr (PIECE == 32) {
        const Ints sum = lanes<HALVES>(codes, x);
        std::memcpy(to, &sum, sizeof sum);
    } else if constexpr (PIECE == 8) {
        for (int odd = 0; odd < 2; ++odd) {
            const Bits keep = Bits{} + (odd ? 0xff00ff00ff00ff00u : 0x00ff00ff00ff00ffu);
            Words low = {}, high = {};
            for (int j = 0; j < 8; ++j) {
                const Bits y = at(x + j * V) & keep;
                low += pairs(codes[j], y);
                if constexpr (HALVES) high += pairs(codes[8 + j], y);
            }
            int16_t apart[2][V / 2];
            std::memcpy(apart[0], &low, V), std::memcpy(apart[1], &high, V);
            for (int i = 0; i < V / 2; ++i) to[odd * (V / 2) + i] = apart[0][i] + 16 * apart[1][i];
        }
    } else {
        const uint8_t *bytes = reinterpret_cast<const uint8_t *>(codes);
        for (int j = 0; j < 8; ++j)
            for (int b = 0; b < V; ++b) {
                const int code = bytes[j * V + b] + (HALVES ? 16 * bytes[(8 + j) * V + b] : 0);
                to[8 * b + j] = code * x[j * V + b];
            }
    }
}

inline uint32_t total(Ints sum) {
    uint32_t found = 0;
    for (int l = 0; l < V / 4; ++l) found += sum[l];
    return found;
}

// x of all samples in the order of the codes, [samples][blocks][8][V], Σ x of each group, [samples][groups], and steps:
// NaN where a float was.
struct Ordered {
    std::vector<int8_t> x;
    std::vector<uint32_t> sums;
    std::vector<float> steps;
    int64_t stride;

    explicit Ordered(const Eight &e) : stride((e.job.wide + V - 1) / V * 8 * V) {
        const Job &job = e.job;
        x.resize(job.samples * stride), sums.resize(job.samples * job.groups), steps.resize(job.samples);
        std::vector<int8_t> codes(e.floats ? job.columns : 0);
        for (int64_t n = 0; n < job.samples; ++n) {
            const int8_t *from = static_cast<const int8_t *>(e.x) + n * job.columns;
            steps[n] = e.steps[n * e.each];
            if (e.floats) {
                from = codes.data();
                if (!rounded(e, n, steps[n], codes.data())) steps[n] = NAN;
            }
            int8_t *to = x.data() + n * stride;
            uint32_t *sum = sums.data() + n * job.groups;
            int64_t left = job.group;
            for (int64_t c = 0; c < job.columns; ++c) {
                const int8_t v = from[c];
                to[(c / (8 * V) * 8 + c % 8) * V + c / 8 % V] = v;
                *sum += v;
                if (--left == 0) ++sum, left = job.group;
            }
        }
    }
};

// Rows [first, last) of S samples from `sample` on. PIECE 0: one scale a row.
template <int FIELD, bool HALVES, int PIECE, int S>
void integers_of(const Eight &e, const Ordered &o, int64_t sample, int64_t first, int64_t last) {
    const Job &job = e.job;
    const int64_t blocks = (job.wide + V - 1) / V;
    const uint32_t step = job.bipolar ? 2 : 1, low = job.bipolar ? 1 - (1 << job.bits) : -(1 << (job.bits - 1));
    alignas(64) Bits codes[HALVES ? 16 : 8];
    alignas(64) uint32_t part[8 * V];
    for (int64_t row = first; row < last; ++row) {
        const float *scale = job.scales + row * job.groups;
        const int8_t *x = o.x.data() + sample * o.stride;
        const uint32_t *sums = o.sums.data() + sample * job.groups;
        const auto of_group = [&](int k, int64_t g, uint32_t sum) {
            return double(scale[g]) * static_cast<int32_t>(step * sum + low * sums[k * job.groups + g]);
        };
        double y[S] = {};
        if constexpr (PIECE == 0) {
            Ints sum[S] = {};
            for (int64_t block = 0; block < blocks; ++block) {
                halves<FIELD, HALVES>(job, row, block, codes);
                for (int k = 0; k < S; ++k) sum[k] += lanes<HALVES>(codes, x + k * o.stride + block * 8 * V);
            }
            for (int k = 0; k < S; ++k) y[k] = of_group(k, 0, total(sum[k]));
        } else {
            uint32_t sum[S] = {};
            int64_t begun = 0, left = job.group;  // what every sample begins a block with
            for (int64_t block = 0; block < blocks; ++block) {
                halves<FIELD, HALVES>(job, row, block, codes);
                int64_t g = begun, more = left;
                for (int k = 0; k < S; ++k) {
                    pieces<PIECE, HALVES>(codes, x + k * o.stride + block * 8 * V, part);
                    g = begun, more = left;
                    for (int i = 0; i < 8 * V / PIECE && g < job.groups; ++i) {
                        sum[k] += part[PIECE == 8 ? i % 2 * (V / 2) + i / 2 : i];
                        if ((more -= PIECE) == 0) y[k] += of_group(k, g++, sum[k]), sum[k] = 0, more = job.group;
                    }
                }
                begun = g, left = more;
            }
            if (begun < job.groups)  // the last one is shorter
                for (int k = 0; k < S; ++k) y[k] += of_group(k, begun, sum[k]);
        }
        for (int k = 0; k < S; ++k)
            job.out[(sample + k) * job.rows + row] =
                finish(job, row, static_cast<float>(y[k] * o.steps[sample + k]));
    }
}

template <int FIELD, bool HALVES, int PIECE>
void all_samples(const Eight &e, const Ordered &o, int64_t first, int64_t last) {
    int64_t sample = 0;
    for (; sample + 4 <= e.job.samples; sample += 4) integers_of<FIELD, HALVES, PIECE, 4>(e, o, sample, first, last);
    for (; sample < e.job.samples; ++sample) integers_of<FIELD, HALVES, PIECE, 1>(e, o, sample, first, last);
}

template <int FIELD, bool HALVES = false>
void by_integers(const Eight &e, const Ordered &o, int64_t first, int64_t last) {
    const int64_t group = e.job.group;
    if (e.job.groups == 1) return all_samples<FIELD, HALVES, 0>(e, o, first, last);
    if (group % 32 == 0) return all_samples<FIELD, HALVES, 32>(e, o, first, last);
    if (group % 8 == 0) return all_samples<FIELD, HALVES, 8>(e, o, first, last);
    return all_samples<FIELD, HALVES, 1>(e, o, first, last);
}

}  // namespace
