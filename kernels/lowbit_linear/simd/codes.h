// Any input: codes are put together from the planes in registers, made floats, and multiplied.
//
// A block is V bytes of each plane: 8 V columns of one row. A byte of a plane has 8 columns; in three steps of masked
// exchanges (a transposition of 8 x 8 bits) the bytes of 8 planes become the codes of 8 columns: vector j holds those of
// columns 8 b + j for each byte b. x is put into that order once, and no code is moved.
#pragma once

#include "vector.h"

#include <vector>

namespace {

// The fields of `mask` in b change places with those `SHIFT` higher in a.
template <int SHIFT> inline void exchange(Bits &a, Bits &b, Bits mask) {
    const Bits t = ((a >> SHIFT) ^ b) & mask;
    b ^= t;
    a ^= t << SHIFT;
}

// Codes of FIELD bits in two's complement, as 8 vectors of bytes. A code of fewer bits repeats its highest plane, its
// sign. A bipolar code of n < 8 bits is one of n + 1 in two's complement: the lowest is 1, the highest turned around; of 8
// bits it is (v - 1) / 2 in 8 bits.
template <int FIELD, bool BIPOLAR> inline void decode(const Job &job, int64_t row, int64_t block, Bytes *to) {
    const int64_t plane = job.rows * job.wide;
    const uint8_t *from = job.planes + row * job.wide + block * V, *end = job.end();
    const int lowest = BIPOLAR && job.bits < 8;
    const Bits sign = load<Bits>(from + (job.bits - 1) * plane, end) ^ (BIPOLAR ? all(255) : Bits{});
    Bits p[FIELD];
    for (int i = 0; i < FIELD; ++i) {
        const int mine = i - lowest;
        p[i] = mine < 0 ? all(255) : (mine < job.bits - 1 ? load<Bits>(from + mine * plane, end) : sign);
    }
    if constexpr (FIELD > 1)
        for (int i = 0; i < FIELD; i += 2) exchange<1>(p[i], p[i + 1], all(0x55));
    if constexpr (FIELD > 2)
        for (int i = 0; i < FIELD; i += 4)
            for (int k = i; k < i + 2; ++k) exchange<2>(p[k], p[k + 2], all(0x33));
    if constexpr (FIELD > 4)
        for (int k = 0; k < 4; ++k) exchange<4>(p[k], p[k + 4], all(0x0f));
    for (int j = 0; j < 8; ++j) {
        Bits code = p[j & (FIELD - 1)] >> (j & ~(FIELD - 1));
        if constexpr (FIELD < 8) {
            const Bits top = all(1 << (FIELD - 1));
            code = (code & all((1 << FIELD) - 1)) ^ top;
            to[j] = reinterpret_cast<Bytes>(code) - reinterpret_cast<Bytes>(top);
        } else {
            to[j] = reinterpret_cast<Bytes>(code);
        }
    }
}

inline Floats widen(const int8_t *from) {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
#elif defined(__AVX2__)
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from))));
#else
    Few few;
    std::memcpy(&few, from, sizeof few);
    return __builtin_convertvector(few, Floats);
#endif
}

