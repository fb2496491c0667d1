// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

/// A stream whose other end is the test: libvirt's stream functions are replaced at link time. It reports its
/// events from a timeout of the event loop, as libvirt's remote streams do.
///
/// It checks libvirt's rules: a stream has one event callback in its life, and no free callback; data is
/// received only after it was reported readable; the callback is removed before the end; nothing follows the
/// end.
class fake_stream : public std::enable_shared_from_this<fake_stream>
{
public:
    /// A stream that was not opened by avirt, with one reference for the object that adopts it.
    static std::shared_ptr<fake_stream> make();
    /// The stream behind libvirt's pointer.
    static std::shared_ptr<fake_stream> of(virStreamPtr pointer);
    /// The number of streams that have references left.
    static std::size_t alive();
    /// The violations of libvirt's rules since the last call.
    static std::vector<std::string> violations();
    /// Makes virStreamEventAddCallback fail from now on, or not.
    static void refuse_callbacks(bool refuse);

    virStreamPtr pointer() noexcept
    {
        return reinterpret_cast<virStreamPtr>(this);
    }

    // The other end. These functions may be called from any thread.
    void deliver(std::string bytes);
    void deliver_eof();
    void deliver_error(std::string message);
    /// Reports VIR_STREAM_EVENT_HANGUP or VIR_STREAM_EVENT_ERROR.
    void report(int event);
    /// Limits each receive and each send to that many bytes.
    void break_into(std::size_t bytes);
    /// Makes room for that many bytes more.
    void take(std::size_t bytes);
    void refuse_bytes(std::string message);
    /// Makes sends block, as they do if a daemon is behind the stream, until let_sending_go().
    void block_sending();
    void let_sending_go();
    void fail_ending(std::string message);
    void block_ending();
    void let_ending_go();

    std::string sent() const;
    int mask() const;
    int receives() const;
    int sends() const; // begun
    int finishes() const;
    int aborts() const;
    int references() const;
    bool has_callback() const;

    // libvirt's functions.
    int add_reference();
    int drop_reference();
    int receive(char* data, std::size_t size);
    int send(const char* data, std::size_t size);
    int add_callback(int events, virStreamEventCallback callback, void* opaque, virFreeCallback free);
    int update_callback(int events);
    int remove_callback();
    int finish();
    int abort();

private:
    using lock = std::unique_lock<std::mutex>;

    int ready_events() const;
    void rearm();
    int end(lock& held);
    void violation(std::string what) const;
    static void on_timeout(int timer, void* opaque);

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    int references_ = 1;
    int timer_ = -1;

    std::string inbox_;
    bool eof_ = false;
    std::string receive_error_;
    std::size_t fragment_ = ~std::size_t{0};
    int reported_ = 0; // events that were reported and not delivered yet
    bool may_receive_ = false;

    std::string outbox_;
    std::size_t room_ = 0;
    std::string send_error_;
    bool sending_blocks_ = false;

    virStreamEventCallback callback_ = nullptr;
    void* opaque_ = nullptr;
    int mask_ = 0;
    int callbacks_added_ = 0;
    bool in_callback_ = false;

    bool ended_ = false;
    bool ending_blocks_ = false;
    std::string end_error_;
    int receives_ = 0;
    int sends_ = 0;
    int finishes_ = 0;
    int aborts_ = 0;
};
