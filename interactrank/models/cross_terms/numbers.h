// The number of each slot for one feature: items that are known, or values of a field.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "program.h"
#include "stores.h"

namespace interactrank {

class Numbers {
  public:
    // `zeros` are zeros between calls.
    Numbers(const Program& program, const Request& request, std::vector<double>& zeros)
        : sums_(zeros), p_(program), r_(request) {}

    // Writes [size] the number of each slot, and calls mark(slot) for those that may be another than the rest.
    template <typename T, typename Mark>
    void operator()(const Feature& f, const Group& group, const Met& met, T* out, int64_t size, float* support,
                    Mark mark) {
        if (f.kind == RECENCY || f.kind == ORDER) return touches(f, met, out, size, mark);
        make_room(size);
        double of_request[2] = {0, 0}, divisor = 1;
        if (f.kind == MATCH) {
            divisor = std::max(matches(met), 1e-9);
        } else if (f.kind == COSINE) {
            const double seen = cosines(group, met);
            divisor = std::max(seen, 1.0);
            *support = seen > 0;
        } else if (!counts(f, met, support, of_request)) {
            std::fill(out, out + size, T{0});  // no key has a count
            return;
        }
        const bool divided = f.kind == MATCH || f.kind == COSINE;
        const auto number = [&](double x) {
            return static_cast<T>(divided ? x / divisor : finish(f, x, of_request, false));
        };
        std::fill(out, out + size, number(0));
        met.each([&](const Part&, int64_t, int32_t slot, int32_t) {
            if (sums_[slot] == 0) return;
            out[slot] = number(sums_[slot]);
            sums_[slot] = 0;
            mark(slot);
        });
    }

    // Adds to counts of all items [size] what the runs add: replace(slot, count).
    template <typename Replace>
    void add_counts(const Feature& f, const Met& met, int64_t size, Replace replace) {
        if (met.hits.empty()) return;
        make_room(size);
        met.each_count(f.window, [&](int32_t slot, int32_t, int64_t count) {
            sums_[slot] += static_cast<double>(count);
        });
        for (const Hit& hit : met.hits) {
            if (sums_[hit.slot] != 0) replace(hit.slot, sums_[hit.slot]);
            sums_[hit.slot] = 0;
        }
    }

    // Counts of the keys; their mean is the support. of_request: keys with a count (of a geometric mean: all,
    // and 0 if none has a count), and the total of a single key (of a geometric mean: the base).
    void totals(const Feature& f, const Met& met, float* support, double* of_request,
                double* of_keys = nullptr) const {
        of_request[0] = of_request[1] = 0;
        if (!support) return;
        double sum = 0, seen = 0, logarithms = 0;
        for (size_t n = 0; n < met.keys(); ++n) {
            double count = static_cast<double>(met.count_of_key(n, met.end));
            if (f.window) count -= static_cast<double>(met.count_of_key(n, met.end - f.window));
            if (of_keys) of_keys[n] = count;
            sum += count, seen += count > 0, logarithms += std::log1p(count);
        }
        *support = static_cast<float>(sum / std::max(seen, 1.0));
        const double keys = static_cast<double>(std::max<size_t>(met.keys(), 1));
        if (f.kind == GEOMETRIC)
            of_request[0] = seen > 0 ? keys : 0, of_request[1] = -logarithms / keys;
        else
            of_request[0] = seen, of_request[1] = sum;
    }

    double finish(const Feature& f, double x, const double* of_request, bool single) const {
        if (f.kind == SHARE) {
            if (single) x /= std::max(of_request[1], 1.0);
            return x / std::max(of_request[0], 1.0);
        }
        if (f.kind != GEOMETRIC) return x;
        if (of_request[0] == 0) return 0;
        return std::exp(x / of_request[0] + of_request[1]) / static_cast<double>(p_.prior_items);
    }

  private:
    std::vector<double>& sums_;
    const Program& p_;
    const Request& r_;

    void make_room(int64_t size) {
        if (static_cast<int64_t>(sums_.size()) < size) sums_.resize(size, 0.0);
    }