inline Floats at(const float *from) {
    Floats found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

// The scales of a block: one a byte where groups are whole bytes, else one a column in the order of x; 0 past the last.
inline void scales_of(const Job &job, int64_t row, int64_t block, bool split, float *to) {
    const float *s = job.scales + row * job.groups;
    const int64_t first = 8 * block * V, size = split ? job.group : job.group / 8, step = split ? 1 : 8;
    int64_t g = first / job.group, left = size - (first % job.group) / step;
    for (int64_t i = 0; i < 8 * V / step; ++i) {
        const float scale = first + i * step < job.columns ? s[g] : 0.0f;
        to[split ? i % 8 * V + i / 8 : i] = scale;
        if (--left == 0) ++g, left = size;
    }
}

// Rows [first, last) of S samples from `sample` on; `ordered`: x of all samples, [blocks][8][V] each. HALF: 8 bits bipolar.
template <int FIELD, bool BIPOLAR, bool HALF, int S>
void rows_of(const Job &job, const float *ordered, int64_t sample, int64_t first, int64_t last) {
    alignas(64) float s[8 * V];
    alignas(64) Bytes codes[8];
    const int64_t blocks = (job.wide + V - 1) / V, stride = blocks * 8 * V;
    const bool grouped = job.groups > 1, split = grouped && job.group % 8 != 0;
    const bool wide = grouped && job.group % (8 * LANES) == 0;  // one scale for a vector of floats
    for (int64_t row = first; row < last; ++row) {
        Floats total[S] = {};
        const float *scale = job.scales + row * job.groups;
        int64_t left = job.group;
        for (int64_t block = 0; block < blocks; ++block) {
            decode<FIELD, BIPOLAR>(job, row, block, codes);
            if (grouped && !wide) scales_of(job, row, block, split, s);
            const float *x = ordered + sample * stride + block * 8 * V;
            for (int b = 0; b < V && 8 * (block * V + b) < job.columns; b += LANES) {
                Floats sum[S] = {};
                for (int j = 0; j < 8; ++j) {
                    Floats w = widen(reinterpret_cast<const int8_t *>(codes) + j * V + b);
                    if (HALF) w += 0.5f;
                    if (split) w *= at(s + j * V + b);
                    for (int k = 0; k < S; ++k) sum[k] += w * at(x + k * stride + j * V + b);
                }
                if (wide) {
                    for (int k = 0; k < S; ++k) total[k] += sum[k] * *scale;
                    if ((left -= 8 * LANES) == 0) ++scale, left = job.group;
                } else if (grouped && !split)
                    for (int k = 0; k < S; ++k) total[k] += sum[k] * at(s + b);
                else
                    for (int k = 0; k < S; ++k) total[k] += sum[k];
            }
        }
        for (int k = 0; k < S; ++k) {
            float y = 0;
            for (int l = 0; l < LANES; ++l) y += total[k][l];
            if (HALF) y *= 2;
            if (!grouped) y *= job.scales[row];
            job.out[(sample + k) * job.rows + row] = finish(job, row, y);
        }
    }
}

template <int FIELD, bool BIPOLAR, bool HALF = false>
void samples_of(const Job &job, const float *x, int64_t sample, int64_t until, int64_t first, int64_t last) {
    for (; sample + 8 <= until; sample += 8) rows_of<FIELD, BIPOLAR, HALF, 8>(job, x, sample, first, last);
    for (; sample + 3 <= until; sample += 3) rows_of<FIELD, BIPOLAR, HALF, 3>(job, x, sample, first, last);
    for (; sample < until; ++sample) rows_of<FIELD, BIPOLAR, HALF, 1>(job, x, sample, first, last);
}

std::vector<float> ordered(const Job &job) {
    const int64_t blocks = (job.wide + V - 1) / V;
    std::vector<float> found(job.samples * blocks * 8 * V);
    for (int64_t n = 0; n < job.samples; ++n)
        for (int64_t c = 0; c < job.columns; ++c)
            found[((n * blocks + c / (8 * V)) * 8 + c % 8) * V + c / 8 % V] = job.x[n * job.columns + c];
    return found;
}

// The weights of rows [first, last) as floats, [rows][blocks][8][V] in the order of x, with the scales of groups.
template <int FIELD, bool BIPOLAR, bool HALF = false>
void weights_of(const Job &job, float *to, int64_t first, int64_t last) {
    alignas(64) float s[8 * V];
    alignas(64) Bytes codes[8];
    const bool grouped = job.groups > 1, split = grouped && job.group % 8 != 0;
    for (int64_t row = first; row < last; ++row)
        for (int64_t block = 0; block * V < job.wide; ++block, to += 8 * V) {
            decode<FIELD, BIPOLAR>(job, row, block, codes);
            if (grouped) scales_of(job, row, block, split, s);
            for (int i = 0; i < 8 * V; i += LANES) {
                Floats w = widen(reinterpret_cast<const int8_t *>(codes) + i);
                if (HALF) w = (w + 0.5f) * 2;
                if (grouped) w *= at(s + (split ? i : i % V));
                std::memcpy(to + i, &w, sizeof w);
            }
        }
}

// The instance WHAT<FIELD, BIPOLAR, HALF> for the format of a job.
#define BY_FORMAT(job, WHAT)                                                                                              \
    ((job).bipolar ? ((job).bits == 1   ? WHAT<2, true>                                                                   \
                      : (job).bits <= 3 ? WHAT<4, true>                                                                   \
                      : (job).bits <= 7 ? WHAT<8, true>                                                                   \
                                        : WHAT<8, true, true>)                                                            \
                   : ((job).bits == 1   ? WHAT<1, false>                                                                  \
                      : (job).bits == 2 ? WHAT<2, false>                                                                  \
                      : (job).bits <= 4 ? WHAT<4, false>                                                                  \
                                        : WHAT<8, false>))

}  // namespace
