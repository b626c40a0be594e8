// Searches in the sorted arrays of cross features: pairs of a key and an item, and counts as of a moment.
// Built by core/compiled.py for the processor at hand; pair_index.py, count_store.py, tile_store.py and
// candidate_index.py have the same in NumPy.

#include <cstdint>

namespace {

// The first of n sorted values that is not below what is wanted.
template <typename T>
inline int64_t lower_bound(const T* values, int64_t n, int64_t wanted) {
    const T* base = values;
    while (n > 1) {
        const int64_t half = n / 2;
        base += base[half - 1] < wanted ? half : 0;
        n -= half;
    }
    return base - values + (n == 1 && *base < wanted);
}

template <typename T>
void search(const T* values, const int64_t* low, const int64_t* high, const int64_t* wanted, int64_t n,
            int64_t* out) {
    for (int64_t i = 0; i < n; ++i)
        out[i] = low[i] + (low[i] < high[i] ? lower_bound(values + low[i], high[i] - low[i], wanted[i]) : 0);
}

inline int64_t find(const int64_t* offsets, const int32_t* items, int64_t row, int64_t item) {
    if (row < 0) return -1;
    const int64_t low = offsets[row], high = offsets[row + 1];
    const int64_t at = low + lower_bound(items + low, high - low, item);
    return at < high && items[at] == item ? at : -1;
}

template <typename T>
void counts(const int64_t* offsets, const T* values, const uint32_t* sums, const int64_t* which,
            const int64_t* before, int64_t n, int64_t* out) {
    for (int64_t i = 0; i < n; ++i) {
        if (which[i] < 0) {
            out[i] = 0;
            continue;
        }
        const int64_t low = offsets[which[i]], high = offsets[which[i] + 1];
        const int64_t found = lower_bound(values + low, high - low, before[i]);
        out[i] = sums ? static_cast<int64_t>(static_cast<uint32_t>(sums[low + found] - sums[low])) : found;
    }
}

}  // namespace

extern "C" {

// values ascend within each segment low[i]..high[i]; out [n]: the first position there that is not below
// wanted[i].
void interactrank_search_int64(const int64_t* values, const int64_t* low, const int64_t* high,
                               const int64_t* wanted, int64_t n, int64_t* out) {
    search(values, low, high, wanted, n, out);
}

void interactrank_search_int32(const int32_t* values, const int64_t* low, const int64_t* high,
                               const int64_t* wanted, int64_t n, int64_t* out) {
    search(values, low, high, wanted, n, out);
}

// The position of each (row, item) in an index, -1 where it has none; row -1 has none.
void interactrank_find(const int64_t* offsets, const int32_t* items, const int64_t* rows,
                       const int64_t* wanted, int64_t n, int64_t* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = find(offsets, items, rows[i], wanted[i]);
}

// How many values below before[i] the segment which[i] has; 0 for -1. With running sums, their difference.
void interactrank_counts_int64(const int64_t* offsets, const int64_t* values, const uint32_t* sums,
                               const int64_t* which, const int64_t* before, int64_t n, int64_t* out) {
    counts(offsets, values, sums, which, before, n, out);
}

void interactrank_counts_int32(const int64_t* offsets, const int32_t* values, const uint32_t* sums,
                               const int64_t* which, const int64_t* before, int64_t n, int64_t* out) {
    counts(offsets, values, sums, which, before, n, out);
}

// Goes through all pairs of the key rows [n] and writes down those of candidates: the key, the pair, and the
// candidate that stands in the slot base[key] + item. Returns how many there are.
int64_t interactrank_filter(const int64_t* offsets, const int32_t* items, const int64_t* rows, int64_t n,
                            const int64_t* base, const int32_t* slots, int64_t* which, int64_t* pairs,
                            int64_t* candidates) {
    int64_t found = 0;
    for (int64_t key = 0; key < n; ++key) {
        if (rows[key] < 0) continue;
        for (int64_t pair = offsets[rows[key]]; pair < offsets[rows[key] + 1]; ++pair) {
            const int64_t candidate = slots[base[key] + items[pair]];
            which[found] = key, pairs[found] = pair, candidates[found] = candidate;
            found += candidate >= 0;  // else the next one is written over it
        }
    }
    return found;
}

// Searches for each (key, candidate of the key's request), candidates first[key]..first[key] + lengths[key],
// whose items are wanted, and writes down what exists. Returns how many there are.
int64_t interactrank_search_pairs(const int64_t* offsets, const int32_t* items, const int64_t* rows, int64_t n,
                                  const int64_t* first, const int64_t* lengths, const int64_t* wanted,
                                  int64_t* which, int64_t* pairs, int64_t* candidates) {
    int64_t found = 0;
    for (int64_t key = 0; key < n; ++key) {
        if (rows[key] < 0) continue;
        for (int64_t candidate = first[key]; candidate < first[key] + lengths[key]; ++candidate) {
            const int64_t pair = find(offsets, items, rows[key], wanted[candidate]);
            which[found] = key, pairs[found] = pair, candidates[found] = candidate;
            found += pair >= 0;
        }
    }
    return found;
}

}  // extern "C"
