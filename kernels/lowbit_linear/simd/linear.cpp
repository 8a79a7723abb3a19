// lowbit_linear on a CPU. Compiled for an instruction set (kernels/_build.py): VECTOR is the bytes of a vector. README.md
// beside this folder has the reckoning.

#include "codes.h"
#include "eight.h"
#include "product.h"
#include "tables.h"

#include <exception>
#include <thread>

namespace {

// Runs `some(first, last)` for shares of whole vectors of rows, on so many threads.
template <class Some> void shared(int64_t rows, int64_t threads, const Some &some) {
    const int64_t each = ((rows + threads - 1) / threads + V - 1) / V * V;
    std::vector<std::thread> others;
    for (int64_t first = each; first < rows; first += each)
        others.emplace_back([&some, first, each, rows] { some(first, first + each < rows ? first + each : rows); });
    some(0, each < rows ? each : rows);
    for (auto &other : others) other.join();
}

}  // namespace

// out [samples, rows] = relu?(x Wᵀ + bias) of contiguous x [samples, columns], planes [bits, rows, ceil(columns / 8)],
// scales [rows, groups], one for `group` columns, and bias [rows] or null. `way`: 1 by codes, 2 by tables where they can
// be, 0 by what is likely to be faster. 0, or 1 where there is no memory or thread left.
extern "C" int lowbit_linear(const float *x, const uint8_t *planes, const float *scales, const float *bias, float *out,
                             int64_t samples, int64_t columns, int64_t rows, int64_t bits, int64_t bipolar,
                             int64_t group, int64_t groups, int64_t relu, int64_t threads, int64_t way) try {
    const Job job{x, planes, scales, bias, out, samples, columns, rows, bits, group, groups, bipolar != 0, relu != 0,
                  (columns + 7) / 8};
    std::vector<float> other;
    Tables tables;
    int64_t sample = 0;
    const bool fit = tables_fit(job) && (way == 2 || (way == 0 && tables_pay(job)));
    while (sample < samples) {
        if (fit && tables_of(job, x + sample * columns, tables)) {
            shared(rows, threads, [&](int64_t f, int64_t l) { by_tables(job, tables, sample, f, l); });
            ++sample;
            continue;
        }
        if (other.empty()) other = ordered(job);
        const int64_t until = fit ? sample + 1 : samples;
        const auto run = BY_FORMAT(job, samples_of);
        shared(rows, threads, [&](int64_t f, int64_t l) { run(job, other.data(), sample, until, f, l); });
        sample = until;
    }
    return 0;
} catch (const std::exception &) {
    return 1;
}

// The same of int8 x, or, where `floats`, of float x that is rounded to [low, high] and taken zero off; `steps`: the scale
// of each sample, `each` apart (0: one of all). Sums of a group are exact.
extern "C" int lowbit_integers(const void *x, const float *steps, const uint8_t *planes, const float *scales,
                               const float *bias, float *out, int64_t each, int64_t samples, int64_t columns,
                               int64_t rows, int64_t bits, int64_t bipolar, int64_t group, int64_t groups, int64_t relu,
                               int64_t threads, int64_t floats, int64_t low, int64_t high, int64_t zero) try {
    const Job job{nullptr, planes, scales, bias, out, samples, columns, rows, bits, group, groups, bipolar != 0, relu != 0,
                  (columns + 7) / 8};
    const Eight eight{job, x, steps, each, floats != 0, float(low), float(high), float(zero)};
    const Ordered ordered(eight);
    const auto run = bits == 1 ? by_integers<1> : bits == 2 ? by_integers<2> : bits <= 4 ? by_integers<4> : by_integers<4, true>;
    shared(rows, threads, [&](int64_t f, int64_t l) { run(eight, ordered, f, l); });
    return 0;
} catch (const std::exception &) {
    return 1;
}

// The weights of rows [first, last) into `to`, for a product of matrices: [last - first, ceil(columns / 8 V) * 8 V] floats,
// the columns in the order 8 (V block + b) + j at [block][j][b]; times their scales, unless there is one a row.
extern "C" void lowbit_weights(const uint8_t *planes, const float *scales, float *to, int64_t columns, int64_t rows,
                               int64_t bits, int64_t bipolar, int64_t group, int64_t groups, int64_t first,
                               int64_t last) {
    const Job job{nullptr, planes, scales, nullptr, nullptr, 0, columns, rows, bits, group, groups, bipolar != 0, false,
                  (columns + 7) / 8};
    BY_FORMAT(job, weights_of)(job, to, first, last);
}

// out [a_rows, b_rows] = A Bᵀ of integer matrices of so many columns in planes. 0, or 1 where there is no thread left.
extern "C" int lowbit_product(const uint8_t *a, const uint8_t *b, int32_t *out, int64_t a_bits, int64_t a_rows,
                              int64_t a_bipolar, int64_t b_bits, int64_t b_rows, int64_t b_bipolar, int64_t columns,
                              int64_t threads) try {
    const Planes left{a, a_bits, a_rows, (columns + 7) / 8, a_bipolar != 0};
    const Planes right{b, b_bits, b_rows, (columns + 7) / 8, b_bipolar != 0};
    shared(b_rows, threads, [&](int64_t f, int64_t l) { multiply(left, right, columns, out, f, l); });
    return 0;
} catch (const std::exception &) {
    return 1;
}
