// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/gate.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/deferred.hpp>
#include <libvirt/virterror.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

namespace {

bool calls_are_ordered()
{
    unsigned long version = 0;
    virGetVersion(&version, nullptr, nullptr);
    return version < 10004000;
}

/// The error code and the result of one call.
template <class R>
struct returned
{
    int calls = 0;
    error_code ec{};
    R result{};
    avirt::error_details why{};
};

struct call_fixture : operations_fixture
{
    call_fixture()
    {
        open_connection();
    }

    template <class R, class F>
    returned<R> call(F f)
    {
        returned<R> r;
        conn.async_call(
            std::move(f),
            avirt::with_details(
                [&](error_code ec, R result) {
                    ++r.calls;
                    r.ec = ec;
                    r.result = std::move(result);
                },
                r.why));
        BOOST_TEST(r.calls == 0);
        run_until([&] { return r.calls > 0; });
        return r;
    }
};

const error_code invalid_domain(VIR_ERR_INVALID_DOMAIN, avirt::libvirt_category());

BOOST_FIXTURE_TEST_SUITE(call, call_fixture)

BOOST_AUTO_TEST_CASE(negative_integers_are_failures)
{
    BOOST_TEST(call<int>([](virConnectPtr) { return 7; }).result == 7);
    const auto failed = call<int>([](virConnectPtr) { return virDomainFree(nullptr) * 5; });
    BOOST_TEST(failed.ec == invalid_domain);
    BOOST_TEST(failed.result == -5); // The handler gets the result too.
    BOOST_TEST(failed.why.code == int{VIR_ERR_INVALID_DOMAIN});
    BOOST_TEST(!failed.why.message.empty());
    const auto wide = call<long long>([](virConnectPtr) { return -(1LL << 40); });
    BOOST_TEST(wide.ec.failed());
    BOOST_TEST(wide.result == -(1LL << 40));
}

BOOST_AUTO_TEST_CASE(unsigned_and_bool_never_fail)
{
    BOOST_TEST(!call<unsigned>([](virConnectPtr) { return ~0u; }).ec);
    BOOST_TEST(!call<bool>([](virConnectPtr) { return false; }).ec);
    BOOST_TEST(!call<double>([](virConnectPtr) { return -1.0; }).ec);
}

BOOST_AUTO_TEST_CASE(a_failure_without_a_libvirt_error)
{
    const auto failed = call<int>([](virConnectPtr) {
        virResetLastError();
        return -1;
    });
    BOOST_TEST(failed.ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
    BOOST_TEST(!failed.why.message.empty());
}

BOOST_AUTO_TEST_CASE(pointers_and_handles)
{
    const auto raw = call<avirt::domain>([](virConnectPtr c) { return virDomainLookupByName(c, "test"); });
    BOOST_TEST(!raw.ec);
    BOOST_TEST(virDomainGetID(raw.result.get()) == 1u);

    const auto missing = call<avirt::domain>([](virConnectPtr c) { return virDomainLookupByName(c, "?"); });
    BOOST_TEST(missing.ec == avirt::condition::not_found);
    BOOST_TEST(!missing.result);
    BOOST_TEST(missing.why.code == int{VIR_ERR_NO_DOMAIN});

    const auto owned =
        call<avirt::domain>([](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "test")); });
    BOOST_TEST(!owned.ec);
    BOOST_TEST(virDomainGetID(owned.result.get()) == 1u);

    const auto none =
        call<avirt::domain>([](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "?")); });
    BOOST_TEST(none.ec == avirt::condition::not_found);
    BOOST_TEST(!none.result);
}

BOOST_AUTO_TEST_CASE(lists_of_pointers)
{
    const auto all = call<std::vector<avirt::domain>>([](virConnectPtr c) {
        virDomainPtr* array = nullptr;
        const int count = virConnectListAllDomains(c, &array, 0);
        if (count < 0)
            avirt::throw_last_error();
        std::vector<virDomainPtr> domains(array, array + count);
        std::free(array);
        return domains;
    });
    BOOST_TEST(!all.ec);
    BOOST_REQUIRE(all.result.size() == 1u);
    BOOST_TEST(virDomainGetName(all.result[0].get()) == std::string("test"));
}

