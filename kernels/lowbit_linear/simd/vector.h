// What both ways of multiplying share: vectors of VECTOR bytes (a macro of the build), and what is to be done.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int V = VECTOR, LANES = V / 4;  // bytes, and floats, of a vector
typedef uint64_t Bits __attribute__((vector_size(V)));
typedef uint16_t Shorts __attribute__((vector_size(V)));
typedef int8_t Bytes __attribute__((vector_size(V)));
typedef float Floats __attribute__((vector_size(V)));
typedef int8_t Few __attribute__((vector_size(LANES)));

struct Job {
    const float *x;         // [samples][columns]
    const uint8_t *planes;  // [bits][rows][wide]
    const float *scales;    // [rows][groups], one for `group` columns
    const float *bias;      // [rows], or null
    float *out;             // [samples][rows]
    int64_t samples, columns, rows, bits, group, groups;
    bool bipolar, relu;
    int64_t wide;  // bytes of a row of a plane
    const uint8_t *end() const { return planes + bits * rows * wide; }
};

inline Bits all(uint8_t byte) { return Bits{} + 0x0101010101010101u * byte; }

// N bytes from `from`, with zeros for those behind `end`. What is read past a row, into the next, meets an x of 0.
template <class T> inline T load(const uint8_t *from, const uint8_t *end) {
    T found = {};
    if (__builtin_expect(end - from >= static_cast<int64_t>(sizeof found), 1))
        std::memcpy(&found, from, sizeof found);
    else if (from < end)
        std::memcpy(&found, from, end - from);
    return found;
}

inline float finish(const Job &job, int64_t row, float y) {
    if (job.bias) y += job.bias[row];
    return job.relu && y < 0 ? 0.0f : y;  // NaN stays
}

}  // namespace
