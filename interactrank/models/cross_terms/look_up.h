// The cross features of the candidates of one request: which items have a history, and all numbers of those
// and of each class of the others.

#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "classes.h"
#include "head.h"
#include "slots.h"
#include "stores.h"

namespace interactrank {

enum Kind : int64_t { SHARE, GEOMETRIC, COUNT, RATE, RECENCY, ORDER, COSINE, MATCH };

// What candidates may meet: a store under the keys of a name, up to a moment.
struct Group {
    int64_t store, keys, own;  // own: until the end of the user sequence
    int64_t field;             // -1: items; else values of the field
    int64_t everywhere;        // -1, else every item is known
};

struct Feature {
    int64_t kind, group, shown;  // the group of impressions of a rate, or -1
    int64_t window;              // milliseconds, 0 for all of the past
    int64_t column;              // among the rates, numbers or ratios
    int64_t counted;             // of a feature everywhere: its column in the classes; that of impressions is next
};

struct Request {
    const int64_t* keys;     // of all names, one after the other
    const int64_t* offsets;  // where those of each name begin
    int64_t time, sequence_end;
};

struct Hit {
    int64_t pair;
    int32_t slot, which;
};

// The keys of a group and the pairs of known candidates (or of field values).
struct Met {
    std::vector<int64_t> rows;
    std::vector<Hit> hits;
    int64_t end;
};

struct Program {
    int64_t items, prior_items;
    std::vector<Store> stores;
    std::vector<Group> groups;
    std::vector<Feature> features;
    std::vector<Field> fields;
    std::vector<Everywhere> everywhere;
    std::vector<int32_t> lists;  // [items, fields]
    std::vector<std::unique_ptr<Classes>> idle;
    std::mutex lock;
};

// The classes of a program for a call: one that stands near, or a new one.
class Borrowed {
  public:
    Borrowed(Program& program, const std::vector<int64_t>& rows, const std::vector<int64_t>& ends)
        : program_(program) {
        {
            const std::lock_guard<std::mutex> hold(program.lock);
            auto& idle = program.idle;
            size_t n = idle.size();
            while (n && !idle[n - 1]->at_rows(rows)) --n;
            if (!n && idle.size() >= KEPT) n = 1;
            if (n) {
                classes_ = std::move(idle[n - 1]);
                idle.erase(idle.begin() + (n - 1));
            }
        }
        if (!classes_)
            classes_ = std::make_unique<Classes>(program.items, program.everywhere, program.fields.size(),
                                                 program.lists.data());
        classes_->move(program.stores, rows, ends);
    }

    ~Borrowed() {
        const std::lock_guard<std::mutex> hold(program_.lock);
        program_.idle.push_back(std::move(classes_));
    }

    const Classes& operator*() const { return *classes_; }

  private:
    static constexpr size_t KEPT = 8;
    Program& program_;
    std::unique_ptr<Classes> classes_;
};

// Rows whose numbers are wanted: first the K known candidates, then the classes of the others.
struct Wanted {
    std::vector<int64_t> positions;  // [K] which of the candidates
    std::vector<int32_t> known;      // [K] their classes
    std::vector<int32_t> classes;    // of the others
    std::vector<int32_t> place;      // [C] which of these a listed candidate has; empty for the catalogue

    int64_t size() const { return known.size() + classes.size(); }
    int32_t of_row(int64_t row) const {
        const int64_t k = known.size();
        return row < k ? known[row] : classes[row - k];
    }
};

class LookUp {
  public:
    LookUp(Program& program, const Request& request) : p_(program), r_(request) {
        for (const Group& g : p_.groups) {
            Met met;
            met.end = g.own ? r_.sequence_end : r_.time;
            for (int64_t n = r_.offsets[g.keys]; n < r_.offsets[g.keys + 1]; ++n)
                met.rows.push_back(row_of(p_.stores[g.store], r_.keys[n]));
            met_.push_back(std::move(met));
        }
        for (const Feature& f : p_.features) {
            if (f.counted < 0) continue;
            for (const int64_t group : {f.group, f.shown}) {
                if (group < 0) continue;
                everywhere_rows_.push_back(met_[group].rows.empty() ? -1 : met_[group].rows[0]);
                everywhere_ends_.push_back(met_[group].end);
            }
        }
        classes_ = std::make_unique<Borrowed>(p_, everywhere_rows_, everywhere_ends_);
    }

