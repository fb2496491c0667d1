// SPDX-License-Identifier: BSL-1.0
#include "core/context_objects.hpp"

#include <boost/asio/query.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <utility>

namespace avirt::detail {
namespace {

class context_service final : public boost::asio::execution_context::service
{
public:
    static inline boost::asio::execution_context::id id;

    explicit context_service(boost::asio::execution_context& context)
        : boost::asio::execution_context::service(context)
    {
    }

    std::shared_ptr<context_objects> objects = std::make_shared<context_objects>();

private:
    void shutdown() override
    {
        objects->shutdown();
    }
};

} // namespace

boost::asio::any_io_executor strand_of(const boost::asio::any_io_executor& executor)
{
    if (!executor)
        return {};
    return boost::asio::make_strand(executor);
}

std::shared_ptr<context_objects> context_objects::of(const boost::asio::any_io_executor& executor)
{
    auto& context = boost::asio::query(executor, boost::asio::execution::context);
    // Services are shut down in the reverse order of their construction. The strands' service must be shut
    // down after this one: otherwise posting to a strand would destroy the handler at once, and avirt posts
    // with locks held.
    strand_of(executor);
    return boost::asio::use_service<context_service>(context).objects;
}

void context_objects::add(std::weak_ptr<context_object> object)
{
    const std::lock_guard guard(mutex_);
    if (objects_.size() >= sweep_at_) {
        std::erase_if(objects_, [](const auto& o) { return o.expired(); });
        sweep_at_ = std::max<std::size_t>(16, 2 * objects_.size());
    }
    objects_.push_back(std::move(object));
}

void context_objects::shutdown() noexcept
{
    std::vector<std::weak_ptr<context_object>> objects;
    {
        const std::lock_guard guard(mutex_);
        objects.swap(objects_);
    }
    for (const auto& weak : objects) {
        if (const auto object = weak.lock())
            object->shutdown();
    }
}

} // namespace avirt::detail
