// Stores of pairs of a key and an item, and counts as of a moment. The structs are those of program.py.

#pragma once

#include <cstdint>

namespace interactrank {

struct Store {
    int64_t tile_ms;  // 0: times are exact
    int64_t num_keys;
    const int64_t* keys;     // ascending
    const int64_t* offsets;  // the pairs of key k are offsets[k]..offsets[k + 1]
    const int32_t* items;    // ascending within a key
    const int64_t* pair_offsets;
    const void* pair_times;  // int64 milliseconds, or int32 tiles
    const uint32_t* pair_sums;
    const int64_t* key_offsets;  // of tiles
    const void* key_times;
    const uint32_t* key_sums;
    const float* scores;  // of a lexical index
    const float* rarity;
};

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

inline int64_t row_of(const Store& s, int64_t key) {
    const int64_t at = lower_bound(s.keys, s.num_keys, key);
    return at < s.num_keys && s.keys[at] == key ? at : -1;
}

inline int64_t find(const Store& s, int64_t row, int64_t item) {
    if (row < 0) return -1;
    const int64_t low = s.offsets[row], high = s.offsets[row + 1];
    const int64_t at = low + lower_bound(s.items + low, high - low, item);
    return at < high && s.items[at] == item ? at : -1;
}

// What times are compared with: the number of the tile that a moment lies in, or the moment.
inline int64_t moment(const Store& s, int64_t time) {
    if (!s.tile_ms) return time;
    const int64_t tile = time / s.tile_ms;
    return tile - (time % s.tile_ms < 0);
}

// How many of the times low..high lie before a moment, and the count that they make.
inline int64_t position(const Store& s, const void* times, int64_t low, int64_t high, int64_t before) {
    return s.tile_ms ? lower_bound(static_cast<const int32_t*>(times) + low, high - low, before)
                     : lower_bound(static_cast<const int64_t*>(times) + low, high - low, before);
}

inline int64_t sum(const Store& s, const uint32_t* sums, int64_t low, int64_t at) {
    return s.tile_ms ? static_cast<int64_t>(static_cast<uint32_t>(sums[low + at] - sums[low])) : at;
}

// The count of a pair before `end` (and not before `start`, if there is a window); moments of the store.
inline int64_t pair_count(const Store& s, int64_t pair, int64_t end, bool window, int64_t start) {
    const int64_t low = s.pair_offsets[pair], high = s.pair_offsets[pair + 1];
    const int64_t at = position(s, s.pair_times, low, high, end);
    const int64_t count = sum(s, s.pair_sums, low, at);
    if (!window || !at) return count;
    return count - sum(s, s.pair_sums, low, position(s, s.pair_times, low, low + at, start));
}

inline int64_t key_count(const Store& s, int64_t row, int64_t before) {
    if (row < 0) return 0;
    const bool tiles = s.tile_ms != 0;
    const int64_t low = tiles ? s.key_offsets[row] : s.pair_offsets[s.offsets[row]];
    const int64_t high = tiles ? s.key_offsets[row + 1] : s.pair_offsets[s.offsets[row + 1]];
    return sum(s, s.key_sums, low, position(s, s.key_times, low, high, before));
}

// The last time of a pair of an exact store, which has `count` times before the moment.
inline int64_t last_time(const Store& s, int64_t pair, int64_t count) {
    return static_cast<const int64_t*>(s.pair_times)[s.pair_offsets[pair] + count - 1];
}

}  // namespace interactrank