    // Finds what is wanted of candidates: rows [size] of the catalogue, null for all of it.
    void meet(const int64_t* rows, int64_t size) {
        int64_t pairs = 0;
        for_item_groups([&](const Store& s, Met&, int64_t row, int32_t) {
            pairs += s.offsets[row + 1] - s.offsets[row];
        });
        if (rows && pairs > 2 * size)
            from_candidates(rows, size);
        else
            from_pairs(rows, size, pairs);
        for (const int64_t at : wanted.positions) wanted.known.push_back((**classes_).of(rows ? rows[at] : at));
        choose_classes(rows, size);
        for (size_t g = 0; g < p_.groups.size(); ++g)
            if (p_.groups[g].field >= 0) meet_values(p_.stores[p_.groups[g].store], met_[g]);
    }

    void columns(const Head& head, Columns& out) {
        out.clear(head, wanted.size());
        for (const Feature& f : p_.features) {
            if (f.kind == RATE) {
                fill(f, f.group, f.counted, out.engaged.data() + f.column * out.rows);
                fill(f, f.shown, f.counted < 0 ? -1 : f.counted + 1, out.shown.data() + f.column * out.rows);
            } else if (f.kind == SHARE || f.kind == GEOMETRIC || f.kind == COSINE) {
                float support = 0;
                fill(f, f.group, f.counted, out.rate.data() + f.column * out.rows, &support);
                out.support[f.column] = support;
            } else {
                fill(f, f.group, f.counted, out.number.data() + f.column * out.rows);
            }
        }
    }

    // Adds what was found for each class to all items of the catalogue.
    void add_of_classes(const float* others, int64_t size, float* dots) const {
        const Classes& classes = **classes_;
        for (int64_t c = 0; c < size; ++c) dots[c] += others[classes.of(c)];
    }

    // Writes [size] which of the wanted rows each candidate is.
    void rows_of(const int64_t* rows, int64_t size, int64_t* at) const {
        const int64_t known = wanted.known.size();
        for (int64_t c = 0; c < size; ++c)
            at[c] = known + (!rows ? (**classes_).of(c) : wanted.place.empty() ? 0 : wanted.place[c]);
        for (int64_t k = 0; k < known; ++k) at[wanted.positions[k]] = k;
    }

    Wanted wanted;

  private:
    Program& p_;
    const Request& r_;
    std::vector<Met> met_;
    std::vector<int64_t> everywhere_rows_, everywhere_ends_;
    std::unique_ptr<Borrowed> classes_;
    Slots slots_;
    std::vector<double> found_;

    template <typename Use>
    void for_item_groups(Use use) {
        for (size_t g = 0; g < p_.groups.size(); ++g) {
            const Group& group = p_.groups[g];
            if (group.field >= 0 || group.everywhere >= 0) continue;
            for (size_t n = 0; n < met_[g].rows.size(); ++n)
                if (met_[g].rows[n] >= 0)
                    use(p_.stores[group.store], met_[g], met_[g].rows[n], static_cast<int32_t>(n));
        }
    }

    // Few pairs: number their items, then see which are candidates.
    void from_pairs(const int64_t* rows, int64_t size, int64_t pairs) {
        slots_.clear(pairs);
        std::vector<int64_t> items;
        for_item_groups([&](const Store& s, Met& met, int64_t row, int32_t which) {
            for (int64_t pair = s.offsets[row]; pair < s.offsets[row + 1]; ++pair) {
                const int32_t next = static_cast<int32_t>(items.size());
                const int32_t slot = slots_.add(s.items[pair], next);
                if (slot == next) items.push_back(s.items[pair]);
                met.hits.push_back({pair, slot, which});
            }
        });
        if (!rows) {
            wanted.positions = std::move(items);
            return;
        }
        std::vector<int32_t> number(items.size(), -1);
        if (!items.empty())
            for (int64_t c = 0; c < size; ++c) {
                const int32_t slot = slots_.at(static_cast<int32_t>(rows[c]));
                if (slot < 0) continue;
                number[slot] = static_cast<int32_t>(wanted.positions.size());
                wanted.positions.push_back(c);
            }
        renumber(number);
    }

