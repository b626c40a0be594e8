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
    Numbers(const Program& program, const Request& request, std::vector<double>& memory)
        : found(memory), p_(program), r_(request) {}

    std::vector<double>& found;  // [slots]

    // Fills `found` [size]: the number of each slot; returns that of what was never met.
    double operator()(const Feature& f, const Group& group, const Met& met, int64_t size, float* support) {
        const Store& s = *met.store;
        if (f.kind == RECENCY || f.kind == ORDER) return touches(f, s, met, size);
        found.assign(size, 0.0);
        if (f.kind == MATCH) {
            double weight = 0;
            for (const int64_t row : met.rows) weight += s.rarity[row < 0 ? s.num_keys : row];
            met.each([&](int64_t pair, int32_t slot, int32_t) { found[slot] += s.scores[pair]; });
            for (double& x : found) x /= std::max(weight, 1e-9);
            return 0;
        }
        if (f.kind == COSINE) return cosines(group, s, met, support);
        const int64_t end = moment(s, met.end), start = moment(s, met.end - f.window);
        std::vector<double> of_keys(met.rows.size());
        double of_request[2];
        totals(f, met, support, of_request, of_keys.data());
        if (support && of_request[0] == 0) return 0;  // no key has a count
        met.each([&](int64_t pair, int32_t slot, int32_t which) {
            const double count = static_cast<double>(pair_count(s, pair, end, f.window != 0, start));
            if (f.kind == SHARE)
                found[slot] += count / std::max(of_keys[which], 1.0);
            else if (f.kind == GEOMETRIC)
                found[slot] += std::log1p(count * static_cast<double>(p_.prior_items));
            else
                found[slot] += count;
        });
        const double other = finish(f, 0, of_request, false);
        if (f.kind == SHARE || f.kind == GEOMETRIC)
            for (double& x : found) x = x == 0 ? other : finish(f, x, of_request, false);
        return other;
    }

    // Counts of the keys; their mean is the support. of_request: keys with a count (of a geometric mean: all,
    // and 0 if none has a count), and the total of a single key (of a geometric mean: the base).
    void totals(const Feature& f, const Met& met, float* support, double* of_request,
                double* of_keys = nullptr) const {
        const Store& s = *met.store;
        of_request[0] = of_request[1] = 0;
        if (!support) return;
        const int64_t end = moment(s, met.end), start = moment(s, met.end - f.window);
        double sum = 0, seen = 0, logarithms = 0;
        for (size_t n = 0; n < met.rows.size(); ++n) {
            double count = static_cast<double>(key_count(s, met.rows[n], end));
            if (f.window) count -= static_cast<double>(key_count(s, met.rows[n], start));
            if (of_keys) of_keys[n] = count;
            sum += count, seen += count > 0, logarithms += std::log1p(count);
        }
        *support = static_cast<float>(sum / std::max(seen, 1.0));
        const double keys = static_cast<double>(std::max<size_t>(met.rows.size(), 1));
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
    const Program& p_;
    const Request& r_;

    double cosines(const Group& group, const Store& s, const Met& met, float* support) {
        const int64_t end = moment(s, met.end);
        const int64_t first = r_.offsets[group.keys];
        const auto users = [&](int64_t row, int64_t item) {
            const int64_t pair = find(s, row, item);
            return pair < 0 ? int64_t{0} : pair_count(s, pair, end, false, 0);
        };
        std::vector<int64_t> of_keys;
        double seen = 0;
        for (size_t n = 0; n < met.rows.size(); ++n) {
            of_keys.push_back(users(met.rows[n], r_.keys[first + n]));
            seen += of_keys.back() > 0;
        }
        met.each([&](int64_t pair, int32_t slot, int32_t which) {
            const int64_t item = s.items[pair];
            const double both = static_cast<double>(of_keys[which] * users(row_of(s, item), item));
            const double count = static_cast<double>(pair_count(s, pair, end, false, 0));
            found[slot] += count / std::sqrt(std::max(both, 1.0));
        });
        for (double& x : found) x /= std::max(seen, 1.0);
        *support = seen > 0;
        return 0;
    }

    double touches(const Feature& f, const Store& s, const Met& met, int64_t size) {
        const double never = f.kind == ORDER ? 0 : std::numeric_limits<double>::quiet_NaN();
        found.assign(size, never);
        const int64_t end = moment(s, met.end);
        std::vector<std::vector<int64_t>> lasts(f.kind == ORDER ? met.rows.size() : 0);
        for (size_t n = 0; n < lasts.size(); ++n) {
            if (met.rows[n] < 0) continue;
            for (int64_t pair = s.offsets[met.rows[n]]; pair < s.offsets[met.rows[n] + 1]; ++pair) {
                const int64_t count = pair_count(s, pair, end, false, 0);
                if (count) lasts[n].push_back(last_time(s, pair, count));
            }
            std::sort(lasts[n].begin(), lasts[n].end());
        }
        met.each([&](int64_t pair, int32_t slot, int32_t which) {
            const int64_t count = pair_count(s, pair, end, false, 0);
            if (!count) return;
            const int64_t last = last_time(s, pair, count);
            if (f.kind == RECENCY) {
                found[slot] = -std::log1p(static_cast<double>(r_.time - last) / 60000.0);
            } else {
                const std::vector<int64_t>& all = lasts[which];
                const auto later = all.end() - std::upper_bound(all.begin(), all.end(), last);
                found[slot] = 1 / (1.0 + static_cast<double>(later));
            }
        });
        return never;
    }
};

}  // namespace interactrank
