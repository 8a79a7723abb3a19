// One sample of finite x: sums of 4 inputs looked up by 4 bits of a plane, V rows at once; time proportional to the bits.
//
// For every 4 columns, a table of the 16 sums of subsets of their x, as integers of 24 bits in 4 digits of 6 bits, a byte
// each (Wei and others, 2024, arXiv:2407.00088, "T-MAC", has tables of 8 bits). One instruction looks up 16 bytes in a
// table of 16; bytes of 4 look-ups add up without a carry (4 * 63 < 256), then in 16 bits. Rows of a plane are transposed
// in registers, so that a vector has one byte of V rows.
#pragma once

#include "vector.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

constexpr int DIGITS = 4;
constexpr int64_t TILE = 128;   // columns whose bytes are transposed at once: 16 bytes of a row
constexpr int64_t MOST = 4096;  // columns until sums of bytes leave 16 bits: 4096 / 16 * 4 * 63 < 2^16
constexpr float TOP = (1 << 22) - 1;

#if defined(__AVX512BW__) || defined(__AVX2__)
#define TABLES 1
#else
#define TABLES 0
#endif

#if defined(__AVX512BW__)
inline Bits joined(const __m128i *lanes) {
    const __m512i first = _mm512_inserti32x4(_mm512_castsi128_si512(lanes[0]), lanes[1], 1);
    return (Bits)_mm512_inserti32x4(_mm512_inserti32x4(first, lanes[2], 2), lanes[3], 3);
}
inline Bits lookup(Bits table, Bits i) { return (Bits)_mm512_shuffle_epi8((__m512i)table, (__m512i)i); }
inline Bits low(Bits a, Bits b) { return (Bits)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b); }
inline Bits high(Bits a, Bits b) { return (Bits)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b); }
inline Bits spread(const uint8_t *table) { return (Bits)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table)); }
inline Bits added(Bytes bytes) { return (Bits)_mm512_sad_epu8((__m512i)bytes, _mm512_setzero_si512()); }
#elif defined(__AVX2__)
inline Bits added(Bytes bytes) { return (Bits)_mm256_sad_epu8((__m256i)bytes, _mm256_setzero_si256()); }
inline Bits joined(const __m128i *lanes) { return (Bits)_mm256_set_m128i(lanes[1], lanes[0]); }
inline Bits lookup(Bits table, Bits i) { return (Bits)_mm256_shuffle_epi8((__m256i)table, (__m256i)i); }
inline Bits low(Bits a, Bits b) { return (Bits)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b); }
inline Bits high(Bits a, Bits b) { return (Bits)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b); }
inline Bits spread(const uint8_t *table) { return (Bits)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table)); }
#endif

// Columns [first, last) with one step: x = step * q. `shift`: what tables lack of each plane's sum, `sum`: of all q.
struct Stretch {
    int64_t first, last;
    double step, shift, sum;
};

struct Tables {
    std::vector<uint8_t> digits;  // [columns / 4][DIGITS][16]
    std::vector<Stretch> stretches;
};

// Whether stretches are whole tiles.
inline bool tables_fit(const Job &job) { return TABLES && (job.groups == 1 || job.group % TILE == 0); }

// Whether tables are likely to be faster than codes, which share their work among samples: by README.md's measurements.
inline bool tables_pay(const Job &job) {
    const bool few = job.samples <= 2;
    return job.bits <= (job.groups > 1 ? (few ? 2 : 1) : (few ? 5 : 2));
}

