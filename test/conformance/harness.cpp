// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace conformance {
namespace {

thread_local int api_depth = 0;
thread_local int callback_depth = 0;

std::atomic<int> callbacks_running{0};
std::atomic<bool> loop_running{false};

std::mutex violations_mutex;
std::vector<std::string> violations;

class depth_scope
{
public:
    explicit depth_scope(int& depth) noexcept : depth_{depth}
    {
        ++depth_;
    }
    ~depth_scope()
    {
        --depth_;
    }
    depth_scope(const depth_scope&) = delete;
    depth_scope& operator=(const depth_scope&) = delete;

private:
    int& depth_;
};

class counted_scope
{
public:
    explicit counted_scope(std::atomic<int>& counter) noexcept
        : counter_{counter},
          before_{counter.fetch_add(1)}
    {
    }
    ~counted_scope()
    {
        --counter_;
    }
    counted_scope(const counted_scope&) = delete;
    counted_scope& operator=(const counted_scope&) = delete;
    bool alone() const noexcept
    {
        return before_ == 0;
    }

private:
    std::atomic<int>& counter_;
    int before_;
};

void require(bool holds, const char* clause)
{
    if (!holds)
        violation(clause);
}

} // namespace

bool deadline::passed() const noexcept
{
    return std::chrono::steady_clock::now() > at_;
}

void deadline::check() const
{
    if (passed())
        throw std::runtime_error{"what the case waits for did not happen in time"};
}

bool eventually(const std::function<bool()>& condition)
{
    const deadline limit;
    while (!condition()) {
        if (limit.passed())
            return false;
        std::this_thread::yield();
    }
    return true;
}

void violation(std::string text)
{
    const std::scoped_lock lock{violations_mutex};
    if (std::find(violations.begin(), violations.end(), text) == violations.end())
        violations.push_back(std::move(text));
}

bool no_callback_is_under_way() noexcept
{
    return callback_depth > 0 || !loop_running;
}

int add_handle(int fd, int events, virEventHandleCallback cb, void* opaque, virFreeCallback ff)
{
    const depth_scope scope{api_depth};
    return virEventAddHandle(fd, events, cb, opaque, ff);
}

void update_handle(int watch, int events)
{
    const depth_scope scope{api_depth};
    virEventUpdateHandle(watch, events);
}

int remove_handle(int watch)
{
    const depth_scope scope{api_depth};
    return virEventRemoveHandle(watch);
}

int add_timeout(int interval, virEventTimeoutCallback cb, void* opaque, virFreeCallback ff)
{
    const depth_scope scope{api_depth};
    return virEventAddTimeout(interval, cb, opaque, ff);
}

void update_timeout(int timeout, int interval)
{
    const depth_scope scope{api_depth};
    virEventUpdateTimeout(timeout, interval);
}

int remove_timeout(int timeout)
{
    const depth_scope scope{api_depth};
    return virEventRemoveTimeout(timeout);
}

void registration::add(int events_or_interval)
{
    const int id = is_timeout_ ? add_timeout(events_or_interval, on_timeout, this, on_free_callback)
                               : add_handle(fd_, events_or_interval, on_handle, this, on_free_callback);
    if (id <= 0)
        throw std::runtime_error{"add returned " + std::to_string(id)};
    // A callback may have run before add returned, and stored the id that it was given.
    if (const int seen = id_.exchange(id); seen != 0)
        require(seen == id, "a callback was given another id than add returned");
}

void registration::update(int events_or_interval)
{
    if (is_timeout_)
        update_timeout(id_, events_or_interval);
    else
        update_handle(id_, events_or_interval);
}

int registration::remove()
{
    removing_ = true;
    const int result = is_timeout_ ? remove_timeout(id_) : remove_handle(id_);
    removed_ = true;
    if (no_callback_is_under_way())
        silent_ = true;
    return result;
}

