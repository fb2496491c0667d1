// SPDX-License-Identifier: BSL-1.0
#include "fault_peers.hpp"

#include <support/libvirtd.hpp>
#include <support/packet_proxy.hpp>
#include <support/printing.hpp>
#include <support/shared_daemon.hpp>

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

extern "C" const unsigned char avirt_demo_guest[512];

namespace faults {
namespace {

/// The terminal of the shared daemon's guest.
open_terminal private_terminal;

/// The stream is an upload, or a download if something is to be read, or the console of a guest if the fault
/// concerns a guest.
class private_stage final : own_loop, public stage
{
public:
    private_stage(peer with, operation op, fault what)
        : stage(with, op, what, fixture),
          own_(what == fault::sigkill ? std::make_unique<support::libvirtd>() : nullptr),
          daemon_(own_ ? *own_ : support::answering_daemon())
    {
        if (what == fault::bytewise || what == fault::close_after_data)
            proxy_.emplace(daemon_.socket(), [this](const auto& p) { return verdict_on(p); });
    }

    ~private_stage() override
    {
        clean_up();
    }

    std::string expected() const override
    {
        return is_download() ? sent_by_daemon_ : unread_;
    }

    void release() override
    {
        daemon_.thaw();
        if (is_suspended_)
            on_guest(virDomainResume);
        is_suspended_ = false;
    }

    void check_stream() override
    {
        release();
        if (concerns_guest())
            converse();
        else if (is_download())
            BOOST_TEST((read_everything().text == sent_by_daemon_));
        else {
            write("the last line");
            const std::string all = std::string(sent_ - 13, 'x') + "the last line";
            BOOST_TEST(finish() == error_code());
            BOOST_TEST((content() == all));
        }
        BOOST_TEST(call() == error_code());
    }

    void clean_up() override
    {
        release();
        is_open_.open();
        if (second_)
            second_->close();
        stage::clean_up();
    }

private:
    bool is_download() const noexcept
    {
        const bool is_read = op_ == operation::read || op_ == operation::hole;
        const bool is_data = is_read || op_ == operation::idle;
        return (is_read && (what_ == fault::own_handler || what_ == fault::sigstop))
            || (what_ == fault::sigkill && op_ == operation::idle)
            || (what_ == fault::bytewise && (is_data || op_ == operation::wait))
            || (what_ == fault::close_after_data && is_data);
    }

    /// Says what becomes of a packet. Called on the proxy's threads. A connection that is closed right behind
    /// the answer to the opener would make the opener fail (docs/libvirt.md, "A connection's socket").
    support::packet_proxy::verdict verdict_on(const support::packet_proxy::packet& p) const
    {
        using verdict = support::packet_proxy::verdict;
        if (what_ == fault::bytewise)
            return verdict::fragment;
        if (!is_download() || p.from_client || !p.is_stream_end())
            return verdict::pass;
        is_open_.entry()();
        return verdict::cut;
    }

    void set_up() override
    {
        connect(proxy_ ? proxy_->uri() : daemon_.uri());
        if (concerns_guest())
            return start_guest();
        path_ = daemon_.make_volume("faults", is_download() ? 1'000'000 : 0);
        sent_by_daemon_ = content(); // The volume goes away with a daemon that is killed.
        const auto make_pool = [xml = daemon_.pool_xml()](virConnectPtr c) {
            virStoragePoolPtr pool = virStoragePoolLookupByName(c, "pool");
            if (!pool)
                pool = virStoragePoolCreateXML(c, xml.c_str(), 0);
            const int refreshed = pool ? virStoragePoolRefresh(pool, 0) : -1;
            if (pool)
                virStoragePoolFree(pool);
            return refreshed;
        };
        succeed(make_pool);
    }

    void start_guest()
    {
        succeed([xml = daemon_.guest_xml(guest_name, avirt_demo_guest)](virConnectPtr c) {
            avirt::domain guest{virDomainLookupByName(c, guest_name.c_str())};
            if (!guest)
                guest = avirt::domain{virDomainDefineXML(c, xml.c_str())};
            const bool runs =
                guest && (virDomainIsActive(guest.get()) == 1 || virDomainCreate(guest.get()) == 0);
            if (runs)
                private_terminal.open(guest.get());
            return runs ? 0 : -1;
        });
    }

