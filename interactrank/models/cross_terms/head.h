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

constexpr int64_t SIDE_BY_SIDE = 128;  // rows of a block

// Columns of R rows: rates, numbers, engagements and impressions, each [columns][rows]; support [rates]. Where a
// column is not said to vary, all rows of the block are the same.
struct Columns {
    int64_t rows, blocks;
    std::vector<float> rate, number, engaged, shown, support;
    std::vector<uint8_t> varies;  // [rates, numbers, ratios][blocks]

    void clear(const Head& head, int64_t size) {
        rows = size, blocks = (size + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE;
        rate.resize(head.rates * size);
        number.resize(head.numbers * size);
        engaged.resize(head.ratios * size);
        shown.resize(head.ratios * size);
        support.assign(head.rates, 0);
        varies.assign((head.rates + head.numbers + head.ratios) * blocks, 0);
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
    explicit Rest(const Head& head) : head_(head), features_(head.features()), wide_(features_) {
        for (int64_t n = 0; n <= head.layers; ++n) wide_ = std::max(wide_, head.widths[n]);
    }

    // Writes [rows] what is added to the dot products.
    void operator()(const Columns& columns, float* out) {
        for (auto* memory : {&values_, &packed_}) memory->resize((features_ + 1) * SIDE_BY_SIDE);
        for (auto* memory : {&layer_, &next_}) memory->resize((wide_ + 1) * SIDE_BY_SIDE);
        flags_.resize(head_.numbers * SIDE_BY_SIDE);
        of_request(columns);
        for (int64_t block = 0; block < columns.blocks; ++block) {
            const int64_t first = block * SIDE_BY_SIDE, n = std::min(SIDE_BY_SIDE, columns.rows - first);
            size_.assign(features_, 1);
            read(columns, first, block, n);
            project(n, out + first);
            if (head_.layers) correct(n, out + first);
        }
    }

  private:
    const Head& head_;
    int64_t features_, wide_;
    std::vector<float> values_, flags_, packed_, layer_, next_, first_bias_, shift_, weights_, summands_;
    std::vector<char> missing_;   // [features], for all rows of the request
    std::vector<int64_t> size_;   // [features] numbers in the block: 1 if all rows are the same

    float* column(std::vector<float>& of, int64_t j) { return of.data() + j * SIDE_BY_SIDE; }
    bool is_number(int64_t f) const {
        const int64_t j = f - head_.rates * head_.transforms;
        return j >= 0 && j < head_.numbers;
    }
    const float* unknown(int64_t f) { return column(flags_, f - head_.rates * head_.transforms); }

    // What does not depend on the row: which features are missing, and the facts in the correction.
    void of_request(const Columns& columns) {
        missing_.assign(features_, 0);
        for (int64_t j = 0; j < head_.rates * head_.transforms; ++j)
            missing_[j] = columns.support[j % head_.rates] <= 0;
        if (!head_.layers) return;
        const int64_t in = 2 * features_ + head_.context, out = head_.widths[1];
        std::vector<float> facts(head_.context);
        for (int64_t j = 0; j < head_.context; ++j)
            facts[j] = std::log1p(columns.support[j]) * head_.norm_context[j] +
                       head_.norm_context[head_.context + j];
        first_bias_.assign(head_.linear + out * in, head_.linear + out * in + out);
        for (int64_t h = 0; h < out; ++h) {
            const float* weights = head_.linear + h * in;
            for (int64_t j = 0; j < head_.context; ++j) first_bias_[h] += weights[features_ + j] * facts[j];
            for (int64_t j = 0; j < features_; ++j)
                if (missing_[j]) first_bias_[h] += weights[features_ + head_.context + j];
        }
        shift_.assign(features_, 0);
        for (int64_t f = 0; f < features_; ++f)
            for (int64_t j = 0; j < head_.context; ++j)
                shift_[f] += head_.shift[f * head_.context + j] * facts[j];
    }

    void read(const Columns& columns, int64_t first, int64_t block, int64_t n) {
        const uint8_t* varies = columns.varies.data() + block;
        int64_t f = 0;
        for (int64_t t = 0; t < head_.transforms; ++t)
            for (int64_t j = 0; j < head_.rates; ++j, ++f) {
                if (missing_[f]) continue;
                size_[f] = varies[j * columns.blocks] ? n : 1;
                transform(head_.transform[t], columns.rate.data() + j * columns.rows + first, size_[f],
                          columns.support[j], j, column(values_, f));
            }
        for (int64_t j = 0; j < head_.numbers; ++j, ++f) {
            const int64_t m = size_[f] = varies[(head_.rates + j) * columns.blocks] ? n : 1;
            const float* from = columns.number.data() + j * columns.rows + first;
            float *to = column(values_, f), *flag = column(flags_, j);
            const float offset = head_.offset[j];
            const bool logged = offset == offset;
            for (int64_t i = 0; i < m; ++i) flag[i] = from[i] != from[i];
            for (int64_t i = 0; i < m; ++i) to[i] = logged ? from[i] + offset : from[i];
            if (logged) logarithms(to, m);
        }
        for (int64_t o = 0; o < head_.ratios; ++o) {  // the widest first, as narrower ones need them
            const int64_t j = head_.order[o], wider = head_.wider[j];
            const int64_t of_wider = wider < 0 ? 1 : size_[f + wider];
            const bool alone = varies[(head_.rates + head_.numbers + j) * columns.blocks];
            const int64_t m = size_[f + j] = alone || of_wider > 1 ? n : 1;
            const float *engaged = columns.engaged.data() + j * columns.rows + first,
                        *shown = columns.shown.data() + j * columns.rows + first;
            float* to = column(values_, f + j);
            const float* expected = wider < 0 ? head_.base + j : column(values_, f + wider);
            const float k = head_.ratio_strength[j];
            if (of_wider > 1)
                for (int64_t i = 0; i < m; ++i) to[i] = (engaged[i] + k * expected[i]) / (shown[i] + k);
            else
                for (int64_t i = 0; i < m; ++i) to[i] = (engaged[i] + k * *expected) / (shown[i] + k);
        }
        for (int64_t j = 0; j < head_.ratios; ++j) logarithms(column(values_, f + j), size_[f + j]);
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
        float same = *head_.bias;
        for (int64_t i = 0; i < n; ++i) out[i] = 0;
        for (int64_t f = 0; f < features_; ++f) {
            const float w = head_.weight[f], absent = head_.stand_in[f] * w + head_.flag[f];
            const float* values = column(values_, f);
            const bool flagged = head_.flags && is_number(f);
            if (missing_[f])
                same += absent;
            else if (size_[f] == 1)
                same += flagged && *unknown(f) != 0 ? absent : *values * w;
            else if (flagged)
                for (int64_t i = 0; i < n; ++i) out[i] += unknown(f)[i] != 0 ? absent : values[i] * w;
            else
                for (int64_t i = 0; i < n; ++i) out[i] += values[i] * w;
        }
        for (int64_t i = 0; i < n; ++i) out[i] += same;
    }

    // Columns that are the same for all rows of the block become part of the summands of the first layer.
    void correct(int64_t n, float* out) {
        const int64_t in = 2 * features_ + head_.context, width = head_.widths[1];
        const float* weights = head_.linear;
        summands_ = first_bias_;
        std::vector<int64_t> packed;
        float same = 0;
        for (int64_t f = 0; f < features_; ++f) {
            const float factor = head_.norm[f], summand = head_.norm[features_ + f];
            const bool flagged = head_.flags && is_number(f) && !missing_[f];
            const int64_t of_flag = features_ + head_.context + f;
            if (size_[f] == 1) {
                const bool absent = missing_[f] || (flagged && *unknown(f) != 0);
                const float x = absent ? summand : *column(values_, f) * factor + summand;
                for (int64_t h = 0; h < width; ++h) summands_[h] += weights[h * in + f] * x;
                if (!absent) same += shift_[f] * x;
                if (absent && !missing_[f])
                    for (int64_t h = 0; h < width; ++h) summands_[h] += weights[h * in + of_flag];
                continue;
            }
            const float *values = column(values_, f), *flag = flagged ? unknown(f) : nullptr;
            float* x = column(packed_, packed.size());
            packed.push_back(f);
            if (flagged) {
                for (int64_t i = 0; i < n; ++i) x[i] = (flag[i] != 0 ? 0 : values[i] * factor) + summand;
                for (int64_t i = 0; i < n; ++i) out[i] += shift_[f] * x[i] * (1 - flag[i]);
            } else {
                for (int64_t i = 0; i < n; ++i) x[i] = values[i] * factor + summand;
                for (int64_t i = 0; i < n; ++i) out[i] += shift_[f] * x[i];
            }
        }
        weights_.clear();
        for (int64_t h = 0; h < width; ++h)
            for (const int64_t f : packed) weights_.push_back(weights[h * in + f]);
        const int64_t varying = static_cast<int64_t>(packed.size());
        linear(packed_.data(), varying, weights_.data(), varying, summands_.data(), width, next_.data());
        for (const int64_t f : packed) {
            if (!(head_.flags && is_number(f))) continue;
            for (int64_t h = 0; h < width; ++h) {
                const float w = weights[h * in + features_ + head_.context + f];
                for (int64_t i = 0; i < n; ++i) column(next_, h)[i] += w * unknown(f)[i];
            }
        }
        weights += width * in + width;
        for (int64_t layer = 1; layer < head_.layers; ++layer) {
            const int64_t from = head_.widths[layer], to = head_.widths[layer + 1];
            std::swap(layer_, next_);
            positive(layer_, from);
            linear(layer_.data(), from, weights, from, weights + to * from, to, next_.data());
            weights += to * from + to;
        }
        const int64_t last = head_.widths[head_.layers];
        positive(next_, last);
        linear(next_.data(), last, weights, last, weights + last, 1, layer_.data());
        for (int64_t i = 0; i < n; ++i) out[i] += layer_[i] + same;
    }

    void positive(std::vector<float>& of, int64_t columns) {
        for (int64_t i = 0; i < columns * SIDE_BY_SIDE; ++i) of[i] = of[i] > 0 ? of[i] : 0;
    }
};

}  // namespace interactrank