    // Few candidates: number them, then see which pairs they have.
    void from_candidates(const int64_t* rows, int64_t size) {
        slots_.clear(size);
        for (int64_t c = 0; c < size; ++c) slots_.add(static_cast<int32_t>(rows[c]), static_cast<int32_t>(c));
        std::vector<int32_t> number(size, -1);
        for_item_groups([&](const Store& s, Met& met, int64_t row, int32_t which) {
            const auto hit = [&](int64_t pair, int32_t c) {
                if (number[c] < 0) {
                    number[c] = static_cast<int32_t>(wanted.positions.size());
                    wanted.positions.push_back(c);
                }
                met.hits.push_back({pair, c, which});
            };
            const int64_t low = s.offsets[row], high = s.offsets[row + 1];
            if (high - low > 64 * size) {
                for (int64_t c = 0; c < size; ++c) {
                    const int64_t pair = find(s, row, rows[c]);
                    if (pair >= 0) hit(pair, static_cast<int32_t>(c));
                }
                return;
            }
            for (int64_t pair = low; pair < high; ++pair) {
                const int32_t c = slots_.at(s.items[pair]);
                if (c >= 0) hit(pair, c);
            }
        });
        renumber(number);
    }

    void renumber(const std::vector<int32_t>& number) {
        for (Met& met : met_) {
            size_t kept = 0;
            for (Hit& hit : met.hits)
                if ((hit.slot = number[hit.slot]) >= 0) met.hits[kept++] = hit;
            met.hits.resize(kept);
        }
    }

    void choose_classes(const int64_t* rows, int64_t size) {
        const Classes& classes = **classes_;
        if (!rows) {
            for (int64_t c = 0; c < classes.count(); ++c) wanted.classes.push_back(static_cast<int32_t>(c));
            return;
        }
        if (classes.count() == 1) {
            wanted.classes.push_back(0);
            return;
        }
        std::vector<int32_t> place(classes.count(), -1);
        wanted.place.resize(size);
        for (int64_t c = 0; c < size; ++c) {
            const int32_t own = classes.of(rows[c]);
            if (place[own] < 0) {
                place[own] = static_cast<int32_t>(wanted.classes.size());
                wanted.classes.push_back(own);
            }
            wanted.place[c] = place[own];
        }
    }

    void meet_values(const Store& s, Met& met) {
        for (size_t n = 0; n < met.rows.size(); ++n) {
            if (met.rows[n] < 0) continue;
            for (int64_t pair = s.offsets[met.rows[n]]; pair < s.offsets[met.rows[n] + 1]; ++pair)
                met.hits.push_back({pair, s.items[pair], static_cast<int32_t>(n)});
        }
    }

    // Writes the numbers of a feature for all rows that are wanted.
    void fill(const Feature& f, int64_t of_group, int64_t counted, float* out, float* support = nullptr) {
        const Group& group = p_.groups[of_group];
        const int64_t known = wanted.known.size();
        const double nan = std::numeric_limits<double>::quiet_NaN();
        if (counted >= 0) {
            double of_keys[2];
            totals(f, group, met_[of_group], support, of_keys);
            for (int64_t row = 0; row < wanted.size(); ++row)
                out[row] = finish(f, (**classes_).value(wanted.of_row(row), counted), of_keys, true);
            return;
        }
        if (group.field < 0) {
            const float other = numbers(f, group, met_[of_group], known, support);
            for (int64_t row = 0; row < known; ++row) out[row] = static_cast<float>(found_[row]);
            for (int64_t row = known; row < wanted.size(); ++row) out[row] = other;
            return;
        }
        const Field& field = p_.fields[group.field];
        numbers(f, group, met_[of_group], field.num_values, support);
        const bool largest = f.kind == RECENCY || f.kind == ORDER;
        for (int64_t row = 0; row < wanted.size(); ++row) {
            const int64_t item = (**classes_).item(wanted.of_row(row));
            const int64_t low = field.offsets[item], high = field.offsets[item + 1];
            double total = 0, best = f.kind == ORDER ? 0 : nan;
            for (int64_t n = low; n < high; ++n) {
                const double value = found_[field.values[n]];
                total += value;
                if (value == value && !(best >= value)) best = value;
            }
            out[row] = static_cast<float>(largest ? best : total / static_cast<double>(std::max<int64_t>(high - low, 1)));
        }
    }