BOOST_AUTO_TEST_CASE(move_only_functions_and_other_results)
{
    const auto r = call<std::unique_ptr<int>>(
        [owned = std::make_unique<int>(3)](virConnectPtr) mutable { return std::move(owned); });
    BOOST_TEST(!r.ec);
    BOOST_REQUIRE(r.result);
    BOOST_TEST(*r.result == 3);
    const auto strings = call<std::vector<std::string>>(
        [](virConnectPtr c) { return std::vector<std::string>(3, virConnectGetType(c)); });
    BOOST_TEST(strings.result.size() == 3u);
    BOOST_TEST(strings.result[2] == "TEST");
}

BOOST_AUTO_TEST_CASE(a_result_that_is_a_range_of_its_own_type)
{
    const auto path = call<std::filesystem::path>(
        [](virConnectPtr c) { return std::filesystem::path(virConnectGetType(c)); });
    BOOST_TEST(path.result == "TEST");
}

BOOST_AUTO_TEST_CASE(function_pointers_and_reused_functions)
{
    BOOST_TEST(call<int>(&virConnectNumOfDomains).result == 1);
    int runs = 0;
    const auto kept = [&runs](virConnectPtr) { return ++runs; };
    BOOST_TEST(call<int>(kept).result == 1);
    BOOST_TEST(call<int>(kept).result == 2);
}

BOOST_AUTO_TEST_CASE(deferred_and_launched_twice)
{
    const auto later = conn.async_call(virConnectNumOfDomains, asio::deferred);
    for (int i = 0; i < 2; ++i) {
        outcome counted;
        later(counted.handler());
        check_result(counted);
    }
}

BOOST_AUTO_TEST_CASE(exceptions_become_error_codes)
{
    const auto system = call<int>(
        [](virConnectPtr) -> int { throw boost::system::system_error(asio::error::timed_out, "too late"); });
    BOOST_TEST(system.ec == asio::error::timed_out);
    BOOST_TEST(system.why.message.find("too late") != std::string::npos);
    BOOST_TEST(system.result == 0);

    const auto std_system =
        call<int>([](virConnectPtr) -> int { throw std::system_error(ENOSPC, std::generic_category()); });
    BOOST_TEST(std_system.ec == boost::system::errc::no_space_on_device);
    BOOST_TEST(std_system.ec == avirt::condition::no_space);

    const auto own = call<int>([](virConnectPtr) -> int {
        virDomainFree(nullptr);
        avirt::throw_last_error();
    });
    BOOST_TEST(own.ec == invalid_domain);
    BOOST_TEST(own.why.domain == int{VIR_FROM_DOM});

    const auto other =
        call<std::string>([](virConnectPtr) -> std::string { throw std::runtime_error("out of cheese"); });
    BOOST_TEST(other.ec == avirt::error::call_threw);
    BOOST_TEST(other.why.message == "out of cheese");
    BOOST_TEST(other.result.empty());

    const auto anything = call<int>([](virConnectPtr) -> int { throw 42; });
    BOOST_TEST(anything.ec == avirt::error::call_threw);
    BOOST_TEST(!anything.why.message.empty());
}

BOOST_AUTO_TEST_CASE(functions_that_return_void)
{
    outcome fine;
    conn.async_call([](virConnectPtr) {}, fine.handler());
    check_result(fine);
    outcome failed;
    conn.async_call(
        [](virConnectPtr) {
            if (virDomainFree(nullptr) < 0)
                avirt::throw_last_error();
        },
        failed.handler());
    check_result(failed, invalid_domain);
}

BOOST_AUTO_TEST_CASE(not_open)
{
    conn.close();
    bool ran = false;
    const auto r = call<int>([&](virConnectPtr) {
        ran = true;
        return 1;
    });
    BOOST_TEST(r.ec == avirt::error::not_open);
    BOOST_TEST(r.result == 0);
    support::run_to_end(io);
    BOOST_TEST(!ran);
}

BOOST_AUTO_TEST_CASE(runs_on_another_thread_and_is_destroyed_before_the_handler_runs)
{
    const auto held = std::make_shared<int>();
    std::thread::id id;
    long count = 0;
    outcome o;
    conn.async_call(
        [held, &id](virConnectPtr) { id = std::this_thread::get_id(); },
        [&, note = o.handler()](error_code ec) {
            count = held.use_count();
            note(ec);
        });
    run_until_done(o);
    BOOST_TEST((id != std::this_thread::get_id()));
    BOOST_TEST(count == 1);
}

