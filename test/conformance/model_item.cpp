// SPDX-License-Identifier: BSL-1.0
#include "model_item.hpp"

namespace conformance {
namespace {

constexpr int timeout_event = 1;
constexpr int soon = 1000; // ms: every interval is at most this, or at least an hour

} // namespace

model_item::model_item(model_file* file, bool is_raced, random_stream r)
    : random{r},
      file_{file},
      is_raced_{is_raced}
{
}

void model_item::start(loop_fixture& loop, int asked, const action& act)
{
    asked_ = asked;
    const auto called = [this, act](registration& self) {
        check(self);
        if (act && registration_.load()) // The add may not have returned yet.
            act(*this);
    };
    auto& added = file_ ? loop.add_watch(file_->fd(), asked, called) : loop.add_timer(asked, called);
    if (act)
        added.on_free([this, act] { act(*this); });
    registration_ = &added;
}

void model_item::update(int asked)
{
    std::unique_lock lock{mutex_};
    asked_ = is_raced_ ? anything : asked;
    if (is_raced_)
        lock.unlock();
    registration_.load()->update(asked);
    if (!is_raced_)
        belated_ = no_callback_is_under_way() ? 0 : 1;
}

void model_item::settle_on(int asked)
{
    registration_.load()->update(asked);
    const std::scoped_lock lock{mutex_};
    asked_ = asked;
    belated_ = 0;
}

void model_item::remove()
{
    const int result = registration_.load()->remove();
    if (result != 0 && result != -1)
        violation("remove returned " + std::to_string(result));
    if (result == 0 && ++successful_removals_ > 1)
        violation(name() + " was removed successfully more than once");
    ++removals_;
}

std::string model_item::name() const
{
    return file_ ? std::string{"a watch on "} + file_->name() : "a timeout";
}

bool model_item::is_asked_for(int events) const noexcept
{
    if (asked_ == anything)
        return true;
    if (!file_)
        return asked_ >= 0 && asked_ <= soon;
    return asked_ != 0 && events != 0 && (events & ~(asked_ | error | hangup)) == 0;
}

void model_item::check(const registration& self)
{
    const int events = self.events();
    const std::scoped_lock lock{mutex_};
    events_from_here_ |= file_ ? events : timeout_event;
    if (file_ && (events & ~file_->possible()) != 0)
        violation(
            name() + " was told " + std::to_string(events) + ", but only " + std::to_string(file_->possible())
            + " can be true");
    if (!is_asked_for(events) && --belated_ < 0)
        violation(
            name() + " was told " + std::to_string(events) + ", but asked for " + std::to_string(asked_));
    if (self.removed() && ++calls_after_removal_ > 1)
        violation(name() + " was called more than once after removal");
}

int model_item::due() const
{
    if (is_removed())
        return 0;
    if (!file_)
        return asked_ >= 0 && asked_ <= soon ? timeout_event : 0;
    return asked_ != 0 && file_->is_open() ? file_->ready_for(asked_) : 0;
}

bool model_item::is_unpredictable() const noexcept
{
    return file_ && file_->outlives_its_fd() && !is_removed() && asked_ != 0;
}

void model_item::count_from_here() noexcept
{
    calls_before_ = calls();
    events_from_here_ = 0;
}

} // namespace conformance
