// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "harness.hpp"
#include "model_file.hpp"
#include "model_item.hpp"
#include "random_stream.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace conformance {

/// Actors that perform random operations on a loop, on threads of their own and inside the callbacks. Between
/// their phases, while no actor runs, the loop has to do what the model says.
///
/// A seed determines how many actors, files and items there are, and which steps each actor and each callback
/// takes, in which order, on which places. It does not determine how the threads interleave, nor how often a
/// callback is called. A failed round therefore repeats the same steps, and the same failure if that needs no
/// race. If it does, the round has to be repeated, perhaps for a very long time.
class model_round : public loop_fixture
{
public:
    /// @param actors: the number of actors; 0: the seed determines it.
    model_round(std::uint64_t seed, int actors);

    void run();

private:
    using step_taker = void (model_round::*)(random_stream& random);

    // While no other thread acts.
    void act(step_taker taker);
    void check();
    void expect_calls(const std::vector<std::pair<model_item*, int>>& due);
    void check_rest();
    void check_each_alone();
    void check_ends();

    // Actors.
    void take_steps(random_stream& random);
    void remove_everything(random_stream& random);
    void run_errand(random_stream random);
    void await(const model_item& item, const char* what, const std::function<bool()>& condition);

    // Actors and callbacks.
    void step(random_stream random, model_item* self);
    void called(model_item& item);
    void add(random_stream random);
    void add_to(model_file* file, std::size_t place, random_stream random);
    void replace_file(random_stream random);
    void change_file(random_stream random);
    model_item* pick(random_stream& random) const noexcept;

    model_file& make_file(random_stream random);
    model_item& make_item(
        model_file* file, bool is_raced, int asked, const model_item::action& act, random_stream random);
    int ask(const model_file* file, random_stream& random) const noexcept;
    int ask_watch(random_stream& random) const noexcept;
    int ask_timeout(random_stream& random) const noexcept;

    random_stream random_;
    std::vector<random_stream> actors_;
    int phases_;
    int steps_per_phase_;
    int idleness_;         // of 16: the share of requests that disable or postpone
    int share_of_errands_; // one in this many steps is an errand

    std::vector<std::atomic<model_file*>> file_places_;
    std::vector<std::atomic<model_item*>> item_places_;

    std::mutex mutex_;
    std::vector<std::unique_ptr<model_file>> files_;
    std::vector<std::unique_ptr<model_item>> items_;
    std::set<std::pair<bool, int>> ids_;

    std::atomic<bool> has_failed_{false}; // Further waits would take as long, and are skipped.
    std::atomic<bool> callbacks_act_{false};
    std::atomic<int> steps_of_actors_{0};
    std::atomic<int> steps_of_callbacks_{0};
};

} // namespace conformance
