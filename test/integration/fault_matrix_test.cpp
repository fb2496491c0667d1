// SPDX-License-Identifier: BSL-1.0
#include "fault_matrix.hpp"

#include <support/libvirtd.hpp>
#include <support/printing.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

// The fault matrix of streams: what each operation does when something goes wrong, on each kind of peer. The
// table below says what is expected; docs/faults.md is generated from the cells that pass.

using faults::environment;
BOOST_TEST_GLOBAL_FIXTURE(environment);

namespace faults {
namespace {

/// Checks a result, and that a failure comes with a message.
template <class... Expected>
void check(const stage& s, const error_code& ec, const Expected&... expected)
{
    BOOST_TEST_INFO(ec << ": " << ec.message() << ": " << s.message());
    BOOST_TEST((bool(ec == expected) || ...));
    const bool is_failure = ec && ec != asio::error::operation_aborted && ec != asio::error::eof;
    BOOST_TEST((!is_failure || !s.message().empty()));
}

template <class... Expected>
void expect(stage& s, const Expected&... expected)
{
    s.await_result();
    check(s, s.result().ec(), expected...);
}

enum class extent { all, the_beginning, all_or_less };

/// Checks what is read before an error, and the error.
template <class Expected>
void expect_read(stage& s, const Expected& expected, extent how_much = extent::all)
{
    const auto [text, ending] = s.read_everything();
    check(s, ending, expected);
    const auto all = s.expected();
    BOOST_TEST_INFO(text.size() << " of " << all.size() << " bytes");
    BOOST_TEST((text == all.substr(0, text.size())));
    BOOST_TEST((how_much != extent::all || text.size() == all.size()));
    BOOST_TEST((how_much == extent::all_or_less || text.empty() == all.empty()));
}

template <class Expected>
void expect_finish(stage& s, const Expected& expected)
{
    check(s, s.finish(), expected);
    BOOST_TEST(!s.is_open());
}

/// Some of what is written may fit into the socket before the failure is noticed.
template <class Expected>
void expect_writes(stage& s, const Expected& expected)
{
    s.await_result();
    check(s, s.write_until_failure(), expected);
}

const error_code success;
const error_code refused(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category());

// What an operation completes with, or what is read if no operation is outstanding.

const expectation aborted{
    "`operation_aborted`", [](stage& s) { expect(s, error_code(asio::error::operation_aborted)); }};
const expectation succeeds{"succeeds", [](stage& s) { expect(s, success); }};
const expectation succeeds_or_is_aborted{"succeeds, or `operation_aborted`", [](stage& s) {
                                             expect(s, success, error_code(asio::error::operation_aborted));
                                         }};
const expectation waits{"waits until the peer goes on, then succeeds", [](stage& s) {
                            s.settle();
                            BOOST_TEST(!s.result());
                            s.release();
                            expect(s, success);
                        }};
const expectation succeeds_after_time_limit{
    "succeeds after a second: the connection is cut off", [](stage& s) { expect(s, success); }};
const expectation goes_on_waiting{"goes on waiting", [](stage& s) {
                                      s.settle();
                                      BOOST_TEST(!s.result());
                                  }};
const expectation waits_until_cancelled{"waits until it is cancelled", [](stage& s) {
                                            s.settle();
                                            BOOST_TEST(!s.result());
                                            s.cancel();
                                            expect(s, error_code(asio::error::operation_aborted));
                                        }};
const expectation waits_while_calls_are_answered{
    "waits until it is cancelled; calls on the connection are answered meanwhile", [](stage& s) {
        s.settle();
        BOOST_TEST(s.call() == success);
        waits_until_cancelled.check(s);
    }};
const expectation handler_destroyed{"the handler is destroyed, and never called", [](stage& s) {
                                        BOOST_TEST(s.is_handler_gone());
                                        BOOST_TEST(!s.result());
                                    }};
const expectation reads_all{
    "reading goes on when the peer does; everything is read, then `eof`", [](stage& s) {
        s.release();
        expect_read(s, error_code(asio::error::eof));
    }};
const expectation reads_to_end{
    "everything is read, then `eof`", [](stage& s) { expect_read(s, error_code(asio::error::eof)); }};
const expectation at_end{"`eof`", [](stage& s) { expect_read(s, error_code(asio::error::eof)); }};
const expectation reads_some_to_end{"`eof`, which may take the place of what came before", [](stage& s) {
                                        expect_read(s, error_code(asio::error::eof), extent::all_or_less);
                                    }};
const expectation reads_beginning_then_lost{
    "what has arrived is read, then `connection_lost`",
    [](stage& s) { expect_read(s, avirt::condition::connection_lost, extent::the_beginning); }};
const expectation reads_then_lost{"what came before is read, then `connection_lost`", [](stage& s) {
                                      expect_read(s, avirt::condition::connection_lost);
                                  }};
const expectation reads_then_error{
    "what came before is read, then the error", [](stage& s) { expect_read(s, refused); }};
const expectation reads_some_then_error{
    "the error, which may take the place of what came before",
    [](stage& s) { expect_read(s, refused, extent::all_or_less); }};
const expectation reads_then_no_space{"what came before is read, then `no_space`", [](stage& s) {
                                          expect_read(s, avirt::condition::no_space);
                                      }};
const expectation reads_some_then_no_space{
    "`no_space`, which may take the place of what came before",
    [](stage& s) { expect_read(s, avirt::condition::no_space, extent::all_or_less); }};
const expectation reads_then_taken_over{"what came before is read, then `console_taken_over`", [](stage& s) {
                                            expect_read(s, avirt::condition::console_taken_over);
                                        }};
const expectation reads_some_then_taken_over{
    "`console_taken_over`, which may take the place of what came before",
    [](stage& s) { expect_read(s, avirt::condition::console_taken_over, extent::all_or_less); }};
const expectation lost{"`connection_lost`", [](stage& s) { expect(s, avirt::condition::connection_lost); }};
const expectation lost_or_refused{
    "`connection_lost`, or `connection_refused` if the stream had not connected yet", [](stage& s) {
        expect(s, avirt::condition::connection_lost, error_code(asio::error::connection_refused));
    }};
const expectation unknown{"`result_unknown`", [](stage& s) { expect(s, avirt::error::result_unknown); }};
const expectation error{"the error", [](stage& s) { expect(s, refused); }};
const expectation no_space{"`no_space`", [](stage& s) { expect(s, avirt::condition::no_space); }};
const expectation writes_until_error{
    "this write or a later one: the error", [](stage& s) { expect_writes(s, refused); }};
const expectation writes_until_no_space{
    "this write or a later one: `no_space`", [](stage& s) { expect_writes(s, avirt::condition::no_space); }};
const expectation writes_until_lost{"this write or a later one: `connection_lost`", [](stage& s) {
                                        expect_writes(s, avirt::condition::connection_lost);
                                    }};
const expectation succeeds_when_read{"succeeds when a read has come to the end or failure", [](stage& s) {
                                         s.await_arrival();
                                         s.settle();
                                         BOOST_TEST(!s.result());
                                         s.read_everything();
                                         expect(s, success);
                                     }};
const expectation succeeds_unread{
    "succeeds, because no data is unread", [](stage& s) { expect(s, success); }};
const expectation taken_over{
    "`console_taken_over`", [](stage& s) { expect(s, avirt::condition::console_taken_over); }};
const expectation guest_gone{"`guest_gone`", [](stage& s) { expect(s, avirt::condition::guest_gone); }};
const expectation no_holes{"`not_supported`", [](stage& s) { expect(s, avirt::condition::not_supported); }};
const expectation nothing{"nothing happens", [](stage&) {}};

// What the stream is good for afterwards.

const expectation nothing_more{"", [](stage&) {}};
const expectation ends{"", [](stage& s) { BOOST_TEST(!s.is_open()); }};
const expectation goes_on{"the stream goes on, and nothing was lost", [](stage& s) { s.check_stream(); }};
const expectation opens_again{"the stream is not open, and can be opened again", [](stage& s) {
                                  BOOST_TEST(!s.is_open());
                                  s.release();
                                  BOOST_TEST(s.reopen() == success);
                                  s.check_stream();
                              }};
const expectation costs_connection{
    "the connection is lost", [](stage& s) { check(s, s.call(), avirt::condition::connection_lost); }};
const expectation costs_connection_if_sending{
    "the connection is lost, unless the cancellation came between two packets", [](stage& s) {
        auto ec = s.call();
        while (!ec) {
            s.begin();
            waits_until_cancelled.check(s);
            ec = s.call();
        }
        check(s, ec, avirt::condition::connection_lost);
    }};
const expectation may_cost_connection{
    "the connection is lost if the write had begun; otherwise the stream goes on, and nothing was lost",
    [](stage& s) {
        s.release();
        const auto ec = s.call();
        check(s, ec, success, avirt::condition::connection_lost);
        if (!ec)
            s.check_stream();
    }};
const expectation finishes{"finish: succeeds", [](stage& s) { expect_finish(s, success); }};
const expectation finish_unknown{
    "finish: `result_unknown`", [](stage& s) { expect_finish(s, avirt::error::result_unknown); }};
const expectation finish_error{"finish: the error", [](stage& s) { expect_finish(s, refused); }};
const expectation finish_no_space{
    "finish: `no_space`", [](stage& s) { expect_finish(s, avirt::condition::no_space); }};

/// The introduction of docs/faults.md says why.
const std::string no_such_cell;

constexpr auto cancelled =
    fault::cancel_terminal | fault::cancel_partial | fault::cancel_total | fault::cancel_after;
constexpr auto refusals = fault::no_space | fault::error_after_data;
constexpr auto of_guests = fault::takeover | fault::guest_destroyed | fault::guest_not_reading;
constexpr auto packets = fault::bytewise | fault::close_after_data | refusals;
constexpr auto fakes = peer::fake_own | peer::fake_shared;
constexpr auto privates = peer::private_own | peer::private_shared;
constexpr auto owns = peer::fake_own | peer::private_own;
constexpr auto shareds = peer::fake_shared | peer::private_shared;
constexpr auto daemons = fakes | privates;
constexpr auto everywhere = daemons | peer::embedded;

/// Each cell of the matrix is in one rule.
std::vector<rule> make_table()
{
    using enum operation;
    using enum fault;
    using enum peer;
    constexpr auto ending = finish | operation::abort;
    constexpr auto every = read | write | ending | operation::open | wait | hole | idle;
    constexpr auto data = read | hole | idle;
    return {
        // Cancellation.
        {cancelled, read | wait | hole, daemons, aborted, goes_on},
        {cancelled, read | wait, embedded, aborted, goes_on},
        {cancelled, write, owns | embedded, aborted, goes_on},
        {cancel_terminal, write, shareds, aborted, costs_connection},
        {fault::cancel_after, write, shareds, aborted, may_cost_connection},
        {cancel_partial | cancel_total, write, shareds, waits, goes_on},
        {cancelled, ending | operation::open, daemons, aborted, opens_again},
        {cancelled, operation::open, embedded, aborted, opens_again},
        {cancel_terminal | cancel_partial | cancel_total, ending, embedded, aborted, opens_again},
        {fault::cancel_after, ending, embedded, succeeds_or_is_aborted, opens_again},
        {cancelled, hole, embedded, no_holes, goes_on},
        {cancelled, idle, everywhere, no_such_cell},

        // Objects that end.
        {own_handler, every & ~idle, daemons, succeeds, nothing_more},
        {own_handler, every & ~(idle | hole), embedded, succeeds, nothing_more},
        {own_handler | other_thread, hole, embedded, no_holes, nothing_more},
        {own_handler, idle, everywhere, no_such_cell},
        {other_thread, every & ~idle, daemons, aborted, nothing_more},
        {other_thread, every & ~(idle | hole), embedded, aborted, nothing_more},
        {other_thread, idle, everywhere, nothing, nothing_more},
        {context, every & ~idle, daemons, handler_destroyed, nothing_more},
        {context, every & ~idle, embedded, handler_destroyed, nothing_more},
        {context, idle, everywhere, nothing, nothing_more},

        // What happens to a daemon.
        {sigstop, read | hole, privates, reads_all, finishes},
        {sigstop, write, privates, waits, goes_on},
        {sigstop, finish, privates, waits, opens_again},
        {sigstop, operation::abort, private_own, succeeds_after_time_limit, opens_again},
        {sigstop, operation::abort, private_shared, waits, opens_again},
        {sigstop, operation::open, privates, waits, goes_on},
        {sigstop, wait, privates, goes_on_waiting, goes_on},
        {sigstop, idle, privates, nothing, goes_on},
        {sigkill, idle, privates, reads_beginning_then_lost, finish_unknown},
        {sigkill, read | write | hole, privates, lost, finish_unknown},
        {sigkill, finish, privates, unknown, ends},
        {sigkill, operation::abort, privates, lost, ends},
        {sigkill, operation::open, private_own, lost_or_refused, ends},
        {sigkill, operation::open, private_shared, lost, ends},
        {sigkill, wait, privates, succeeds, finish_unknown},
        {sigstop | sigkill, every, fakes,
         "The fake daemon is a thread of the test; it closes connections instead."},
        {sigstop | sigkill, every, embedded, no_such_cell},

        // What happens to a guest.
        {takeover, idle, private_own, reads_then_taken_over, nothing_more},
        {takeover, idle, private_shared | embedded, reads_some_then_taken_over, nothing_more},
        {takeover, read | write, privates | embedded, taken_over, nothing_more},
        {takeover, ending, privates, taken_over, ends},
        {takeover, wait, private_own, succeeds_unread, nothing_more},
        {takeover, wait, private_shared | embedded, succeeds_when_read, nothing_more},
        {takeover | guest_destroyed, hole, embedded, no_holes, nothing_more},
        {takeover, operation::open, privates | embedded, "Only an open console can be taken over."},
        {guest_destroyed, read, privates | embedded, at_end, nothing_more},
        {guest_destroyed, idle, privates, reads_to_end, nothing_more},
        {guest_destroyed, idle, embedded, reads_some_to_end, nothing_more},
        rule{guest_destroyed, write, privates, guest_gone, nothing_more}.except_with_11_3(),
        {guest_destroyed, write, embedded, guest_gone, nothing_more},
        rule{guest_destroyed, ending, privates, guest_gone, ends}.except_with_11_3(),
        {guest_destroyed, operation::open, privates | embedded, guest_gone, ends},
        {guest_destroyed, wait, private_shared, succeeds_when_read, nothing_more},
        {guest_destroyed, wait, private_own, succeeds_unread, nothing_more},
        {guest_destroyed, wait, embedded, succeeds, nothing_more},
        {takeover | guest_destroyed, ending, embedded,
         "In this process, these wait for nothing: nothing can come in between."},
        {guest_not_reading, read | wait, privates | embedded, goes_on_waiting, goes_on},
        {guest_not_reading, hole, embedded, no_holes, goes_on},
        {guest_not_reading, idle, privates | embedded, nothing, goes_on},
        {guest_not_reading, write, private_own | embedded, waits_while_calls_are_answered, nothing_more},
        {guest_not_reading, write, private_shared, waits_until_cancelled, costs_connection_if_sending},
        {guest_not_reading, finish, privates, waits, opens_again},
        {guest_not_reading, operation::abort, private_own, succeeds_after_time_limit, opens_again},
        {guest_not_reading, operation::abort, private_shared, waits, opens_again},
        {guest_not_reading, ending, embedded, succeeds, opens_again},
        {guest_not_reading, operation::open, privates | embedded, succeeds, goes_on},
        {of_guests, hole, privates, no_such_cell},
        {of_guests, every, fakes, no_such_cell},

        // What a daemon sends.
        {bytewise, data, daemons, reads_to_end, finishes},
        {bytewise, write, daemons, succeeds, goes_on},
        {bytewise, wait, daemons, succeeds_when_read, finishes},
        {bytewise, ending, daemons, succeeds, opens_again},
        {bytewise, operation::open, privates, succeeds, goes_on},
        {error_after_data, data, fake_own, reads_then_error, finish_error},
        {error_after_data, data, fake_shared, reads_some_then_error, finish_error},
        {error_after_data, write, fakes, writes_until_error, finish_error},
        {error_after_data, ending, fakes, error, ends},
        {error_after_data, operation::open, fakes, error, ends},
        {error_after_data, wait, fakes, succeeds_when_read, finish_error},
        {fault::no_space, data, fake_own, reads_then_no_space, finish_no_space},
        {fault::no_space, data, fake_shared, reads_some_then_no_space, finish_no_space},
        {fault::no_space, write, fakes, writes_until_no_space, finish_no_space},
        {fault::no_space, ending, fakes, faults::no_space, ends},
        {fault::no_space, wait, fakes, succeeds_when_read, finish_no_space},
        {close_after_data, data, daemons, reads_then_lost, finish_unknown},
        {close_after_data, write, fakes, lost, finish_unknown},
        {close_after_data, write, privates, writes_until_lost, finish_unknown},
        {close_after_data, finish, daemons, unknown, ends},
        {close_after_data, operation::abort, daemons, lost, ends},
        {close_after_data, operation::open, daemons, lost, ends},
        {close_after_data, wait, daemons, succeeds, finish_unknown},
        {bytewise | fault::no_space, operation::open, fakes,
         "The answer to the opener is not a packet of the stream."},
        {refusals, every, privates,
         "Tried on the fake daemon only: no test fills libvirtd's disk, or makes libvirtd fail to read it."},
        {packets, every, embedded, no_such_cell},
    };
}

const std::vector<rule>& table()
{
    static const auto t = make_table();
    return t;
}

struct cell
{
    fault what;
    operation op;
    peer with;
    const rule* expected;

