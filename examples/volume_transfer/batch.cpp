// SPDX-License-Identifier: BSL-1.0
#include "batch.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

using namespace asio::experimental::awaitable_operators;

namespace {

/// For instance "20.0 MiB in 0.5 s, 40.0 MiB/s, and 10.0 GiB of holes". If some of it may have been found,
/// the time says nothing.
std::string said(const avirt::progress& moved, bool resumes)
{
    auto text = in_bytes(moved.bytes);
    const auto seconds = std::chrono::duration<double>(moved.elapsed).count();
    if (!resumes && seconds > 0) {
        auto time = std::to_string(seconds);
        time.resize(time.find('.') + 2);
        const auto rate = static_cast<std::uint64_t>(static_cast<double>(moved.bytes) / seconds);
        text += " in " + time + " s, " + in_bytes(rate) + "/s";
    }
    if (moved.hole_bytes > 0)
        text += ", and " + in_bytes(moved.hole_bytes) + " of holes";
    return text;
}

/// libvirt's message, or avirt's, if there is one.
std::string said(const boost::system::system_error& error)
{
    const auto* e = dynamic_cast<const avirt::exception*>(&error);
    return e && !e->details().message.empty() ? e->details().message : error.code().message();
}

} // namespace

batch::batch(const command_line& how, std::vector<std::unique_ptr<transfer>> transfers, display& view)
    : how_(how),
      limits_(0, how.bytes_per_second),
      view_(view)
{
    for (auto& t : transfers)
        entries_.push_back({std::move(t)});
}

asio::awaitable<void> batch::run()
{
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        try {
            view_.expect(i, co_await entries_[i].what->size());
        }
        catch (const std::exception&) { // The transfer will say what is wrong.
        }
    }
    const auto executor = co_await asio::this_coro::executor;
    using worker = decltype(asio::co_spawn(executor, work(), asio::deferred));
    std::vector<worker> workers;
    for (std::size_t i = 0; i < std::min(entries_.size(), static_cast<std::size_t>(how_.jobs)); ++i)
        workers.push_back(asio::co_spawn(executor, work(), asio::deferred));
    co_await asio::experimental::make_parallel_group(std::move(workers))
        .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
}

asio::awaitable<void> batch::work()
{
    while (next_ < entries_.size())
        co_await perform(next_++);
}

asio::awaitable<void> batch::perform(std::size_t index)
{
    auto& e = entries_[index];
    e.now = entry::phase::moving;
    try {
        avirt::transfer_options options;
        options.limits = limits_;
        options.resume = how_.resume;
        options.verify = how_.verify;
        options.sparse = how_.sparse;
        options.on_progress = [this, &e, index](const avirt::progress& p) {
            e.moved = p;
            view_.update(index, p);
        };
        e.moved = co_await e.what->move(options);
        e.now = entry::phase::comparing;
        view_.say(e.what->text() + ": " + said(e.moved, how_.resume));
        if (how_.checksum)
            co_await compare_checksums(e);
        e.now = entry::phase::done;
    }
    catch (const boost::system::system_error& error) {
        if (error.code() == asio::error::operation_aborted)
            throw; // Interrupted: the worker ends, too.
        fail(e, said(error));
    }
    catch (const std::exception& error) {
        fail(e, error.what());
    }
    view_.end(index);
}

void batch::fail(entry& e, const std::string& why)
{
    auto text = e.what->text() + ": " + why;
    if (e.now == entry::phase::moving && e.moved.bytes + e.moved.hole_bytes > 0)
        text += ". " + e.what->remains(how_.resume);
    e.now = entry::phase::failed;
    view_.say(text);
}

asio::awaitable<void> batch::compare_checksums(const entry& e)
{
    const auto size = e.moved.bytes + e.moved.hole_bytes;
    const auto [source, target] =
        co_await (e.what->source_checksum(size, limits_) && e.what->target_checksum(size, limits_));
    view_.say(target + "  " + e.what->target(), std::cout);
    if (source != target)
        throw std::runtime_error("the SHA-256 of the source is " + source);
}

void batch::say_interrupted()
{
    std::size_t waiting = 0;
    for (const auto& e : entries_) {
        waiting += e.now == entry::phase::waiting;
        if (e.now == entry::phase::comparing)
            view_.say(e.what->text() + ": complete, but the checksums were not compared.");
        if (e.now != entry::phase::moving)
            continue;
        auto text = e.what->text() + ": interrupted after " + in_bytes(e.moved.bytes + e.moved.hole_bytes);
        if (e.moved.total > 0)
            text += " of " + in_bytes(e.moved.total);
        view_.say(text + ". " + e.what->remains(how_.resume));
    }
    if (waiting > 0)
        view_.say(std::to_string(waiting) + " of " + std::to_string(entries_.size()) + " were not begun.");
}

bool batch::has_succeeded() const
{
    return std::all_of(
        entries_.begin(), entries_.end(), [](const entry& e) { return e.now == entry::phase::done; });
}
