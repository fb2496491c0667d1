// SPDX-License-Identifier: BSL-1.0
#include "fault_peers.hpp"

#include <support/embedded_driver.hpp>
#include <support/printing.hpp>

#include <boost/test/unit_test.hpp>

extern "C" const unsigned char avirt_demo_guest[512];

namespace faults {

/// The embedded driver, and a guest whose console the cells open one after the other. They share a
/// connection, because libvirt can open the driver about twenty times in a process (docs/libvirt.md,
/// "Consoles of the embedded driver").
struct environment::embedded_world
{
    support::loop_fixture fixture;
    avirt::connection conn{fixture.io};
    std::optional<support::embedded_guest> guest;
    open_terminal terminal;

    embedded_world()
    {
        outcome opened;
        conn.async_open(support::embedded_driver::instance().uri(), opened.handler());
        fixture.run_until([&] { return opened.calls() > 0; });
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        start_guest();
    }

    ~embedded_world()
    {
        guest.reset();
        conn.close();
    }

    void start_guest()
    {
        guest.reset();
        guest.emplace(conn.native_handle(), guest_name, avirt_demo_guest);
        terminal.open(avirt::domain(virDomainLookupByName(conn.native_handle(), guest_name.c_str())).get());
        guest->resume();
    }
};

namespace {

environment* current = nullptr;

class embedded_stage final : public stage
{
public:
    embedded_stage(operation op, fault what)
        : stage(peer::embedded, op, what, environment::instance().embedded().fixture),
          world_(environment::instance().embedded()),
          watches_(loop_.loop.stats().watches)
    {
    }

    ~embedded_stage() override
    {
        clean_up();
        run_until([this] {
            const auto stats = loop_.loop.stats();
            return stats.watches == watches_ && stats.running_calls + stats.abandoned_calls == 0;
        });
        if (is_destroyed_)
            world_.start_guest();
    }

    std::string expected() const override
    {
        return unread_;
    }

    void release() override
    {
        gate_.open();
        if (is_suspended_)
            world_.guest->resume();
        is_suspended_ = false;
    }

    void check_stream() override
    {
        release();
        converse();
        BOOST_TEST(finish() == error_code());
        BOOST_TEST(call() == error_code());
    }

    void clean_up() override
    {
        stage::clean_up();
        second_.reset();
    }

private:
    void set_up() override {}

    avirt::connection& connection() override
    {
        return world_.conn;
    }

    opener what_to_open() override
    {
        const avirt::console console(guest_name);
        const bool is_gated =
            op_ == operation::open && what_ != fault::guest_destroyed && what_ != fault::guest_not_reading;
        return is_gated ? behind(gate_, console) : opener(console);
    }

    void hold() override
    {
        if (op_ == operation::open && what_ == fault::guest_destroyed)
            return destroy_guest();
        const bool loses_console = what_ == fault::takeover || what_ == fault::guest_destroyed;
        if (op_ == operation::read || loses_console)
            converse(); // No output is on its way any more.
        // A wait for an error then finds the takeover only with a read (docs/libvirt.md, "Streams").
        const bool has_unread =
            op_ == operation::idle || (op_ == operation::wait && what_ == fault::takeover);
        if (loses_console && has_unread)
            leave_echo_unread();
        if (op_ == operation::write || what_ == fault::guest_not_reading) {
            world_.guest->suspend();
            is_suspended_ = true;
        }
    }

    void provoke() override
    {
        if (what_ == fault::takeover)
            take_over();
        else if (what_ == fault::guest_destroyed && op_ != operation::open)
            destroy_guest();
    }

    void let_succeed() override
    {
        release();
        if (op_ == operation::read)
            write("x"); // The guest echoes it.
    }

    void take_over()
    {
        run_until_idle(); // libvirt does not protect a write from this (docs/libvirt.md).
        outcome opened;
        second_.emplace(loop_.io);
        second_->async_open(
            connection(), avirt::console(guest_name, {}, VIR_DOMAIN_CONSOLE_FORCE), opened.handler());
        run_until_done(opened);
        BOOST_TEST(opened.ec() == error_code());
    }

    void destroy_guest()
    {
        world_.guest->destroy();
        is_suspended_ = false;
        is_destroyed_ = true;
    }

    environment::embedded_world& world_;
    const std::size_t watches_;
    support::gate gate_;
    bool is_suspended_ = false;
    bool is_destroyed_ = false;
    std::optional<avirt::async_stream> second_;
};

} // namespace

environment::environment()
{
    current = this;
}

environment::~environment()
{
    embedded_.reset();
    current = nullptr;
}

environment& environment::instance()
{
    return *current;
}

environment::embedded_world& environment::embedded()
{
    if (!embedded_)
        embedded_ = std::make_unique<embedded_world>();
    return *embedded_;
}

std::unique_ptr<stage> make_embedded_stage(operation op, fault what)
{
    return std::make_unique<embedded_stage>(op, what);
}

} // namespace faults
