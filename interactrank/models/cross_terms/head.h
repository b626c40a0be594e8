// The score of a candidate without its dot product: what ScoreHead.rest gives, the heads weighted into one.
// Columns lie one after the other, [column][row], so that rows are computed side by side.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace interactrank {

struct Head {
    int64_t rates, numbers, ratios, transforms, layers, context, flags;
    const int64_t* transform;  // [transforms] of rates: 0 rate, 1 log_count, 2 smoothed, 3 log_smoothed
    const float* prior;        // [rates]
    const float* strength;     // [rates], of the prior
    const float* offset;       // [numbers], NaN for one that is read as it is
    const float* ratio_strength;
    const float* base;      // [ratios]
    const int64_t* wider;   // [ratios], -1 for the base
    const int64_t* order;   // [ratios], the widest first
    const float* weight;    // [features] of the projection
    const float* stand_in;  // [features] for what is missing
    const float* flag;      // [features] is added for what is missing
    const float* bias;      // [1]
    const float* norm;      // [features] factor, then [features] summand
    const float* norm_context;
    const float* shift;     // [features, context] of the correction
    const int64_t* widths;  // [layers + 1] of the correction's layers
    const float* linear;    // of each layer: [out, in], then [out]; last [in] and [1] of the output

    int64_t features() const { return rates * transforms + numbers + ratios; }
};

// Columns of R rows: rates, numbers, engagements and impressions, each [columns][rows]; support [rates].
struct Columns {
    int64_t rows;
    std::vector<float> rate, number, engaged, shown, support;

    void clear(const Head& head, int64_t size) {
        rows = size;
        rate.assign(head.rates * size, 0);
        number.assign(head.numbers * size, 0);
        engaged.assign(head.ratios * size, 0);
        shown.assign(head.ratios * size, 0);
        support.assign(head.rates, 0);
    }
};

// The natural logarithm of n numbers; Cephes' logf without its branches, for normal numbers.
inline void logarithms(float* x, int64_t n) {
    uint32_t strange = 0;  // anything but positive, finite and normal
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, &x[i], sizeof bits);
        strange |= bits - 0x00800000u >= 0x7f000000u;
    }
    if (strange) {
        for (int64_t i = 0; i < n; ++i) x[i] = std::log(x[i]);
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        int32_t bits;
        std::memcpy(&bits, &x[i], sizeof bits);
        const int32_t fraction = (bits & 0x7fffff) | 0x3f000000;  // in 1/2..1
        float m;
        std::memcpy(&m, &fraction, sizeof m);
        const bool small = m < 0.707106781186547524f;
        const float e = static_cast<float>((bits >> 23) - 126 - small);
        m = (small ? m + m : m) - 1.0f;
        const float z = m * m;
        float y = 7.0376836292e-2f;
        y = y * m - 1.1514610310e-1f;
        y = y * m + 1.1676998740e-1f;
        y = y * m - 1.2420140846e-1f;
        y = y * m + 1.4249322787e-1f;
        y = y * m - 1.6668057665e-1f;
        y = y * m + 2.0000714765e-1f;
        y = y * m - 2.4999993993e-1f;
        y = y * m + 3.3333331174e-1f;
        y = y * m * z + e * -2.12194440e-4f - 0.5f * z;
        x[i] = m + y + e * 0.693359375f;
    }
}

constexpr int64_t SIDE_BY_SIDE = 128;  // rows of a block
constexpr int64_t LANES = 16;
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));

// out [4, rows] = summands [4] + weights [4, stride] of `in` columns [in, rows]; four at a time stay in registers.
template <int AT_ONCE>
inline void products(const float* columns, int64_t in, const float* weights, int64_t stride, const float* summands,
                     float* out) {
    for (int64_t i = 0; i < SIDE_BY_SIDE; i += LANES) {
        Lanes sums[AT_ONCE];
        for (int h = 0; h < AT_ONCE; ++h) sums[h] = summands[h] - Lanes{};
        for (int64_t f = 0; f < in; ++f) {
            const Lanes x = *reinterpret_cast<const Lanes*>(columns + f * SIDE_BY_SIDE + i);
            for (int h = 0; h < AT_ONCE; ++h) sums[h] += weights[h * stride + f] * x;
        }
        for (int h = 0; h < AT_ONCE; ++h) *reinterpret_cast<Lanes*>(out + h * SIDE_BY_SIDE + i) = sums[h];
    }
}

