// A program: what the cross features of a model read. The structs are those of structs.py.

#pragma once

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

struct Hit {
    int64_t pair;
    int32_t slot, which;
};

// The keys of a group and the pairs of known candidates; `direct` if the slots are the items themselves, as
// values of a field or all items of the catalogue.
struct Met {
    const Store* store;
    std::vector<int64_t> rows;
    int64_t end;
    bool direct = false;
    std::vector<Hit> hits;

    // Calls use(pair, slot, which key) for each.
    template <typename Use>
    void each(Use use) const {
        if (!direct) {
            for (const Hit& hit : hits) use(hit.pair, hit.slot, hit.which);
            return;
        }
        for (size_t n = 0; n < rows.size(); ++n) {
            if (rows[n] < 0) continue;
            for (int64_t pair = store->offsets[rows[n]]; pair < store->offsets[rows[n] + 1]; ++pair)
                use(pair, store->items[pair], static_cast<int32_t>(n));
        }
    }
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

}  // namespace interactrank
