// SPDX-License-Identifier: BSL-1.0
#include "fake_stream.hpp"

#include <libvirt/virterror.h>

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace {

struct registry
{
    std::mutex mutex;
    std::map<fake_stream*, std::shared_ptr<fake_stream>> streams;
    std::vector<std::string> violations;
    bool refuses_callbacks = false;

    static registry& instance()
    {
        static registry r;
        return r;
    }
};

struct last_error
{
    std::string message;
    virError error{};
};

/// libvirt's function that sets the error is not public, so virGetLastError is replaced as well.
thread_local last_error current;

int fail(const std::string& message, int code = VIR_ERR_OPERATION_FAILED)
{
    current.message = message;
    current.error = {};
    current.error.code = code;
    current.error.domain = VIR_FROM_STREAMS;
    current.error.level = VIR_ERR_ERROR;
    current.error.message = current.message.data();
    return -1;
}

/// Every libvirt call resets the error.
std::shared_ptr<fake_stream> entered(virStreamPtr stream)
{
    current.error = {};
    return fake_stream::of(stream);
}

} // namespace

std::shared_ptr<fake_stream> fake_stream::make()
{
    auto s = std::make_shared<fake_stream>();
    const std::lock_guard guard(registry::instance().mutex);
    registry::instance().streams.emplace(s.get(), s);
    return s;
}

std::shared_ptr<fake_stream> fake_stream::of(virStreamPtr pointer)
{
    const std::lock_guard guard(registry::instance().mutex);
    auto& streams = registry::instance().streams;
    const auto it = streams.find(reinterpret_cast<fake_stream*>(pointer));
    if (it != streams.end())
        return it->second;
    registry::instance().violations.push_back("a stream without references was used");
    return std::make_shared<fake_stream>();
}

std::size_t fake_stream::alive()
{
    const std::lock_guard guard(registry::instance().mutex);
    return registry::instance().streams.size();
}

std::vector<std::string> fake_stream::violations()
{
    const std::lock_guard guard(registry::instance().mutex);
    return std::exchange(registry::instance().violations, {});
}

void fake_stream::refuse_callbacks(bool refuse)
{
    const std::lock_guard guard(registry::instance().mutex);
    registry::instance().refuses_callbacks = refuse;
}

void fake_stream::violation(std::string what) const
{
    const std::lock_guard guard(registry::instance().mutex);
    registry::instance().violations.push_back(std::move(what));
}

void fake_stream::deliver(std::string bytes)
{
    const lock held(mutex_);
    inbox_ += bytes;
    rearm();
}

void fake_stream::deliver_eof()
{
    lock held(mutex_);
    eof_ = true;
    rearm();
}

void fake_stream::deliver_error(std::string message)
{
    lock held(mutex_);
    receive_error_ = std::move(message);
    rearm();
}

void fake_stream::report(int event)
{
    lock held(mutex_);
    reported_ |= event;
    rearm();
}

void fake_stream::break_into(std::size_t bytes)
{
    const lock held(mutex_);
    fragment_ = bytes;
}

void fake_stream::take(std::size_t bytes)
{
    lock held(mutex_);
    room_ += bytes;
    rearm();
}

void fake_stream::refuse_bytes(std::string message)
{
    lock held(mutex_);
    send_error_ = std::move(message);
    rearm();
}

void fake_stream::block_sending()
{
    const lock held(mutex_);
    sending_blocks_ = true;
}

void fake_stream::let_sending_go()
{
    const lock held(mutex_);
    sending_blocks_ = false;
    changed_.notify_all();
}

void fake_stream::fail_ending(std::string message)
{
    const lock held(mutex_);
    end_error_ = std::move(message);
}

void fake_stream::block_ending()
{
    const lock held(mutex_);
    ending_blocks_ = true;
}

void fake_stream::let_ending_go()
{
    const lock held(mutex_);
    ending_blocks_ = false;
    changed_.notify_all();
}

#define FAKE_STREAM_GETTER(Type, name, member) \
    Type fake_stream::name() const             \
    {                                          \
        const lock held(mutex_);               \
        return member;                         \
    }
FAKE_STREAM_GETTER(std::string, sent, outbox_)
FAKE_STREAM_GETTER(int, mask, mask_)
FAKE_STREAM_GETTER(int, receives, receives_)
FAKE_STREAM_GETTER(int, sends, sends_)
FAKE_STREAM_GETTER(int, finishes, finishes_)
FAKE_STREAM_GETTER(int, aborts, aborts_)
FAKE_STREAM_GETTER(int, references, references_)
FAKE_STREAM_GETTER(bool, has_callback, callback_ != nullptr)
#undef FAKE_STREAM_GETTER

int fake_stream::add_reference()
{
    const lock held(mutex_);
    ++references_;
    return 0;
}

int fake_stream::drop_reference()
{
    {
        const lock held(mutex_);
        if (--references_ > 0)
            return 0;
        if (callback_)
            violation("the last reference was dropped with the callback in place");
    }
    const std::lock_guard guard(registry::instance().mutex);
    registry::instance().streams.erase(this);
    return 0;
}

int fake_stream::receive(char* data, std::size_t size)
{
    lock held(mutex_);
    ++receives_;
    if (ended_)
        violation("received after the end");
    if (!std::exchange(may_receive_, false))
        violation("received without having been reported readable");
    int result = -2;
    if (!inbox_.empty()) {
        const auto n = std::min({size, inbox_.size(), fragment_});
        std::memcpy(data, inbox_.data(), n);
        inbox_.erase(0, n);
        result = static_cast<int>(n);
    }
    else if (!receive_error_.empty())
        result = fail(std::exchange(receive_error_, "another error than the first time"));
    else if (eof_)
        result = 0;
    rearm();
    return result;
}