    // Sums up what is counted; returns whether any key has a count, where that matters.
    bool counts(const Feature& f, const Met& met, float* support, double* of_request) {
        std::vector<double> of_keys(met.keys());
        totals(f, met, support, of_request, of_keys.data());
        if (support && of_request[0] == 0) return false;
        if (f.kind == GEOMETRIC)
            met.each_pair(f.window, [&](int32_t slot, int32_t, int64_t count, int64_t, int32_t) {
                sums_[slot] += std::log1p(static_cast<double>(count) * static_cast<double>(p_.prior_items));
            });
        else
            met.each_count(f.window, [&](int32_t slot, int32_t which, int64_t times) {
                const double count = static_cast<double>(times);
                sums_[slot] += f.kind == SHARE ? count / std::max(of_keys[which], 1.0) : count;
            });
        return true;
    }

    // Sums up matches; returns the weight of all keys.
    double matches(const Met& met) {
        const Store& s = *met.parts[0].store;  // no run has matches
        double weight = 0;
        for (const int64_t row : met.parts[0].rows) weight += s.rarity[row < 0 ? s.num_keys : row];
        met.each([&](const Part&, int64_t pair, int32_t slot, int32_t) { sums_[slot] += s.scores[pair]; });
        return weight;
    }

    // Sums up cosines; returns how many keys are known.
    double cosines(const Group& group, const Met& met) {
        const int64_t* keys = r_.keys + r_.offsets[group.keys];
        const auto users = [&](const Part& part, int64_t row, int64_t item) {
            const int64_t pair = find(*part.store, row, item);
            return pair < 0 ? int64_t{0} : pair_count(*part.store, pair, part.at(met.end), false, 0);
        };
        std::vector<int64_t> of_keys(met.keys(), 0);
        double seen = 0;
        for (size_t n = 0; n < met.keys(); ++n) {
            for (const Part& part : met.parts) of_keys[n] += users(part, part.rows[n], keys[n]);
            seen += of_keys[n] > 0;
        }
        met.each_pair(0, [&](int32_t slot, int32_t which, int64_t count, int64_t, int32_t item) {
            int64_t of_item = users(met.parts[0], row_of(*met.parts[0].store, item), item);
            for (const Part& run : met.others) of_item += users(run, row_of(*run.store, item), item);
            const double both = static_cast<double>(of_keys[which] * of_item);
            sums_[slot] += static_cast<double>(count) / std::sqrt(std::max(both, 1.0));
        });
        return seen;
    }

    template <typename T, typename Mark>
    void touches(const Feature& f, const Met& met, T* out, int64_t size, Mark mark) {
        std::fill(out, out + size, f.kind == ORDER ? T{0} : std::numeric_limits<T>::quiet_NaN());
        if (f.kind == RECENCY) {
            met.each_pair(0, [&](int32_t slot, int32_t, int64_t, int64_t last, int32_t) {
                out[slot] = static_cast<T>(-std::log1p(static_cast<double>(r_.time - last) / 60000.0));
                mark(slot);
            });
            return;
        }
        const std::vector<std::vector<int64_t>> lasts = last_times(met);
        met.each_pair(0, [&](int32_t slot, int32_t which, int64_t, int64_t last, int32_t) {
            const std::vector<int64_t>& all = lasts[which];
            const auto later = all.end() - std::upper_bound(all.begin(), all.end(), last);
            out[slot] = static_cast<T>(1 / (1.0 + static_cast<double>(later)));
            mark(slot);
        });
    }

    // The last time of each item under each key, ascending.
    std::vector<std::vector<int64_t>> last_times(const Met& met) const {
        std::vector<std::vector<int64_t>> lasts(met.keys());
        Met every{met.parts, met.others, met.end, true, {}};  // not of known candidates alone
        every.each_pair(0, [&](int32_t, int32_t which, int64_t, int64_t last, int32_t) {
            lasts[which].push_back(last);
        });
        for (auto& of_key : lasts) std::sort(of_key.begin(), of_key.end());
        return lasts;
    }
};

}  // namespace interactrank