#if TABLES
// The digits of the 16 sums of subsets of q[0..3], less the least of them.
inline int32_t table_of(const int32_t *q, uint8_t *to) {
    typedef int32_t Eight __attribute__((vector_size(32)));
    const Eight at[2] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};  // as the unpacking below has them
    int32_t least = 0;
    for (int k = 0; k < 4; ++k) least += q[k] < 0 ? q[k] : 0;
    __m256i half[2];
    for (int h = 0; h < 2; ++h) {
        Eight sums = Eight{} - least;
        for (int k = 0; k < 4; ++k) sums += -(at[h] >> k & 1) & q[k];
        const Eight apart = (sums & 63) | (sums << 2 & 63 << 8) | (sums << 4 & 63 << 16) | (sums << 6 & 63 << 24);
        half[h] = _mm256_shuffle_epi8((__m256i)apart, _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                                                     0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    }
    const __m256i low = _mm256_permute4x64_epi64(_mm256_unpacklo_epi32(half[0], half[1]), 0xd8);
    const __m256i high = _mm256_permute4x64_epi64(_mm256_unpackhi_epi32(half[0], half[1]), 0xd8);
    std::memcpy(to, &low, 32), std::memcpy(to + 32, &high, 32);
    return least;
}

// The tables of one sample; false where x is not finite, or so small or large that a step would not be.
bool tables_of(const Job &job, const float *x, Tables &to) {
    const int64_t tiles = (job.columns + TILE - 1) / TILE, size = job.groups == 1 ? job.columns : job.group;
    to.digits.resize(tiles * TILE / 4 * DIGITS * 16);
    to.stretches.clear();
    for (int64_t first = 0, last; first < job.columns; first = last) {
        last = std::min({first + MOST, (first / size + 1) * size, job.columns});
        float top = 0, bad = 0;
        for (int64_t c = first; c < last; ++c) {
            top = std::max(top, std::fabs(x[c]));
            bad += x[c] * 0;  // NaN for NaN and infinity
        }
        if (bad != 0 || (top != 0 && (top < 1e-30f || top > 1e30f))) return false;
        const float inverse = top == 0 ? 1 : TOP / top;
        int32_t q[MOST] = {};
        int64_t shift = 0, sum = 0;
        for (int64_t c = first; c < last; ++c) sum += q[c - first] = static_cast<int32_t>(std::nearbyintf(x[c] * inverse));
        for (int64_t c = first; c < last || c % TILE; c += 4)
            shift += table_of(q + c - first, to.digits.data() + c / 4 * DIGITS * 16);
        to.stretches.push_back({first, last, top == 0 ? 1.0 : double(top) / TOP, double(shift), double(sum)});
    }
    return true;
}

// 16 bytes of V rows as 16 vectors: byte u of row r is byte r of vector u. WHOLE: there are V rows, of 16 bytes from there.
template <bool WHOLE>
inline void transposed(const Job &job, const uint8_t *plane, int64_t row, int64_t byte, Bits *to) {
    Bits a[16];
    const uint8_t *from = plane + row * job.wide + byte, *end = job.end();
    for (int t = 0; t < 16; ++t, from += job.wide) {
        __m128i lanes[V / 16];
        for (int lane = 0; lane < V / 16; ++lane) {
            const uint8_t *mine = from + 16 * lane * job.wide;
            if constexpr (WHOLE)
                lanes[lane] = _mm_loadu_si128(reinterpret_cast<const __m128i *>(mine));
            else
                lanes[lane] = row + 16 * lane + t < job.rows ? load<__m128i>(mine, end) : _mm_setzero_si128();
        }
        a[t] = joined(lanes);
    }
    // Each of four stages turns the address (row, byte) by one bit.
    for (int i = 0; i < 8; ++i) to[2 * i] = low(a[i], a[i + 8]), to[2 * i + 1] = high(a[i], a[i + 8]);
    for (int i = 0; i < 8; ++i) a[2 * i] = low(to[i], to[i + 8]), a[2 * i + 1] = high(to[i], to[i + 8]);
    for (int i = 0; i < 8; ++i) to[2 * i] = low(a[i], a[i + 8]), to[2 * i + 1] = high(a[i], a[i + 8]);
    for (int i = 0; i < 8; ++i) a[2 * i] = low(to[i], to[i + 8]), a[2 * i + 1] = high(to[i], to[i + 8]);
    for (int i = 0; i < 16; ++i) to[i] = a[i];
}

