// Slots: a small hash table from items to numbers.

#pragma once

#include <cstdint>
#include <vector>

namespace interactrank {

class Slots {
  public:
    // Makes room for some items and forgets those of before.
    void clear(int64_t most) {
        int64_t size = 64;
        while (size < 2 * most) size *= 2;
        entries_.assign(size, Entry{-1, -1});
        shift_ = 64;
        for (int64_t n = size; n > 1; n /= 2) --shift_;
        mask_ = size - 1;
        filter_.assign(BITS / 64, 0);
    }

    // The number of an item, which is `next` if it is new.
    int32_t add(int32_t item, int32_t next) {
        Entry& entry = entries_[place(item)];
        if (entry.item < 0) {
            entry = {item, next};
            filter_[bit(item) / 64] |= uint64_t{1} << bit(item) % 64;
        }
        return entry.slot;
    }

    // The number of an item, -1 for one that is not there.
    int32_t at(int32_t item) const {
        if (!(filter_[bit(item) / 64] >> bit(item) % 64 & 1)) return -1;  // most, without a look at the table
        return entries_[place(item)].slot;
    }

  private:
    struct Entry {
        int32_t item, slot;
    };

    int64_t place(int32_t item) const {
        int64_t n = static_cast<int64_t>(static_cast<uint64_t>(item) * 0x9E3779B97F4A7C15ull >> shift_);
        while (entries_[n].item >= 0 && entries_[n].item != item) n = (n + 1) & mask_;
        return n;
    }

    static constexpr int64_t BITS = 1 << 17;
    static int64_t bit(int32_t item) { return static_cast<uint32_t>(item) * 2654435769u >> 15; }

    std::vector<Entry> entries_;
    std::vector<uint64_t> filter_;  // a bit that is set for an item which is there
    int shift_ = 0;
    int64_t mask_ = 0;
};

}  // namespace interactrank
