// What cross features add to the scores of one request's candidates. Built by core/compiled.py for the
// processor at hand; program.py describes a model's features to it, and CrossFeatures.look_up with
// ScoreHead.rest do the same in NumPy and PyTorch.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "look_up.h"

using namespace interactrank;

namespace {

// Numbers the lists of values that items have, equal lists by one number.
void number_lists(Program& program) {
    const std::vector<Field>& fields = program.fields;
    const int64_t items = program.items;
    std::vector<int32_t>& found = program.lists;
    found.resize(items * fields.size());
    program.list_items.resize(fields.size());
    for (size_t j = 0; j < fields.size(); ++j) {
        std::map<std::vector<int32_t>, int32_t> lists;
        for (int64_t i = 0; i < items; ++i) {
            const int32_t* values = fields[j].values;
            std::vector<int32_t> list(values + fields[j].offsets[i], values + fields[j].offsets[i + 1]);
            const auto [place, is_new] = lists.emplace(std::move(list), static_cast<int32_t>(lists.size()));
            if (is_new) program.list_items[j].push_back(i);
            found[i * fields.size() + j] = place->second;
        }
    }
}

}  // namespace

extern "C" {

// A program of n stores, groups, features and fields; items of the catalogue, and those that a rate without
// history is one of.
void* interactrank_program(const Store* stores, int64_t num_stores, const Group* groups, int64_t num_groups,
                           const Feature* features, int64_t num_features, const Field* fields,
                           int64_t num_fields, int64_t items, int64_t prior_items) {
    auto program = std::make_unique<Program>();
    program->items = items, program->prior_items = prior_items;
    program->stores.assign(stores, stores + num_stores);
    program->groups.assign(groups, groups + num_groups);
    program->features.assign(features, features + num_features);
    program->fields.assign(fields, fields + num_fields);
    for (const Feature& f : program->features) {
        if (f.counted < 0) continue;
        program->everywhere.push_back({program->groups[f.group].store, f.window});
        if (f.shown >= 0) program->everywhere.push_back({program->groups[f.shown].store, f.window});
    }
    number_lists(*program);
    return program.release();
}

void interactrank_program_free(void* program) { delete static_cast<Program*>(program); }

// Adds to the dot products [size] of candidates what else their scores are made of; rows [size], null for the
// whole catalogue. Candidates are there once.
void interactrank_add(void* program, const Head* head, const Store* runs, const int64_t* run_offsets,
                      const int64_t* keys, const int64_t* offsets, int64_t time, int64_t sequence_end, const int64_t* rows, int64_t size, float* dots) {
    const Request request{keys, offsets, time, sequence_end};
    LookUp found(*static_cast<Program*>(program), {runs, run_offsets}, request);
    found.meet(rows, size);
    static thread_local Columns columns;  // their memory serves the next request
    static thread_local std::vector<float> rest;
    found.columns(*head, columns);
    rest.resize(columns.rows);
    Rest{*head}(columns, rest.data());
    const Wanted& wanted = found.wanted;
    const size_t known = wanted.known.size();
    if (wanted.all) {
        for (int64_t c = 0; c < size; ++c) dots[c] += rest[c];
        return;
    }
    for (size_t k = 0; k < known; ++k) rest[k] += dots[wanted.positions[k]];
    const float* others = rest.data() + known;
    if (wanted.classes.size() == 1)
        for (int64_t c = 0; c < size; ++c) dots[c] += others[0];
    else if (rows)
        for (int64_t c = 0; c < size; ++c) dots[c] += others[wanted.place[c]];
    else
        found.add_of_classes(others, size, dots);
    for (size_t k = 0; k < known; ++k) dots[wanted.positions[k]] = rest[k];
}

// Writes the columns of all candidates, [columns][size], and the supports: what interactrank_add reads.
void interactrank_look_up(void* program, const Head* head, const Store* runs, const int64_t* run_offsets,
                          const int64_t* keys, const int64_t* offsets, int64_t time, int64_t sequence_end, const int64_t* rows, int64_t size, float* rate,
                          float* support, float* number, float* engaged, float* shown) {
    const Request request{keys, offsets, time, sequence_end};
    LookUp found(*static_cast<Program*>(program), {runs, run_offsets}, request);
    found.meet(rows, size);
    Columns columns;
    found.columns(*head, columns);
    std::vector<int64_t> at(size);
    found.rows_of(rows, size, at.data());
    const auto spread = [&](const std::vector<float>& from, int64_t width, float* to) {
        for (int64_t j = 0; j < width; ++j)
            for (int64_t c = 0; c < size; ++c) to[j * size + c] = from[j * columns.rows + at[c]];
    };
    spread(columns.rate, head->rates, rate);
    spread(columns.number, head->numbers, number);
    spread(columns.engaged, head->ratios, engaged);
    spread(columns.shown, head->ratios, shown);
    std::copy(columns.support.begin(), columns.support.end(), support);
}

}  // extern "C"
