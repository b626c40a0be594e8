// How many items score at least as much as a relevant one. Built by core/compiled.py for the processor at hand;
// corpus_ranks.py has the same in PyTorch.

#include <cstdint>

extern "C" {

// For each of the pairs (row[p], item[p]) of scores [rows, items]: how many items of the row score at least as
// much, and the same. The items excluded of a row, first[row]..first[row + 1], do not count.
void interactrank_at_least(const float* scores, int64_t items, const int64_t* row, const int64_t* item,
                           int64_t pairs, const int64_t* first, const int64_t* excluded, int64_t* at_least,
                           int64_t* equal) {
    for (int64_t p = 0; p < pairs; ++p) {
        const float* of = scores + row[p] * items;
        const float own = of[item[p]];
        int64_t above = 0, same = 0;
        for (int64_t block = 0; block < items; block += 1 << 20) {  // sums of a block fit into 32 bits
            const int64_t end = block + (1 << 20) < items ? block + (1 << 20) : items;
            int32_t a = 0, s = 0;
            for (int64_t i = block; i < end; ++i) a += of[i] >= own, s += of[i] == own;
            above += a, same += s;
        }
        for (int64_t e = first[row[p]]; e < first[row[p] + 1]; ++e)
            above -= of[excluded[e]] >= own, same -= of[excluded[e]] == own;
        at_least[p] = above, equal[p] = same;
    }
}

}  // extern "C"