void registration::dispatch(int id, int fd, int events)
{
    const counted_scope running{callbacks_running};
    require(running.alone(), "two callbacks ran at the same time");
    require(api_depth == 0, "a callback ran inside one of libvirt's functions");
    require(callback_depth == 0, "a callback ran inside another callback");
    require(frees_ == 0, "a callback ran after the free callback");
    require(!silent_, "a callback ran after removal");
    require(fd == fd_, "a callback was given another fd");
    if (int expected = 0; !id_.compare_exchange_strong(expected, id))
        require(expected == id, "a callback was given another id");

    const depth_scope depth{callback_depth};
    const counted_scope active{active_};
    events_ = events;
    all_events_ |= events;
    ++calls_;
    if (action_ && !abandoned_)
        action_(*this);
    ++returned_;
}

void registration::free()
{
    const counted_scope running{callbacks_running};
    require(running.alone(), "a free callback ran at the same time as another callback");
    require(api_depth == 0, "a free callback ran inside one of libvirt's functions");
    require(callback_depth == 0, "a free callback ran inside a callback");
    require(active_ == 0, "a free callback ran before the callback had returned");
    require(removing_, "a free callback ran before removal");
    require(frees_.fetch_add(1) == 0, "a free callback ran twice");
    const depth_scope depth{callback_depth};
    if (on_free_ && !abandoned_)
        on_free_();
}

void registration::on_handle(int id, int fd, int events, void* opaque)
{
    static_cast<registration*>(opaque)->dispatch(id, fd, events);
}

void registration::on_timeout(int id, void* opaque)
{
    static_cast<registration*>(opaque)->dispatch(id, -1, 0);
}

void registration::on_free_callback(void* opaque)
{
    static_cast<registration*>(opaque)->free();
}

loop_fixture::loop_fixture()
{
    const std::scoped_lock lock{violations_mutex};
    violations.clear();
}

loop_fixture::~loop_fixture()
{
    if (torn_down_)
        return;
    // The case has failed: registrations that cannot be freed are leaked, because libvirt still points at
    // them.
    try {
        remove_all();
        run_until([this] { return all_freed(); });
    }
    catch (...) {
        for (auto& item : items_)
            static_cast<void>(item.release());
    }
}

registration& loop_fixture::keep(registration* item)
{
    std::unique_ptr<registration> owner{item};
    const std::scoped_lock lock{mutex_};
    items_.push_back(std::move(owner));
    return *item;
}

registration& loop_fixture::add_watch(int fd, int events, registration::action act)
{
    auto& item = keep(new registration{false, fd, std::move(act)});
    item.add(events);
    return item;
}

registration& loop_fixture::add_timer(int interval, registration::action act)
{
    auto& item = keep(new registration{true, -1, std::move(act)});
    item.add(interval);
    return item;
}

void loop_fixture::run_until(const std::function<bool()>& done)
{
    struct running_scope
    {
        running_scope()
        {
            loop_running = true;
        }
        ~running_scope()
        {
            loop_running = false;
        }
    } scope;
    loop.run_until(done);
}

void loop_fixture::settle()
{
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    BOOST_REQUIRE(::write(ends[1], "x", 1) == 1);
    auto& watch = add_watch(ends[0], readable);
    auto& timer = add_timer(0);
    run_until([&] { return watch.calls() >= 10 && timer.calls() >= 10; });
    watch.remove();
    timer.remove();
    ::close(ends[0]);
    ::close(ends[1]);
}

bool loop_fixture::all_freed()
{
    const std::scoped_lock lock{mutex_};
    for (const auto& item : items_)
        if (item->id() > 0 && item->frees() == 0)
            return false;
    return true;
}

void loop_fixture::remove_all()
{
    const std::scoped_lock lock{mutex_};
    for (const auto& item : items_) {
        item->abandoned_ = true;
        if (item->id() > 0 && !item->removed())
            item->remove();
    }
}

void loop_fixture::teardown()
{
    remove_all();
    run_until([this] { return all_freed(); });
    BOOST_TEST(loop.comes_to_rest());
    BOOST_TEST(loop.is_idle());
    torn_down_ = true;
    report_violations();
}

void loop_fixture::report_violations()
{
    const std::scoped_lock lock{violations_mutex};
    for (const auto& text : violations)
        BOOST_ERROR(text);
}

} // namespace conformance