// out [columns out, rows] of a linear layer.
inline void linear(const float* columns, int64_t in, const float* weights, int64_t stride, const float* summands,
                   int64_t out_columns, float* out) {
    int64_t h = 0;
    for (; h + 4 <= out_columns; h += 4)
        products<4>(columns, in, weights + h * stride, stride, summands + h, out + h * SIDE_BY_SIDE);
    for (; h < out_columns; ++h)
        products<1>(columns, in, weights + h * stride, stride, summands + h, out + h * SIDE_BY_SIDE);
}

class Rest {
  public:
    explicit Rest(const Head& head) : head_(head), wide_(head.features()) {
        for (int64_t n = 0; n <= head.layers; ++n) wide_ = std::max(wide_, head.widths[n]);
    }

    // Writes [rows] what is added to the dot products.
    void operator()(const Columns& columns, float* out) {
        const int64_t features = head_.features();
        values_.resize(features * SIDE_BY_SIDE);
        flags_.resize(head_.numbers * SIDE_BY_SIDE);
        layer_.resize(wide_ * SIDE_BY_SIDE);
        next_.resize(wide_ * SIDE_BY_SIDE);
        of_request(columns);
        for (int64_t first = 0; first < columns.rows; first += SIDE_BY_SIDE) {
            const int64_t n = std::min(SIDE_BY_SIDE, columns.rows - first);
            read(columns, first, n);
            project(n, out + first);
            if (head_.layers) correct(n, out + first);
        }
    }

  private:
    const Head& head_;
    int64_t wide_;
    std::vector<float> values_, flags_, layer_, next_, first_bias_, shift_;
    std::vector<char> missing_;  // [features], for all rows of the request

    float* column(std::vector<float>& of, int64_t j) { return of.data() + j * SIDE_BY_SIDE; }

    // What does not depend on the row: which features are missing, and the facts in the correction.
    void of_request(const Columns& columns) {
        const int64_t features = head_.features();
        missing_.assign(features, 0);
        for (int64_t j = 0; j < head_.rates * head_.transforms; ++j)
            missing_[j] = columns.support[j % head_.rates] <= 0;
        if (!head_.layers) return;
        const int64_t in = 2 * features + head_.context, out = head_.widths[1];
        std::vector<float> facts(head_.context);
        for (int64_t j = 0; j < head_.context; ++j)
            facts[j] = std::log1p(columns.support[j]) * head_.norm_context[j] +
                       head_.norm_context[head_.context + j];
        first_bias_.assign(head_.linear + out * in, head_.linear + out * in + out);
        for (int64_t h = 0; h < out; ++h) {
            const float* weights = head_.linear + h * in;
            for (int64_t j = 0; j < head_.context; ++j) first_bias_[h] += weights[features + j] * facts[j];
            for (int64_t j = 0; j < features; ++j)
                if (missing_[j]) first_bias_[h] += weights[features + head_.context + j];
        }
        shift_.assign(features, 0);
        for (int64_t f = 0; f < features; ++f)
            for (int64_t j = 0; j < head_.context; ++j)
                shift_[f] += head_.shift[f * head_.context + j] * facts[j];
    }

    void read(const Columns& columns, int64_t first, int64_t n) {
        int64_t f = 0;
        for (int64_t t = 0; t < head_.transforms; ++t)
            for (int64_t j = 0; j < head_.rates; ++j, ++f)
                if (!missing_[f])
                    transform(head_.transform[t], columns.rate.data() + j * columns.rows + first, n,
                              columns.support[j], j, column(values_, f));
        for (int64_t j = 0; j < head_.numbers; ++j, ++f) {
            const float* from = columns.number.data() + j * columns.rows + first;
            float *to = column(values_, f), *unknown = column(flags_, j);
            const float offset = head_.offset[j];
            for (int64_t i = 0; i < n; ++i) unknown[i] = from[i] != from[i];
            if (offset != offset) {
                for (int64_t i = 0; i < n; ++i) to[i] = from[i];
                continue;
            }
            for (int64_t i = 0; i < n; ++i) to[i] = from[i] + offset;
            logarithms(to, n);
        }
        for (int64_t o = 0; o < head_.ratios; ++o) {  // ratios first, as narrower ones need them
            const int64_t j = head_.order[o], wider = head_.wider[j];
            const float *engaged = columns.engaged.data() + j * columns.rows + first,
                        *shown = columns.shown.data() + j * columns.rows + first;
            float* to = column(values_, f + j);
            const float* expected = wider < 0 ? nullptr : column(values_, f + wider);
            const float k = head_.ratio_strength[j];
            for (int64_t i = 0; i < n; ++i)
                to[i] = (engaged[i] + k * (expected ? expected[i] : head_.base[j])) / (shown[i] + k);
        }
        for (int64_t j = 0; j < head_.ratios; ++j) logarithms(column(values_, f + j), n);
    }

