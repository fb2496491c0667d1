// SPDX-License-Identifier: BSL-1.0
#include "driver.hpp"
#include "harness.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <libvirt/libvirt.h>

#include <chrono>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

// AVIRT_CONFORMANCE_THREADS is the number of threads that run the context; 1 stands for the test's own
// thread.

namespace conformance {
namespace asio = boost::asio;
using namespace std::chrono_literals;

struct driver::state
{
    asio::io_context io{AVIRT_CONFORMANCE_THREADS};
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    avirt::event_loop loop{io};
    std::mutex mutex;
    std::exception_ptr thrown;

    bool has_thrown()
    {
        const std::scoped_lock lock{mutex};
        return thrown != nullptr;
    }

    void run_thread()
    {
        try {
            io.run();
        }
        catch (...) {
            const std::scoped_lock lock{mutex};
            if (!thrown)
                thrown = std::current_exception();
        }
    }
};

driver::driver()
{
    if (virInitialize() < 0)
        throw std::runtime_error{"virInitialize failed"};
    state_ = std::make_unique<state>();
}

driver::~driver() = default;

void driver::run_until(const std::function<bool()>& done)
{
    const deadline limit;
    auto& io = state_->io;
    if constexpr (AVIRT_CONFORMANCE_THREADS == 1) {
        while (!done()) {
            limit.check();
            io.run_one_for(2ms);
        }
    }
    else {
        std::vector<std::thread> threads;
        for (int i = 0; i < AVIRT_CONFORMANCE_THREADS; ++i)
            threads.emplace_back([this] { state_->run_thread(); });
        while (!done() && !limit.passed() && !state_->has_thrown())
            std::this_thread::sleep_for(100us);
        io.stop();
        for (auto& thread : threads)
            thread.join();
        io.restart();
        if (auto thrown = std::exchange(state_->thrown, nullptr))
            std::rethrow_exception(thrown);
        if (!done())
            limit.check();
    }
}

void driver::post(std::function<void()> f)
{
    asio::post(state_->io, std::move(f));
}

bool driver::comes_to_rest()
{
    int rest = 0;
    for (int round = 0; round < 2000 && rest < 100; ++round)
        rest = state_->io.poll_one() == 0 ? rest + 1 : 0;
    return rest == 100;
}

bool driver::is_idle() const
{
    return state_->loop.is_idle();
}

bool is_avirt() noexcept
{
    return true;
}

int loop_threads() noexcept
{
    return AVIRT_CONFORMANCE_THREADS;
}

} // namespace conformance
