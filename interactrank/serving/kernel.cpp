// Products of item vectors with a query, and the k best scores. One thread; the caller holds no lock.
// Built by kernel.py for the processor at hand; item_vectors.py and selection.py have the same in PyTorch.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t AHEAD = 12;  // rows that are fetched before they are needed
constexpr int64_t LINE = 64;   // bytes of a cache line

template <typename T>
inline void fetch(const T* row, int64_t dim) {
    const char* at = reinterpret_cast<const char*>(row);
    for (int64_t byte = 0; byte < dim * static_cast<int64_t>(sizeof(T)); byte += LINE)
        __builtin_prefetch(at + byte, 0, 0);
}

template <typename T>
inline float dot(const T* row, const float* query, int64_t dim) {
    float sum = 0;
    for (int64_t d = 0; d < dim; ++d) sum += static_cast<float>(row[d]) * query[d];
    return sum;
}

template <typename T>
int64_t dots(const T* items, const float* scales, int64_t size, int64_t dim, const int64_t* rows, int64_t n,
             const float* query, float* out) {
    for (int64_t i = 0; i < n; ++i) {
        // Fetching an address that does not exist does no harm.
        if (rows && i + AHEAD < n) fetch(items + rows[i + AHEAD] * dim, dim);
        const int64_t row = rows ? rows[i] : i;
        if (row < 0 || row >= size) return i;
        const float found = dot(items + row * dim, query, dim);
        out[i] = scales ? found * scales[row] : found;
    }
    return n;
}

struct Entry {
    float score;
    int64_t at;
    bool operator<(const Entry& other) const {  // better: a higher score, or the same and first
        return score > other.score || (score == other.score && at < other.at);
    }
};

}  // namespace

extern "C" {

// items [size, dim], scales [size] or null, rows [n] or null for the first n, query [dim], out [n]. Returns n, or
// the first place whose row does not exist.
int64_t interactrank_dots_float32(const float* items, const float* scales, int64_t size, int64_t dim,
                                  const int64_t* rows, int64_t n, const float* query, float* out) {
    return dots(items, scales, size, dim, rows, n, query, out);
}

int64_t interactrank_dots_int8(const int8_t* items, const float* scales, int64_t size, int64_t dim,
                               const int64_t* rows, int64_t n, const float* query, float* out) {
    return dots(items, scales, size, dim, rows, n, query, out);
}

// Writes the positions of the k best scores [n] to out [k], the best first; returns how many there are: minus
// infinity is none. A buffer of 2 k entries is cut to the k best whenever it is full; what is not above the
// worst of them then, nor before it, is never written down.
int64_t interactrank_top_k(const float* scores, int64_t n, int64_t k, int64_t* out) {
    if (k <= 0) return 0;
    std::vector<Entry> best;
    best.reserve(2 * k + 1);
    float threshold = -INFINITY;
    for (int64_t i = 0; i < n; ++i) {
        if (!(scores[i] > threshold)) continue;
        best.push_back({scores[i], i});
        if (static_cast<int64_t>(best.size()) == 2 * k) {
            std::nth_element(best.begin(), best.begin() + (k - 1), best.end());
            best.resize(k);
            threshold = best[k - 1].score;
        }
    }
    const int64_t found = std::min<int64_t>(k, best.size());
    std::partial_sort(best.begin(), best.begin() + found, best.end());
    for (int64_t i = 0; i < found; ++i) out[i] = best[i].at;
    return found;
}

}  // extern "C"
