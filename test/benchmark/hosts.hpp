// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "process_figures.hpp"

#include <avirt/avirt.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace benchmark {

namespace asio = boost::asio;
using clock_type = std::chrono::steady_clock;

inline double seconds_since(clock_type::time_point start)
{
    return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// How long a phase took, and the highest number of threads that was seen meanwhile.
struct phase
{
    double seconds = 0;
    double threads = 0;
};

/// Waits for the condition. avirt's threads stay for seconds when they are idle, so the highest number is not
/// missed.
template <class Condition>
phase run_phase(clock_type::time_point start, Condition is_over)
{
    constexpr auto interval = std::chrono::milliseconds(2);
    constexpr double longest = 120;
    phase result;
    for (bool over = false; !over;) {
        over = is_over();
        result.seconds = seconds_since(start);
        result.threads = std::max(result.threads, static_cast<double>(threads()));
        if (result.seconds > longest)
            throw std::runtime_error("a phase does not end");
        if (!over)
            std::this_thread::sleep_for(interval);
    }
    return result;
}

/// Supervised connections in one io_context, which another thread runs. Only that thread uses the hosts.
class hosts
{
public:
    using container = std::deque<avirt::supervised_connection>;

    hosts() : runner_([this] { run(); }) {}

    ~hosts()
    {
        close();
        runner_.join();
    }

    hosts(const hosts&) = delete;
    hosts& operator=(const hosts&) = delete;

    /// Calls the function on the thread that runs the context.
    template <class F>
    void on_loop(F function)
    {
        asio::post(io_, asio::use_future(std::move(function))).get();
    }

    /// Starts to supervise a host. On the loop's thread only.
    void add(const std::string& uri, std::chrono::seconds keepalive_interval)
    {
        avirt::supervision_options options;
        options.open.uri = uri;
        options.open.keepalive_interval = keepalive_interval;
        receive(all_.emplace_back(io_, options));
    }

    /// On the loop's thread only.
    container& all() noexcept
    {
        return all_;
    }

    /// How often a host was reported to be connected.
    int connected() const noexcept
    {
        return connected_;
    }

    /// How often a host was reported to be disconnected.
    int disconnected() const noexcept
    {
        return disconnected_;
    }

    phase wait_until_connected(clock_type::time_point start, int count)
    {
        return run_phase(start, [&] { return connected_ >= count; });
    }

    /// Waits until the idle threads have ended: those of the loop and of the caller remain.
    void wait_until_idle()
    {
        run_phase(clock_type::now(), [] { return threads() <= 2; });
    }

    /// Closes all hosts at once. The context runs until libvirt has closed the connections.
    phase close_and_wait()
    {
        const auto start = clock_type::now();
        close();
        return run_phase(start, [this] { return has_ended_.load(); });
    }

private:
    void run()
    {
        io_.run();
        has_ended_ = true;
    }

    void close()
    {
        if (!work_)
            return;
        on_loop([this] { all_.clear(); });
        work_.reset();
    }

    void receive(avirt::supervised_connection& host)
    {
        host.async_receive([this, &host](avirt::error_code ec, const avirt::host_report& report) {
            if (ec)
                return;
            connected_ += std::holds_alternative<avirt::host_connected>(report);
            disconnected_ += std::holds_alternative<avirt::host_disconnected>(report);
            receive(host);
        });
    }

    asio::io_context io_{1};
    avirt::event_loop loop_{io_};
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_{
        asio::make_work_guard(io_)};
    std::atomic<int> connected_{0};
    std::atomic<int> disconnected_{0};
    std::atomic<bool> has_ended_{false};
    container all_;
    std::thread runner_;
};

} // namespace benchmark
