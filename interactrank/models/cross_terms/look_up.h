// The cross features of the candidates of one request: which items have a history, and all numbers of those
// and of each class of the others.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "head.h"
#include "numbers.h"
#include "program.h"
#include "slots.h"

namespace interactrank {

// Rows whose numbers are wanted: first the K known candidates, then the classes of the others.
struct Wanted {
    std::vector<int64_t> positions;  // [K] which of the candidates
    std::vector<int32_t> known;      // [K] their classes
    std::vector<int32_t> classes;    // of the others
    int64_t all = 0;                 // known are all items of the catalogue: that many, in order
    std::vector<int32_t> place;      // [C] which of these a listed candidate has; empty for the catalogue

    int64_t size() const { return all + known.size() + classes.size(); }
};

class LookUp {
  public:
    LookUp(Program& program, const Runs& runs, const Request& request)
        : p_(program), r_(request), numbers_(program, request, memory()) {
        for (const Group& g : p_.groups) met_.push_back(keys_of(g, runs));
        for (const Feature& f : p_.features) {
            if (f.counted < 0) continue;
            for (const int64_t group : {f.group, f.shown}) {
                if (group < 0) continue;
                everywhere_rows_.push_back(met_[group].keys() ? met_[group].parts[0].rows[0] : -1);
                everywhere_ends_.push_back(met_[group].end);
            }
        }
        classes_ = std::make_unique<Borrowed>(p_, everywhere_rows_, everywhere_ends_);
    }

    // Finds what is wanted of candidates: rows [size] of the catalogue, null for all of it.
    void meet(const int64_t* rows, int64_t size) {
        int64_t pairs = 0;
        for_item_groups([&](const Store& s, Met&, int64_t row, int32_t, int32_t) {
            pairs += s.offsets[row + 1] - s.offsets[row];
        });
        if (rows && pairs > 2 * size)
            from_candidates(rows, size);
        else if (!rows && 4 * pairs > size)
            from_all(size);
        else
            from_pairs(rows, size, pairs);
        if (wanted.all) return;
        for (const int64_t at : wanted.positions) wanted.known.push_back((**classes_).of(rows ? rows[at] : at));
        choose_classes(rows, size);
    }

