// SPDX-License-Identifier: BSL-1.0
#include "fault_peers.hpp"

#include <support/fake_libvirtd.hpp>
#include <support/printing.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <cerrno>

namespace faults {
namespace {

/// The daemon neither reads nor sends before its gate opens.
class fake_stage final : own_loop, public stage
{
public:
    fake_stage(peer with, operation op, fault what) : stage(with, op, what, fixture) {}

    ~fake_stage() override
    {
        clean_up();
    }

    std::string expected() const override
    {
        return op_ == operation::hole ? '(' + std::to_string(hole_length) + ')' + what_comes : what_comes;
    }

    void release() override
    {
        gate_.open();
    }

    void check_stream() override
    {
        release();
        const auto [text, ending] = read_everything();
        BOOST_TEST(text == expected());
        BOOST_TEST(ending == asio::error::eof);
        // What was written has arrived.
        run_until([this] { return daemon_.received() == sent_; });
        BOOST_TEST(finish() == error_code());
        BOOST_TEST(call() == error_code());
    }

private:
    void set_up() override
    {
        if (what_ == fault::error_after_data && op_ == operation::open)
            daemon_.refuse(
                daemon_.domain_open_console, VIR_ERR_OPERATION_FAILED, VIR_FROM_STREAMS, "refused");
        if (what_ == fault::close_after_data && op_ == operation::open)
            daemon_.hang_up_at(daemon_.domain_open_console);
        daemon_.answer_keepalives(); // Nothing is to end because the connection is idle.
        connect(daemon_.uri());
    }

    opener what_to_open() override
    {
        if (op_ != operation::hole) {
            const avirt::console console("vm");
            return op_ == operation::open ? behind(gate_, console) : opener(console);
        }
        stream_->stop_at_holes(true);
        avirt::volume_download volume{avirt::volume_locator::at_path("/vm")};
        volume.sparse = true;
        return volume;
    }

    void hold() override
    {
        if (op_ != operation::write)
            return;
        if (is_shared())
            shrink_send_buffers(daemon_.socket_path());
        else
            fill();
    }

    void provoke() override
    {
        release();
    }

    void send(support::fake_libvirtd::session& s)
    {
        if (op_ == operation::hole)
            s.hole(hole_length);
        if (what_ == fault::bytewise)
            s.fragments(what_comes);
        else
            s.data(what_comes);
        if (what_ == fault::error_after_data)
            s.error(VIR_ERR_OPERATION_FAILED, VIR_FROM_STREAMS, "the disk is on fire");
        else if (what_ == fault::no_space)
            s.error(VIR_ERR_SYSTEM_ERROR, VIR_FROM_STREAMS, "cannot write to stream", ENOSPC);
        else if (what_ == fault::close_after_data)
            s.close();
        else
            s.eof();
    }

    support::gate gate_;
    support::fake_libvirtd daemon_{[this, pass = gate_.entry()](auto& s) {
        pass();
        send(s);
    }};
};

} // namespace

std::unique_ptr<stage> make_fake_stage(peer with, operation op, fault what)
{
    return std::make_unique<fake_stage>(with, op, what);
}

} // namespace faults
