// SPDX-License-Identifier: BSL-1.0

// Random operations on a loop, on many threads and inside the callbacks.
#include "model_round.hpp"

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>
#include <random>
#include <string>

namespace conformance {
namespace {

constexpr std::uint64_t seeds_of_every_run = 20;

std::optional<std::uint64_t> number_from(const char* variable)
{
    const char* text = std::getenv(variable);
    if (!text || !*text)
        return std::nullopt;
    return std::stoull(text);
}

std::string how_to_replay(std::uint64_t seed, int actors)
{
    auto text = "replay with AVIRT_STRESS_SEED=" + std::to_string(seed);
    if (actors > 0)
        text += " AVIRT_STRESS_THREADS=" + std::to_string(actors);
    return text;
}

bool has_passed()
{
    using namespace boost::unit_test;
    return results_collector.results(framework::current_test_case().p_id).passed();
}

// Returns whether the round has passed, and all rounds before it.
bool run_round(std::uint64_t seed, int actors)
{
    const auto replay = how_to_replay(seed, actors);
    BOOST_TEST_MESSAGE(replay); // The only trace of a round that crashes or hangs.
    BOOST_TEST_CONTEXT(replay)
    {
        try {
            model_round{seed, actors}.run();
        }
        catch (const std::exception& e) {
            BOOST_ERROR(e.what());
        }
    }
    return has_passed();
}

void run_rounds(std::uint64_t first, std::uint64_t count, int actors)
{
    for (auto seed = first; seed < first + count && run_round(seed, actors); ++seed)
        ;
}

} // namespace

BOOST_AUTO_TEST_SUITE(model)

// AVIRT_STRESS_SEED selects a single round. AVIRT_STRESS_SECONDS is the time for which new rounds run, or the
// selected one is repeated. AVIRT_STRESS_THREADS is the number of actors, whatever the seed determines.
BOOST_AUTO_TEST_CASE(the_loop_does_what_the_model_says_under_random_operations)
{
    const auto seed = number_from("AVIRT_STRESS_SEED");
    const auto seconds = number_from("AVIRT_STRESS_SECONDS");
    const auto actors = static_cast<int>(number_from("AVIRT_STRESS_THREADS").value_or(0));
    if (!seconds)
        return seed ? run_rounds(*seed, 1, actors) : run_rounds(1, seeds_of_every_run, actors);

    using clock = std::chrono::steady_clock;
    const auto end = clock::now() + std::chrono::seconds{*seconds};
    auto next = seed.value_or(std::random_device{}());
    while (clock::now() < end && run_round(next, actors)) {
        if (!seed)
            ++next;
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