    // Fills found_ [size]: the number of each slot; returns that of what was never met.
    float numbers(const Feature& f, const Group& group, Met& met, int64_t size, float* support) {
        const Store& s = p_.stores[group.store];
        if (f.kind == RECENCY || f.kind == ORDER) return touches(f, s, met, size);
        found_.assign(size, 0.0);
        if (f.kind == MATCH) {
            double weight = 0;
            for (const int64_t row : met.rows) weight += s.rarity[row < 0 ? s.num_keys : row];
            for (const Hit& hit : met.hits) found_[hit.slot] += s.scores[hit.pair];
            for (double& x : found_) x /= std::max(weight, 1e-9);
            return 0;
        }
        if (f.kind == COSINE) return cosines(group, s, met, support);
        const int64_t end = moment(s, met.end), start = moment(s, met.end - f.window);
        std::vector<double> of_keys(met.rows.size());
        double of_request[2];
        totals(f, group, met, support, of_request, of_keys.data());
        for (const Hit& hit : met.hits) {
            const double count = static_cast<double>(pair_count(s, hit.pair, end, f.window != 0, start));
            if (f.kind == SHARE)
                found_[hit.slot] += count / std::max(of_keys[hit.which], 1.0);
            else if (f.kind == GEOMETRIC)
                found_[hit.slot] += std::log1p(count * static_cast<double>(p_.prior_items));
            else
                found_[hit.slot] += count;
        }
        for (double& x : found_) x = finish(f, x, of_request, false);
        return static_cast<float>(finish(f, 0, of_request, false));
    }

    // Counts of the keys; their mean is the support. of_request: keys with a count (of a geometric mean: all,
    // and 0 if none has a count), and the total of a single key (of a geometric mean: the base).
    void totals(const Feature& f, const Group& group, const Met& met, float* support, double* of_request,
                double* of_keys = nullptr) {
        const Store& s = p_.stores[group.store];
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

    float cosines(const Group& group, const Store& s, const Met& met, float* support) {
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
        for (const Hit& hit : met.hits) {
            const int64_t item = s.items[hit.pair];
            const double both = static_cast<double>(of_keys[hit.which] * users(row_of(s, item), item));
            const double count = static_cast<double>(pair_count(s, hit.pair, end, false, 0));
            found_[hit.slot] += count / std::sqrt(std::max(both, 1.0));
        }
        for (double& x : found_) x /= std::max(seen, 1.0);
        *support = seen > 0;
        return 0;
    }

    float touches(const Feature& f, const Store& s, const Met& met, int64_t size) {
        const double never = f.kind == ORDER ? 0 : std::numeric_limits<double>::quiet_NaN();
        found_.assign(size, never);
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
        for (const Hit& hit : met.hits) {
            const int64_t count = pair_count(s, hit.pair, end, false, 0);
            if (!count) continue;
            const int64_t last = last_time(s, hit.pair, count);
            if (f.kind == RECENCY) {
                found_[hit.slot] = -std::log1p(static_cast<double>(r_.time - last) / 60000.0);
            } else {
                const std::vector<int64_t>& all = lasts[hit.which];
                const auto later = all.end() - std::upper_bound(all.begin(), all.end(), last);
                found_[hit.slot] = 1 / (1.0 + static_cast<double>(later));
            }
        }
        return static_cast<float>(never);
    }
};

}  // namespace interactrank