    opener what_to_open() override
    {
        if (concerns_guest())
            return avirt::console(guest_name);
        if (!is_download())
            return avirt::volume_upload{{"pool", "faults"}};
        avirt::volume_download volume{{"pool", "faults"}};
        volume.sparse = op_ == operation::hole;
        stream_->stop_at_holes(volume.sparse);
        return volume;
    }

    void hold() override
    {
        if (concerns_guest())
            return hold_guest();
        is_open_.open();
        clients_ = proxy_ ? proxy_->accepted() : 0;
        const bool needs_daemon = op_ == operation::write || op_ == operation::finish
            || op_ == operation::abort || op_ == operation::open;
        if (needs_daemon || what_ == fault::sigstop)
            daemon_.freeze();
        else if (what_ == fault::sigkill && is_download())
            await_readable();
        if (op_ == operation::write && is_shared())
            shrink_send_buffers(daemon_.socket());
        else if (op_ == operation::write)
            fill();
    }

    void hold_guest()
    {
        if (op_ == operation::open && what_ == fault::guest_destroyed)
            return on_guest(virDomainDestroy);
        if (what_ == fault::takeover || what_ == fault::guest_destroyed || op_ == operation::read)
            converse(); // No output is on its way any more.
        if (op_ == operation::idle && what_ != fault::guest_not_reading)
            leave_echo_unread();
        const bool has_input = op_ == operation::write || op_ == operation::finish || op_ == operation::abort;
        if (!has_input && what_ != fault::guest_not_reading)
            return;
        on_guest(virDomainSuspend);
        is_suspended_ = true;
        if (op_ == operation::open || !has_input)
            return;
        // More than the guest's terminal takes: one that is new took 21 KB.
        for (int i = 0; i < 3; ++i)
            write(std::string(20'000, 'x'));
    }

    void provoke() override
    {
        if (what_ == fault::sigkill)
            daemon_.kill();
        else if (what_ == fault::bytewise)
            release();
        else if (what_ == fault::close_after_data && !is_download())
            cut_connections();
        else if (what_ == fault::takeover)
            take_over();
        else if (what_ == fault::guest_destroyed && op_ != operation::open)
            destroy_guest();
    }

    void cut_connections()
    {
        if (op_ == operation::open && !is_shared())
            run_until([this] { return proxy_->accepted() > clients_; });
        proxy_->cut_all();
    }

    void take_over()
    {
        outcome opened;
        second_.emplace(loop_.io);
        second_->async_open(
            connection(), avirt::console(guest_name, {}, VIR_DOMAIN_CONSOLE_FORCE), opened.handler());
        run_until_done(opened);
        BOOST_TEST(opened.ec() == error_code());
    }

    void destroy_guest()
    {
        on_guest(virDomainDestroy);
        is_suspended_ = false;
    }

    template <class Function>
    void succeed(Function function)
    {
        outcome called;
        avirt::error_details why;
        conn_->async_call(avirt::own_connection, function, avirt::with_details(called.handler(), why));
        run_until_done(called);
        BOOST_TEST_REQUIRE(called.ec() == error_code(), why.message);
    }

    template <class Function>
    void on_guest(Function function)
    {
        succeed([function](virConnectPtr c) {
            const avirt::domain guest{virDomainLookupByName(c, guest_name.c_str())};
            return guest ? function(guest.get()) : -1;
        });
    }

    std::string content() const
    {
        std::ifstream file(path_, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    const std::unique_ptr<support::libvirtd> own_;
    support::libvirtd& daemon_;
    std::filesystem::path path_;
    std::string sent_by_daemon_;
    bool is_suspended_ = false;
    std::optional<avirt::async_stream> second_;
    support::gate is_open_;
    std::size_t clients_ = 0;                    // of the proxy, before the operation
    std::optional<support::packet_proxy> proxy_; // if the fault is one of packets
};

} // namespace

std::unique_ptr<stage> make_private_stage(peer with, operation op, fault what)
{
    return std::make_unique<private_stage>(with, op, what);
}

} // namespace faults