    void columns(const Head& head, Columns& out) {
        out.clear(head, wanted.size());
        row_class_.resize(out.rows);
        for (int64_t row = 0; row < out.rows; ++row) row_class_[row] = class_of_row(row);
        for (const Feature& f : p_.features) {
            const auto varies = [&](int64_t before) { return out.varies.data() + (before + f.column) * out.blocks; };
            const auto at = [&](std::vector<float>& of) { return of.data() + f.column * out.rows; };
            if (f.kind == RATE) {
                uint8_t* of_both = varies(head.rates + head.numbers);
                fill(f, f.group, f.counted, at(out.engaged), of_both);
                fill(f, f.shown, f.counted < 0 ? -1 : f.counted + 1, at(out.shown), of_both);
            } else if (f.kind == SHARE || f.kind == GEOMETRIC || f.kind == COSINE) {
                fill(f, f.group, f.counted, at(out.rate), varies(0), &out.support[f.column]);
            } else {
                fill(f, f.group, f.counted, at(out.number), varies(head.rates));
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
        if (wanted.all) {
            std::iota(at, at + size, 0);
            return;
        }
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
    Numbers numbers_;
    std::vector<double> values_;      // of a field
    std::vector<float> lists_;        // of values
    std::vector<int32_t> row_class_;  // [wanted]

    static std::vector<double>& memory() {
        static thread_local std::vector<double> kept;
        return kept;
    }

    int32_t class_of_row(int64_t row) const {
        if (wanted.all) return (**classes_).of(row);
        const int64_t k = wanted.known.size();
        return row < k ? wanted.known[row] : wanted.classes[row - k];
    }

    Met keys_of(const Group& g, const Runs& runs) const {
        Met met;
        const Store& store = p_.stores[g.store];
        met.direct = g.field >= 0;
        met.end = g.own ? r_.sequence_end : r_.time;
        const auto part = [&](const Store& s, int64_t floor_ms) {
            Part found{&s, floor_ms, {}};
            for (int64_t n = r_.offsets[g.keys]; n < r_.offsets[g.keys + 1]; ++n)
                found.rows.push_back(row_of(s, r_.keys[n]));
            return found;
        };
        met.parts.push_back(part(store, 0));
        if (!runs.stores) return met;
        for (int64_t n = runs.offsets[g.store]; n < runs.offsets[g.store + 1]; ++n) {
            Part run = part(runs.stores[n], store.tile_ms);
            met.others.push_back({run.store, run.floor_ms, {}});
            if (std::any_of(run.rows.begin(), run.rows.end(), [](int64_t row) { return row >= 0; }))
                met.parts.push_back(std::move(run));
        }
        return met;
    }

    // Calls use(store, met, row of a key, which key, part). What is known of every item is in the classes, so
    // that only what the runs add makes an item known.
    template <typename Use>
    void for_item_groups(Use use) {
        for (size_t g = 0; g < p_.groups.size(); ++g) {
            if (p_.groups[g].field >= 0) continue;
            Met& met = met_[g];
            for (size_t m = p_.groups[g].everywhere >= 0; m < met.parts.size(); ++m)
                for (size_t n = 0; n < met.keys(); ++n)
                    if (met.parts[m].rows[n] >= 0)
                        use(*met.parts[m].store, met, met.parts[m].rows[n], static_cast<int32_t>(n),
                            static_cast<int32_t>(m));
        }
    }

    // Many pairs of a whole catalogue: any item may be known.
    void from_all(int64_t size) {
        wanted.all = size;
        for (size_t g = 0; g < p_.groups.size(); ++g) met_[g].direct |= p_.groups[g].everywhere < 0;
        for_item_groups([&](const Store& s, Met& met, int64_t row, int32_t which, int32_t part) {
            if (met.direct) return;
            for (int64_t pair = s.offsets[row]; pair < s.offsets[row + 1]; ++pair)
                met.hits.push_back({pair, s.items[pair], which, part});
        });
    }

    // Few pairs: number their items, then see which are candidates.
    void from_pairs(const int64_t* rows, int64_t size, int64_t pairs) {
        slots_.clear(pairs);
        std::vector<int64_t> items;
        for_item_groups([&](const Store& s, Met& met, int64_t row, int32_t which, int32_t part) {
            for (int64_t pair = s.offsets[row]; pair < s.offsets[row + 1]; ++pair) {
                const int32_t next = static_cast<int32_t>(items.size());
                const int32_t slot = slots_.add(s.items[pair], next);
                if (slot == next) items.push_back(s.items[pair]);
                met.hits.push_back({pair, slot, which, part});
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
        for_item_groups([&](const Store& s, Met& met, int64_t row, int32_t which, int32_t part) {
            const auto hit = [&](int64_t pair, int32_t c) {
                if (number[c] < 0) {
                    number[c] = static_cast<int32_t>(wanted.positions.size());
                    wanted.positions.push_back(c);
                }
                met.hits.push_back({pair, c, which, part});
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
        wanted.place.resize(size);
        if (8 * size < classes.count()) {  // few candidates: hardly two of them are of one class
            std::iota(wanted.place.begin(), wanted.place.end(), 0);
            for (int64_t c = 0; c < size; ++c) wanted.classes.push_back(classes.of(rows[c]));
            return;
        }
        std::vector<int32_t> place(classes.count(), -1);
        for (int64_t c = 0; c < size; ++c) {
            const int32_t own = classes.of(rows[c]);
            if (place[own] < 0) {
                place[own] = static_cast<int32_t>(wanted.classes.size());
                wanted.classes.push_back(own);
            }
            wanted.place[c] = place[own];
        }
    }

    // Writes the numbers of a feature for all rows that are wanted, and which blocks of them vary.
    void fill(const Feature& f, int64_t of_group, int64_t counted, float* out, uint8_t* varies,
              float* support = nullptr) {
        const Group& group = p_.groups[of_group];
        const Met& met = met_[of_group];
        const Classes& classes = **classes_;
        if (counted < 0 && group.field < 0) {
            numbers_(f, group, met, out, wanted.size(), support,
                     [&](int32_t slot) { varies[slot / SIDE_BY_SIDE] = 1; });
            return;
        }
        std::fill(varies, varies + (wanted.size() + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE, 1);
        if (counted < 0) {
            spread(of_lists(f, group, met, support), p_.everywhere.size() + group.field, out);
        } else if (!support) {
            const int32_t* counts = classes.values() + counted;
            const int64_t width = classes.width();
            for (int64_t row = 0; row < wanted.size(); ++row)
                out[row] = static_cast<float>(counts[row_class_[row] * width]);
            numbers_.add_counts(f, met, wanted.size(), [&](int32_t row, double more) {
                out[row] = static_cast<float>(counts[row_class_[row] * width] + more);
            });
        } else {
            double of_keys[2];
            numbers_.totals(f, met, support, of_keys);
            const double factor = numbers_.finish(f, 1, of_keys, true);
            const int32_t* counts = classes.values() + counted;
            for (int64_t row = 0; row < wanted.size(); ++row)
                out[row] = static_cast<float>(counts[row_class_[row] * classes.width()] * factor);
            numbers_.add_counts(f, met, wanted.size(), [&](int32_t row, double more) {
                out[row] = static_cast<float>((counts[row_class_[row] * classes.width()] + more) * factor);
            });
        }
    }

    // The number of each list of values: their mean, or the largest.
    const std::vector<float>& of_lists(const Feature& f, const Group& group, const Met& met, float* support) {
        const Field& field = p_.fields[group.field];
        values_.resize(field.num_values);
        numbers_(f, group, met, values_.data(), field.num_values, support, [](int32_t) {});
        const bool largest = f.kind == RECENCY || f.kind == ORDER;
        const double none = f.kind == ORDER ? 0 : std::numeric_limits<double>::quiet_NaN();
        lists_.clear();
        for (const int64_t item : p_.list_items[group.field]) {
            const int64_t low = field.offsets[item], high = field.offsets[item + 1];
            double total = 0, best = none;
            for (int64_t n = low; n < high; ++n) {
                const double value = values_[field.values[n]];
                total += value;
                if (value == value && !(best >= value)) best = value;
            }
            const double mean = high > low + 1 ? total / static_cast<double>(high - low) : total;
            lists_.push_back(static_cast<float>(largest ? best : mean));
        }
        return lists_;
    }

    void spread(const std::vector<float>& of, int64_t column, float* out) const {
        const int32_t* lists = (**classes_).values() + column;
        const int64_t width = (**classes_).width();
        for (int64_t row = 0; row < wanted.size(); ++row) out[row] = of[lists[row_class_[row] * width]];
    }
};

}  // namespace interactrank