    bool is_left_out() const
    {
        return expected->is_fatal_to_11_3 && support::libvirtd::is_11_3();
    }

    void run() const
    {
        const auto s = stage::make(with, op, what);
        s->play();
        expected->completes->check(*s);
        expected->then->check(*s);
    }
};

template <class E, class Visitor>
void for_each(const Visitor& visit)
{
    for (int i = 0; i < count_of<E>; ++i)
        visit(static_cast<E>(i));
}

/// Calls visit(cell) for each rule that applies to each cell of a peer and a fault.
template <class Visitor>
void for_each_cell(peer with, fault what, const Visitor& visit)
{
    for_each<operation>([&](operation op) {
        for (const auto& r : table()) {
            if (r.applies_to(what, op, with))
                visit(cell{what, op, with, &r});
        }
    });
}

template <class E>
std::string name_of(E e)
{
    return describe(e).name;
}

namespace ut = boost::unit_test;

/// The cells by their tests.
std::map<ut::test_unit_id, cell>& cells()
{
    static std::map<ut::test_unit_id, cell> result;
    return result;
}

ut::test_suite* make_suite(peer with, fault what)
{
    auto* const suite = BOOST_TEST_SUITE(name_of(what));
    for_each_cell(with, what, [&](const cell& c) {
        if (!c.expected->completes || c.is_left_out())
            return;
        auto* const test = ut::make_test_case([c] { c.run(); }, name_of(c.op), __FILE__, __LINE__);
        suite->add(test);
        cells().emplace(test->p_id, c);
    });
    return suite;
}

ut::test_suite* make_suite(peer with)
{
    auto* const suite = BOOST_TEST_SUITE(name_of(with));
    for_each<fault>([&](fault what) {
        auto* const part = make_suite(with, what);
        if (part->size() != 0)
            suite->add(part);
    });
    return suite;
}

/// The tests are peer/fault/operation. Those of the embedded driver come last, because its loop stays.
const bool are_registered = [] {
    for_each<peer>([](peer with) { ut::framework::master_test_suite().add(make_suite(with)); });
    return true;
}();

BOOST_AUTO_TEST_CASE(each_cell_is_in_one_rule)
{
    for_each<peer>([](peer with) {
        for_each<fault>([&](fault what) {
            std::map<operation, int> rules;
            for_each_cell(with, what, [&](const cell& c) { ++rules[c.op]; });
            for_each<operation>([&](operation op) {
                BOOST_TEST_INFO(name_of(with) << '/' << name_of(what) << '/' << name_of(op));
                BOOST_TEST(rules[op] == 1);
            });
        });
    });
}

/// Writes one line for each cell that has passed, or that does not exist, to the file that AVIRT_FAULT_ROWS
/// names, for docs/faults.md (faults.awk).
class row_writer final : public ut::global_configuration
{
    void test_start(ut::counter_t, ut::test_unit_id) override
    {
        const char* const path = std::getenv("AVIRT_FAULT_ROWS");
        if (!path)
            return;
        rows_.open(path);
        write_descriptions<operation>("operation");
        write_descriptions<peer>("peer");
        write_descriptions<fault>("fault");
        for_each<peer>([&](peer with) {
            for_each<fault>([&](fault what) {
                for_each_cell(with, what, [&](const cell& c) {
                    if (!c.expected->completes)
                        write(c, "none");
                    else if (c.is_left_out()) // The words say so.
                        write(c, "cell");
                });
            });
        });
    }

    void test_unit_finish(const ut::test_unit& unit, unsigned long) override
    {
        const auto found = cells().find(unit.p_id);
        if (found != cells().end() && ut::results_collector.results(unit.p_id).passed())
            write(found->second, "cell");
    }

    template <class E>
    void write_descriptions(const char* what)
    {
        for_each<E>([&](E e) {
            const auto& d = describe(e);
            rows_ << what << '\t' << d.name << '\t' << d.heading << '\t' << d.words << '\n';
        });
    }

    void write(const cell& c, const char* state)
    {
        rows_ << state << '\t' << name_of(c.what) << '\t' << name_of(c.op) << '\t' << name_of(c.with) << '\t'
              << c.expected->words() << std::endl;
    }

    std::ofstream rows_;
};

row_writer writer;

} // namespace
} // namespace faults