    void transform(int64_t kind, const float* rate, int64_t n, float support, int64_t j, float* to) {
        if (kind == 0) {
            for (int64_t i = 0; i < n; ++i) to[i] = rate[i];
        } else if (kind == 1) {
            for (int64_t i = 0; i < n; ++i) to[i] = std::log1p(rate[i] * support);
        } else {
            const float k = head_.strength[j], prior = k * head_.prior[j], all = support + k;
            for (int64_t i = 0; i < n; ++i) to[i] = (rate[i] * support + prior) / all;
            if (kind == 3) logarithms(to, n);
        }
    }

    void project(int64_t n, float* out) {
        const int64_t first_number = head_.rates * head_.transforms;
        for (int64_t i = 0; i < n; ++i) out[i] = *head_.bias;
        for (int64_t f = 0; f < head_.features(); ++f) {
            const float w = head_.weight[f];
            const float* values = column(values_, f);
            const int64_t number = f - first_number;
            if (missing_[f]) {
                const float added = head_.stand_in[f] * w + head_.flag[f];
                for (int64_t i = 0; i < n; ++i) out[i] += added;
            } else if (head_.flags && number >= 0 && number < head_.numbers) {
                const float added = head_.stand_in[f] * w + head_.flag[f];
                const float* unknown = column(flags_, number);
                for (int64_t i = 0; i < n; ++i) out[i] += unknown[i] != 0 ? added : values[i] * w;
            } else {
                for (int64_t i = 0; i < n; ++i) out[i] += values[i] * w;
            }
        }
    }

    void correct(int64_t n, float* out) {
        const int64_t features = head_.features(), first_number = head_.rates * head_.transforms;
        const int64_t in = 2 * features + head_.context;
        const float* weights = head_.linear;
        for (int64_t f = 0; f < features; ++f) {
            float* x = column(values_, f);
            const float factor = head_.norm[f], summand = head_.norm[features + f];
            const int64_t number = f - first_number;
            const bool flagged = head_.flags && number >= 0 && number < head_.numbers;
            const float* unknown = flagged ? column(flags_, number) : nullptr;
            if (missing_[f])
                for (int64_t i = 0; i < n; ++i) x[i] = summand;
            else if (flagged)
                for (int64_t i = 0; i < n; ++i) x[i] = (unknown[i] != 0 ? 0 : x[i] * factor) + summand;
            else
                for (int64_t i = 0; i < n; ++i) x[i] = x[i] * factor + summand;
            if (missing_[f]) continue;
            const float shift = shift_[f];
            if (flagged)
                for (int64_t i = 0; i < n; ++i) out[i] += shift * x[i] * (1 - unknown[i]);
            else
                for (int64_t i = 0; i < n; ++i) out[i] += shift * x[i];
        }
        linear(values_.data(), features, weights, in, first_bias_.data(), head_.widths[1], next_.data());
        if (head_.flags)
            for (int64_t j = 0; j < head_.numbers; ++j)
                for (int64_t h = 0; h < head_.widths[1]; ++h) {
                    const float w = weights[h * in + features + head_.context + first_number + j];
                    for (int64_t i = 0; i < n; ++i) column(next_, h)[i] += w * column(flags_, j)[i];
                }
        weights += head_.widths[1] * in + head_.widths[1];
        for (int64_t layer = 1; layer < head_.layers; ++layer) {
            const int64_t from = head_.widths[layer], to = head_.widths[layer + 1];
            std::swap(layer_, next_);
            positive(layer_, from, n);
            linear(layer_.data(), from, weights, from, weights + to * from, to, next_.data());
            weights += to * from + to;
        }
        const int64_t last = head_.widths[head_.layers];
        positive(next_, last, n);
        layer_.resize(std::max(wide_, int64_t{1}) * SIDE_BY_SIDE);
        linear(next_.data(), last, weights, last, weights + last, 1, layer_.data());
        for (int64_t i = 0; i < n; ++i) out[i] += layer_[i];
    }

    void positive(std::vector<float>& of, int64_t columns, int64_t n) {
        for (int64_t h = 0; h < columns; ++h)
            for (int64_t i = 0; i < n; ++i) column(of, h)[i] = std::max(column(of, h)[i], 0.0f);
    }
};

}  // namespace interactrank