int fake_stream::send(const char* data, std::size_t size)
{
    lock held(mutex_);
    ++sends_;
    if (ended_)
        violation("sent after the end");
    changed_.wait(held, [this] { return !sending_blocks_; });
    int result = -2;
    if (!send_error_.empty())
        result = fail(send_error_);
    else if (room_ > 0) {
        const auto n = std::min({size, room_, fragment_});
        outbox_.append(data, n);
        room_ -= n;
        result = static_cast<int>(n);
    }
    rearm();
    return result;
}

int fake_stream::add_callback(int events, virStreamEventCallback callback, void* opaque, virFreeCallback free)
{
    {
        const std::lock_guard guard(registry::instance().mutex);
        if (registry::instance().refuses_callbacks)
            return fail("no callbacks here", VIR_ERR_NO_SUPPORT);
    }
    const int timer = virEventAddTimeout(-1, &on_timeout, this, nullptr);
    if (timer < 0)
        return fail("no event loop");
    lock held(mutex_);
    if (callbacks_added_++ > 0)
        violation("a second callback was added");
    if (free)
        violation("a free callback was given");
    timer_ = timer;
    callback_ = callback;
    opaque_ = opaque;
    mask_ = events;
    rearm();
    return 0;
}

int fake_stream::update_callback(int events)
{
    lock held(mutex_);
    if (!callback_)
        violation("a callback that is not there was updated");
    mask_ = events;
    rearm();
    return 0;
}

int fake_stream::remove_callback()
{
    lock held(mutex_);
    if (!callback_)
        violation("a callback that is not there was removed");
    if (in_callback_)
        violation("the callback was removed while it ran");
    callback_ = nullptr;
    mask_ = 0;
    const int timer = std::exchange(timer_, -1);
    held.unlock();
    virEventRemoveTimeout(timer);
    return 0;
}

int fake_stream::finish()
{
    lock held(mutex_);
    ++finishes_;
    return end(held);
}

int fake_stream::abort()
{
    lock held(mutex_);
    ++aborts_;
    return end(held);
}

int fake_stream::end(lock& held)
{
    if (callback_)
        violation("ended with the callback in place");
    if (std::exchange(ended_, true))
        violation("ended twice");
    changed_.wait(held, [this] { return !ending_blocks_; });
    return end_error_.empty() ? 0 : fail(end_error_);
}

int fake_stream::ready_events() const
{
    int events = reported_;
    if (!inbox_.empty() || eof_ || !receive_error_.empty())
        events |= VIR_STREAM_EVENT_READABLE;
    if (room_ > 0 || !send_error_.empty())
        events |= VIR_STREAM_EVENT_WRITABLE;
    return callback_ ? events & mask_ : 0;
}

void fake_stream::rearm()
{
    if (timer_ >= 0)
        virEventUpdateTimeout(timer_, ready_events() ? 0 : -1);
}

void fake_stream::on_timeout(int, void* opaque)
{
    const auto self = of(static_cast<fake_stream*>(opaque)->pointer());
    lock held(self->mutex_);
    const int events = self->ready_events();
    self->reported_ &= ~events;
    if (events == 0)
        return self->rearm();
    self->may_receive_ = self->may_receive_ || events != VIR_STREAM_EVENT_WRITABLE;
    self->in_callback_ = true;
    const auto callback = self->callback_;
    auto* const argument = self->opaque_;
    held.unlock();
    callback(self->pointer(), events, argument);
    held.lock();
    self->in_callback_ = false;
    self->rearm();
}

virErrorPtr virGetLastError()
{
    static const auto real =
        reinterpret_cast<decltype(&virGetLastError)>(::dlsym(RTLD_NEXT, "virGetLastError"));
    return current.error.code != VIR_ERR_OK ? &current.error : real();
}

virStreamPtr virStreamNew(virConnectPtr, unsigned flags)
{
    current.error = {};
    const auto s = fake_stream::make();
    if (!(flags & VIR_STREAM_NONBLOCK))
        fail("only non-blocking streams here");
    return flags & VIR_STREAM_NONBLOCK ? s->pointer() : nullptr;
}

int virStreamRef(virStreamPtr stream)
{
    return entered(stream)->add_reference();
}

int virStreamFree(virStreamPtr stream)
{
    return entered(stream)->drop_reference();
}

int virStreamRecv(virStreamPtr stream, char* data, std::size_t size)
{
    return entered(stream)->receive(data, size);
}

int virStreamSend(virStreamPtr stream, const char* data, std::size_t size)
{
    return entered(stream)->send(data, size);
}

int virStreamEventAddCallback(
    virStreamPtr stream, int events, virStreamEventCallback cb, void* opaque, virFreeCallback ff)
{
    return entered(stream)->add_callback(events, cb, opaque, ff);
}

int virStreamEventUpdateCallback(virStreamPtr stream, int events)
{
    return entered(stream)->update_callback(events);
}

int virStreamEventRemoveCallback(virStreamPtr stream)
{
    return entered(stream)->remove_callback();
}

int virStreamFinish(virStreamPtr stream)
{
    return entered(stream)->finish();
}

int virStreamAbort(virStreamPtr stream)
{
    return entered(stream)->abort();
}
