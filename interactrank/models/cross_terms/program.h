// A program: what the cross features of a model read. The structs are those of structs.py.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "classes.h"
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

// What was counted since the stores were written: those of store n are stores[offsets[n]..offsets[n + 1]], with
// exact times. Null for nothing.
struct Runs {
    const Store* stores;
    const int64_t* offsets;
};

struct Hit {
    int64_t pair;
    int32_t slot, which, part;
};

// A store, or a run behind it, and the row of each key in it.
struct Part {
    const Store* store;
    int64_t floor_ms;  // of a run behind tiles: only what lies in tiles that are over counts
    std::vector<int64_t> rows;

    // A moment as the store counts it.
    int64_t at(int64_t time) const {
        if (!floor_ms) return moment(*store, time);
        return (time / floor_ms - (time % floor_ms < 0)) * floor_ms;
    }
};

// The keys of a group and the pairs of known candidates; `direct` if the slots are the items themselves, as
// values of a field or all items of the catalogue. Part 0 is the store, then the runs that have a key.
struct Met {
    static constexpr size_t AHEAD = 8;
    std::vector<Part> parts;
    std::vector<Part> others;  // every run, without rows
    int64_t end;
    bool direct = false;
    std::vector<Hit> hits;

    size_t keys() const { return parts[0].rows.size(); }

    void fetch_offset(const Hit& hit) const {
        const int64_t* offsets = parts[hit.part].store->pair_offsets;
        if (offsets) __builtin_prefetch(offsets + hit.pair);
    }

    void fetch_times(const Hit& hit) const {
        const Store& s = *parts[hit.part].store;
        if (!s.pair_offsets) return;
        __builtin_prefetch(static_cast<const char*>(s.pair_times) + s.pair_offsets[hit.pair] * (s.tile_ms ? 4 : 8));
    }

    // Calls use(part, pair, slot, which key) for each; a pair may be in several parts. What a later call reads is
    // on its way.
    template <typename Use>
    void each(Use use) const {
        if (!direct) {
            const size_t n = hits.size();
            for (size_t i = 0; i < n; ++i) {
                if (i + 2 * AHEAD < n) fetch_offset(hits[i + 2 * AHEAD]);
                if (i + AHEAD < n) fetch_times(hits[i + AHEAD]);
                const Hit& hit = hits[i];
                use(parts[hit.part], hit.pair, hit.slot, hit.which);
            }
            return;
        }
        for (const Part& part : parts)
            for (size_t n = 0; n < part.rows.size(); ++n) {
                if (part.rows[n] < 0) continue;
                const Store& s = *part.store;
                for (int64_t pair = s.offsets[part.rows[n]]; pair < s.offsets[part.rows[n] + 1]; ++pair)
                    use(part, pair, s.items[pair], static_cast<int32_t>(n));
            }
    }

    // Calls use(slot, which key, count) for each pair of each part: what happened before the end, and within
    // the window if there is one.
    template <typename Use>
    void each_count(int64_t window, Use use) const {
        std::vector<int64_t> ends, starts;
        for (const Part& part : parts) ends.push_back(part.at(end)), starts.push_back(part.at(end - window));
        each([&](const Part& part, int64_t pair, int32_t slot, int32_t which) {
            const size_t n = &part - parts.data();
            use(slot, which, pair_count(*part.store, pair, ends[n], window != 0, starts[n]));
        });
    }

    // Calls use(slot, which key, count, last time, item) for each pair, over all parts, that happened.
    template <typename Use>
    void each_pair(int64_t window, Use use) const {
        struct Pair {
            int64_t name, count, last;
            int32_t item;
        };
        std::vector<Pair> pairs;
        each([&](const Part& part, int64_t pair, int32_t slot, int32_t which) {
            const Store& s = *part.store;
            const int64_t before = pair_count(s, pair, part.at(end), false, 0);
            if (!before) return;
            const int64_t last = s.tile_ms ? 0 : last_time(s, pair, before);
            const int64_t count =
                window ? pair_count(s, pair, part.at(end), true, part.at(end - window)) : before;
            if (parts.size() == 1)
                use(slot, which, count, last, s.items[pair]);
            else
                pairs.push_back({(static_cast<int64_t>(which) << 32) + slot, count, last, s.items[pair]});
        });
        std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.name < b.name; });
        for (size_t n = 0; n < pairs.size();) {
            Pair all = pairs[n];
            for (++n; n < pairs.size() && pairs[n].name == all.name; ++n)
                all.count += pairs[n].count, all.last = std::max(all.last, pairs[n].last);
            use(static_cast<int32_t>(all.name & 0xFFFFFFFF), static_cast<int32_t>(all.name >> 32), all.count,
                all.last, all.item);
        }
    }

    // The count of key n before a moment.
    int64_t count_of_key(size_t n, int64_t time) const {
        int64_t count = 0;
        for (const Part& part : parts) count += key_count(*part.store, part.rows[n], part.at(time));
        return count;
    }
};

struct Program {
    int64_t items, prior_items;
    std::vector<Store> stores;
    std::vector<Group> groups;
    std::vector<Feature> features;
    std::vector<Field> fields;
    std::vector<Everywhere> everywhere;
    std::vector<int32_t> lists;                    // [items, fields] which list of values each item has
    std::vector<std::vector<int64_t>> list_items;  // of each field an item that has each list
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

}  // namespace interactrank
