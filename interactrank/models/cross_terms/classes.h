// Items about which something is always known: their counts over all requests, and the values of their fields.
// Items of one class have the same counts and values, so that one score stands for all of them. Counts move
// with time: from one request to the next only the events in between are counted.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "stores.h"

namespace interactrank {

struct Field {
    int64_t num_values;
    const int64_t* offsets;  // the values of item i are offsets[i]..offsets[i + 1]
    const int32_t* values;
};

// A count of every item under one key of a store, in a window (0: none).
struct Everywhere {
    int64_t store, window;
};

// The events of one key of a store in order of time.
struct Series {
    std::vector<int64_t> times;  // milliseconds, or tiles
    std::vector<int32_t> items, amounts;

    Series(const Store& s, int64_t row) {
        if (row < 0) return;
        struct Event {
            int64_t time;
            int32_t item, amount;
        };
        std::vector<Event> events;
        for (int64_t pair = s.offsets[row]; pair < s.offsets[row + 1]; ++pair)
            for (int64_t n = s.pair_offsets[pair]; n < s.pair_offsets[pair + 1]; ++n) {
                const int64_t time = s.tile_ms ? static_cast<const int32_t*>(s.pair_times)[n]
                                               : static_cast<const int64_t*>(s.pair_times)[n];
                const uint32_t amount = s.tile_ms ? s.pair_sums[n + 1] - s.pair_sums[n] : 1;
                events.push_back({time, s.items[pair], static_cast<int32_t>(amount)});
            }
        std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.time < b.time; });
        for (const Event& e : events) times.push_back(e.time), items.push_back(e.item), amounts.push_back(e.amount);
    }

    int64_t before(int64_t moment) const {
        return std::lower_bound(times.begin(), times.end(), moment) - times.begin();
    }
};

class Classes {
  public:
    // `lists` [items, fields]: which list of values each item has.
    Classes(int64_t items, const std::vector<Everywhere>& of, int64_t fields, const int32_t* lists)
        : items_(items), of_(of), width_(of.size() + fields), values_(items * width_, 0),
          rows_(of.size(), -2), low_(of.size()), high_(of.size()), series_(of.size()) {
        for (int64_t i = 0; i < items; ++i)
            for (int64_t j = 0; j < fields; ++j) values_[i * width_ + of.size() + j] = lists[i * fields + j];
        if (width_) classify();
    }

    // Whether it stands at these rows of its stores, whatever the moment.
    bool at_rows(const std::vector<int64_t>& rows) const { return rows == rows_; }

    // Counts what lies before the ends and in the windows; moments in milliseconds.
    void move(const std::vector<Store>& stores, const std::vector<int64_t>& rows,
              const std::vector<int64_t>& ends) {
        std::vector<int32_t> changed;
        int64_t steps = 0;
        for (size_t j = 0; j < of_.size(); ++j) {
            const Store& store = stores[of_[j].store];
            if (rows[j] != rows_[j]) {
                series_[j] = nullptr;
                for (size_t i = 0; i < j && !series_[j]; ++i)
                    if (of_[i].store == of_[j].store && rows_[i] == rows[j]) series_[j] = series_[i];
                if (!series_[j]) series_[j] = std::make_shared<Series>(store, rows[j]);
                for (int64_t i = 0; i < items_; ++i) values_[i * width_ + j] = 0;
                rows_[j] = rows[j], low_[j] = high_[j] = 0;
                steps += items_;
            }
            const Series& events = *series_[j];
            const int64_t high = events.before(moment(store, ends[j]));
            const int64_t low = of_[j].window ? events.before(moment(store, ends[j] - of_[j].window)) : 0;
            steps += shift(events, high_[j], high, j, 1, changed);
            steps += shift(events, low_[j], low, j, -1, changed);
            high_[j] = high, low_[j] = low;
        }
        if (steps > items_ || count() > most_)
            classify();
        else
            for (const int32_t item : changed) class_of_[item] = class_at(item);
    }

    int64_t count() const { return width_ ? static_cast<int64_t>(items_of_.size()) : 1; }
    int32_t of(int64_t item) const { return width_ ? class_of_[item] : 0; }
    int64_t width() const { return width_; }
    // [count, width] counts, then the lists of the fields.
    const int32_t* values() const { return classes_.data(); }

  private:
    int64_t items_;
    std::vector<Everywhere> of_;
    int64_t width_;
    std::vector<int32_t> values_, class_of_;
    std::vector<int64_t> rows_, low_, high_;
    std::vector<std::shared_ptr<Series>> series_;
    std::vector<int32_t> classes_;   // [classes, width]
    std::vector<int32_t> items_of_;  // [classes] an item that was in it
    std::vector<int32_t> table_;     // classes by hash, -1 for none
    int64_t most_ = 0;

    int64_t shift(const Series& events, int64_t from, int64_t to, size_t column, int32_t sign,
                  std::vector<int32_t>& changed) {
        if (from > to) std::swap(from, to), sign = -sign;
        for (int64_t n = from; n < to; ++n) {
            values_[events.items[n] * width_ + column] += sign * events.amounts[n];
            if (to - from <= items_) changed.push_back(events.items[n]);
        }
        return to - from;
    }

    void classify() {
        classes_.clear(), items_of_.clear();
        table_.assign(1024, -1);
        class_of_.resize(items_);
        for (int64_t i = 0; i < items_; ++i) class_of_[i] = class_at(i);
        most_ = 2 * count() + 1024;  // from then on many of them have no items any more
    }

    static uint64_t hash(const int32_t* values, int64_t width) {
        uint64_t h = 0;
        for (int64_t j = 0; j < width; ++j) h = (h ^ static_cast<uint32_t>(values[j])) * 0x9E3779B97F4A7C15ull, h ^= h >> 29;
        return h;
    }

    int32_t class_at(int64_t item) {
        if (2 * items_of_.size() >= table_.size()) grow();
        const int32_t* own = values_.data() + item * width_;
        for (uint64_t n = hash(own, width_);; ++n) {
            int32_t& found = table_[n & (table_.size() - 1)];
            if (found < 0) {
                found = static_cast<int32_t>(items_of_.size());
                items_of_.push_back(static_cast<int32_t>(item));
                classes_.insert(classes_.end(), own, own + width_);
                return found;
            }
            if (!std::memcmp(classes_.data() + found * width_, own, width_ * sizeof(int32_t))) return found;
        }
    }

    void grow() {
        table_.assign(table_.size() * 2, -1);
        for (size_t c = 0; c < items_of_.size(); ++c) {
            uint64_t n = hash(classes_.data() + c * width_, width_);
            while (table_[n & (table_.size() - 1)] >= 0) ++n;
            table_[n & (table_.size() - 1)] = static_cast<int32_t>(c);
        }
    }
};

}  // namespace interactrank