// Adds `counts` times the sums over a stretch of one plane, of V rows: those at even places, and at odd ones.
inline void look_up(const Job &job, const Tables &tables, const Stretch &s, int64_t plane, int64_t row, int counts,
                    int32_t (*even)[V / 2], int32_t (*odd)[V / 2]) {
    const uint8_t *from = job.planes + plane * job.rows * job.wide;
    const Bits nibble = all(15);
    Shorts both[DIGITS] = {}, high[DIGITS] = {};
    for (int64_t c = s.first; c < s.last; c += TILE) {
        Bits bytes[16];
        if (row + V <= job.rows && from + (row + V - 1) * job.wide + c / 8 + 16 <= job.end())
            transposed<true>(job, from, row, c / 8, bytes);
        else
            transposed<false>(job, from, row, c / 8, bytes);
        const uint8_t *table = tables.digits.data() + c / 4 * DIGITS * 16;
        for (int u = 0; u < 16; u += 2, table += 4 * DIGITS * 16) {
            const Bits i[4] = {bytes[u] & nibble, bytes[u] >> 4 & nibble, bytes[u + 1] & nibble, bytes[u + 1] >> 4 & nibble};
            for (int d = 0; d < DIGITS; ++d) {
                Bytes four = {};
                for (int k = 0; k < 4; ++k) four += (Bytes)lookup(spread(table + (k * DIGITS + d) * 16), i[k]);
                both[d] += (Shorts)four;
                high[d] += (Shorts)four >> 8;
            }
        }
    }
    for (int d = 0; d < DIGITS; ++d) {
        const Shorts low = both[d] - (high[d] << 8);
        uint16_t sums[2][V / 2];
        std::memcpy(sums[0], &low, V), std::memcpy(sums[1], &high[d], V);
        for (int r = 0; r < V / 2; ++r) even[d][r] += counts * sums[0][r];
        for (int r = 0; r < V / 2; ++r) odd[d][r] += counts * sums[1][r];
    }
}

void by_tables(const Job &job, const Tables &tables, int64_t sample, int64_t first, int64_t last) {
    const int top = 1 << job.bits;
    const double every = job.bipolar ? 2 * (top - 1) : -1, offset = job.bipolar ? 1 - top : 0;
    for (int64_t row = first; row < last; row += V) {
        double y[2][V / 2] = {};  // of even rows, and of odd ones
        const int mine = last - row < V ? static_cast<int>(last - row) : V;
        for (const Stretch &s : tables.stretches) {
            int32_t sums[2][DIGITS][V / 2] = {};
            for (int64_t i = 0; i < job.bits; ++i)
                look_up(job, tables, s, i, row, job.bipolar ? 2 << i : (i == job.bits - 1 ? -(1 << i) : 1 << i), sums[0],
                        sums[1]);
            const double more = every * s.shift + offset * s.sum;
            const float *scale = job.scales + row * job.groups + (job.groups == 1 ? 0 : s.first / job.group);
            float scales[2][V / 2] = {};
            for (int r = 0; r < mine; ++r) scales[r % 2][r / 2] = scale[r * job.groups];
            for (int odd = 0; odd < 2; ++odd) {
                const auto &part = sums[odd];
                for (int r = 0; r < V / 2; ++r)
                    y[odd][r] += (part[0][r] + 64.0 * part[1][r] + 4096.0 * part[2][r] + 262144.0 * part[3][r] + more) *
                                 (s.step * scales[odd][r]);
            }
        }
        for (int r = 0; r < mine; ++r)
            job.out[sample * job.rows + row + r] = finish(job, row + r, static_cast<float>(y[r % 2][r / 2]));
    }
}
#else
inline bool tables_of(const Job &, const float *, Tables &) { return false; }
inline void by_tables(const Job &, const Tables &, int64_t, int64_t, int64_t) {}
#endif

}  // namespace