BOOST_AUTO_TEST_CASE(one_after_the_other_or_concurrently)
{
    support::gate g;
    outcome first;
    outcome second;
    conn.async_call(g.entry(), first.handler());
    run_until([&] { return g.arrived() == 1; });
    conn.async_call(virConnectNumOfDomains, second.handler());
    if (calls_are_ordered()) {
        outcome posted;
        asio::post(io, [note = posted.handler()] { note({}); });
        run_until_done(posted);
        // The thread that opened the connection may still be counted.
        run_until([&] { return loop.stats().running_calls == 1; });
        BOOST_TEST(!second);
        g.open();
    }
    check_result(second);
    g.open();
    run_until_done(first);
}

BOOST_AUTO_TEST_CASE(two_hundred_in_flight)
{
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    std::vector<int> order;
    std::vector<outcome> outcomes(200);
    for (int i = 0; i < 200; ++i) {
        conn.async_call(
            [&, i](virConnectPtr c) {
                const int n = ++now;
                most = std::max(n, most.load());
                if (calls_are_ordered())
                    order.push_back(i);
                const int domains = virConnectNumOfDomains(c);
                --now;
                return domains;
            },
            outcomes[static_cast<std::size_t>(i)].handler());
    }
    for (auto& o : outcomes) {
        check_result(o);
        BOOST_TEST(o.bytes() == 1u);
    }
    if (calls_are_ordered()) {
        BOOST_TEST(most == 1);
        BOOST_TEST(std::ranges::is_sorted(order));
        BOOST_TEST(order.size() == 200u);
    }
}

// If libvirt's calls are ordered, one call runs and four are queued; otherwise all five run.
BOOST_AUTO_TEST_CASE(destroyed_with_calls_running_and_queued)
{
    support::gate g;
    std::vector<outcome> outcomes(5);
    const int running = calls_are_ordered() ? 1 : 5;
    const auto held = std::make_shared<int>();
    {
        const avirt::connection brief(std::move(conn));
        auto& c = const_cast<avirt::connection&>(brief);
        for (auto& o : outcomes)
            c.async_call([held, pass = g.entry()](virConnectPtr n) { return pass(n); }, o.handler());
        run_until([&] { return g.arrived() == running; });
    }
    for (auto& o : outcomes) {
        BOOST_TEST(!o);
        check_result(o, aborted);
        BOOST_TEST(o.bytes() == 0u);
    }
    BOOST_TEST(support::eventually([&] { return held.use_count() == 1 + running; }));
    BOOST_TEST(g.passed() == 0);
    support::run_to_end(io); // An abandoned call does not keep run() from returning.
    BOOST_TEST(g.passed() == 0);
    g.open();
    BOOST_TEST(support::eventually([&] { return g.passed() == running; }));
    BOOST_TEST(support::eventually([&] { return held.use_count() == 1; }));
}

BOOST_AUTO_TEST_CASE(opened_again_while_an_old_call_is_stuck)
{
    support::gate g;
    outcome stuck;
    conn.async_call(g.entry(), stuck.handler());
    run_until([&] { return g.arrived() == 1; });
    conn.close();
    open_connection();
    outcome next;
    conn.async_call(virConnectNumOfDomains, next.handler());
    check_result(next);
    check(stuck, aborted);

    support::gate other;
    outcome first;
    outcome second;
    conn.async_call(other.entry(), first.handler());
    run_until([&] { return other.arrived() == 1; });
    g.open(); // The end of the old call must not start the calls of the new connection.
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
    conn.async_call(virConnectNumOfDomains, second.handler());
    if (calls_are_ordered()) {
        outcome posted;
        asio::post(io, [note = posted.handler()] { note({}); });
        run_until_done(posted);
        BOOST_TEST(loop.stats().running_calls == 1u);
    }
    other.open();
    run_until_done(first);
    run_until_done(second);
}

BOOST_AUTO_TEST_CASE(the_connection_lives_as_long_as_its_calls)
{
    support::gate g;
    outcome o;
    std::atomic<int> domains = -2;
    conn.async_call(
        [&, pass = g.entry()](virConnectPtr c) {
            pass();
            domains = virConnectNumOfDomains(c);
        },
        o.handler());
    run_until([&] { return g.arrived() == 1; });
    conn.close();
    check_result(o, aborted);
    g.open();
    BOOST_TEST(support::eventually([&] { return domains != -2; }));
    BOOST_TEST(domains == 1);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
