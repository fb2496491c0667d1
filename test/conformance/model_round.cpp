// SPDX-License-Identifier: BSL-1.0
#include "model_round.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <limits>
#include <list>
#include <shared_mutex>

namespace conformance {
namespace {

constexpr int an_hour = 3'600'000;

} // namespace

model_round::model_round(std::uint64_t seed, int actors)
    : random_{seed},
      phases_{1 + random_.below(4)},
      steps_per_phase_{40 + random_.below(160)},
      idleness_{random_.below(16)},
      share_of_errands_{random_.one_of({8, 16, 64})},
      file_places_(1 + random_.next() % 24),
      item_places_(2 + random_.next() % 63)
{
    const int drawn = 1 + random_.below(8);
    for (int i = 0; i < (actors > 0 ? actors : drawn); ++i)
        actors_.push_back(random_.branch());
    for (auto& place : file_places_)
        place = &make_file(random_.branch());
}

void model_round::run()
{
    try {
        for (int i = 0; i < phases_; ++i) {
            callbacks_act_ = true;
            act(&model_round::take_steps);
            callbacks_act_ = false;
            check();
        }
        check_rest();
        check_each_alone();
        act(&model_round::remove_everything);
        check();
        check_ends();
        teardown();
    }
    catch (...) {
        report_violations();
        throw;
    }
}

// ---- while no actor runs

void model_round::act(step_taker taker)
{
    std::list<helper_thread> threads;
    for (auto& random : actors_)
        threads.emplace_back([this, taker, &random] { (this->*taker)(random); });
    run_until([&] {
        return std::all_of(threads.begin(), threads.end(), [](const auto& t) { return t.finished(); });
    });
}

void model_round::check()
{
    std::vector<std::pair<model_item*, int>> due;
    for (const auto& item : items_) {
        if (item->is_removed()) {
            if (!item->is_removed_once())
                violation(item->name() + " was removed, but no removal succeeded");
        }
        else if (item->is_raced()) {
            item->settle_on(ask(item->file(), random_));
        }
        item->count_from_here();
        if (const int events = item->due(); events != 0)
            due.emplace_back(item.get(), events);
    }
    // settle() comes after this, because what it registers would wake the loop.
    expect_calls(due);
    settle();
    for (const auto& [item, events] : due) {
        if (item->events_from_here() != events)
            violation(
                item->name() + " was told " + std::to_string(item->events_from_here()) + " instead of "
                + std::to_string(events));
    }
    for (const auto& item : items_) {
        if (item->due() == 0 && !item->is_unpredictable() && item->calls_from_here() > 0)
            violation(item->name() + " was called for nothing");
    }
}

void model_round::expect_calls(const std::vector<std::pair<model_item*, int>>& due)
{
    const auto is_served = [](const auto& d) { return d.first->is_served_from_here(); };
    // libvirt's loop calls no free callback while a timeout is always due.
    const auto is_freed = [](const auto& i) { return !i->is_removed() || i->is_freed() || !is_avirt(); };
    try {
        run_until([&] {
            return std::all_of(due.begin(), due.end(), is_served)
                && std::all_of(items_.begin(), items_.end(), is_freed);
        });
    }
    catch (const std::exception&) {
        for (const auto& d : due)
            if (!is_served(d))
                violation(d.first->name() + " is ready or due, but was not called again and again");
        for (const auto& item : items_)
            if (!is_freed(item))
                violation(item->name() + " was removed, but not freed");
        throw;
    }
}

// If nothing is ready, and nothing is due soon, the loop has to sleep.
void model_round::check_rest()
{
    for (const auto& item : items_) {
        if (item->due() != 0 || item->is_unpredictable())
            item->settle_on(item->file() ? 0 : -1);
    }
    add_timer(an_hour); // A loop with nothing registered would come to rest in another way.
    settle();
    BOOST_TEST(loop.comes_to_rest());
}

// Makes one item after the other ready or due, so that nothing else wakes the loop.
void model_round::check_each_alone()
{
    for (const auto& item : items_) {
        const auto* file = item->file();
        if (item->is_removed() || (file && !file->is_open()))
            continue;
        const int busy = file ? file->ready_for(readable | writable) : random_.below(2);
        if (file && (busy & (readable | writable)) == 0)
            continue;
        item->settle_on(busy);
        item->count_from_here();
        expect_calls({{item.get(), busy}});
        item->settle_on(file ? 0 : -1);
    }
    BOOST_TEST(loop.comes_to_rest());
}

void model_round::check_ends()
{
    if (std::any_of(files_.begin(), files_.end(), [](const auto& file) { return file->outlives_its_fd(); }))
        return; // An epoll set may still have the file under an fd that another file has now.
    for (const auto& file : files_) {
        if (file->is_open())
            BOOST_TEST(!in_an_epoll_set(file->fd()));
    }
}

// ---- actors

void model_round::take_steps(random_stream& random)
{
    for (int i = 0; i < steps_per_phase_ && !has_failed_; ++i) {
        ++steps_of_actors_;
        auto own = random.branch();
        if (own.one_in(share_of_errands_))
            run_errand(own);
        else
            step(own, nullptr);
    }
}

void model_round::remove_everything(random_stream& random)
{
    const auto first = random.next();
    for (std::size_t i = 0; i < item_places_.size(); ++i) {
        if (auto* item = item_places_[(first + i) % item_places_.size()].load())
            item->remove();
    }
}

void model_round::await(const model_item& item, const char* what, const std::function<bool()>& condition)
{
    if (has_failed_ || eventually([&] { return has_failed_ || condition(); }))
        return;
    violation(item.name() + what);
    has_failed_ = true;
}

// Uses an item that no other actor touches: the loop has to wake up for it, whatever else it does.
void model_round::run_errand(random_stream random)
{
    using kind = model_file::kind;
    std::unique_ptr<model_file> file;
    if (random.one_in(2))
        file = std::make_unique<model_file>(
            random.one_of({kind::regular, kind::pipe_writer, kind::socket, kind::counter}));
    const int idle = file ? 0 : random.one_of({-1, an_hour});
    const int busy = file ? writable : random.below(2);

    auto& item = make_item(file.get(), false, idle, {}, random.branch());
    for (int i = random.below(3); i > 0; --i) {
        const int before = item.calls();
        item.update(busy);
        await(item, " did not wake the loop", [&] { return item.calls() > before; });
        item.update(idle);
    }
    item.remove();
    if (is_avirt() && random.one_in(2))
        await(item, " was removed, but did not wake the loop", [&] { return item.is_freed(); });
    if (file) {
        file->close(model_file::ending::complete);
        const std::scoped_lock lock{mutex_};
        files_.push_back(std::move(file));
    }
}

// ---- actors and callbacks

void model_round::called(model_item& item)
{
    // Only the actors determine how long a round is: callbacks run far more often.
    if (!callbacks_act_ || steps_of_callbacks_ >= steps_of_actors_)
        return;
    ++steps_of_callbacks_;
    step(item.random.branch(), &item);
}

void model_round::step(random_stream random, model_item* self)
{
    auto* item = self && random.one_in(3) ? self : pick(random);
    switch (random.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        return add(random);
    case 4:
    case 5:
    case 6:
    case 7:
        if (item)
            item->update(ask(item->file(), random));
        return;
    case 8:
    case 9:
        if (item)
            item->remove();
        return;
    case 10:
        return replace_file(random);
    default:
        return change_file(random);
    }
}

model_item* model_round::pick(random_stream& random) const noexcept
{
    return item_places_[random.next() % item_places_.size()];
}

void model_round::add(random_stream random)
{
    const auto place = random.next() % item_places_.size();
    auto* file = file_places_[random.next() % file_places_.size()].load();
    add_to(random.one_in(3) ? nullptr : file, place, random);
}

// Adds an item to a place that is empty or whose item has been removed.
void model_round::add_to(model_file* file, std::size_t place, random_stream random)
{
    auto* former = item_places_[place].load();
    if (former && !former->is_removed())
        return;
    std::shared_lock<std::shared_mutex> lock;
    if (file) {
        lock = std::shared_lock{file->mutex};
        if (!file->is_open())
            return;
    }
    const bool is_raced = random.one_in(6);
    auto& item = make_item(
        file, is_raced, ask(file, random), [this](model_item& self) { called(self); }, random.branch());
    if (!item_places_[place].compare_exchange_strong(former, &item))
        item.remove(); // Another thread has taken the place.
}

void model_round::change_file(random_stream random)
{
    auto& file = *file_places_[random.next() % file_places_.size()].load();
    const std::scoped_lock lock{file.mutex};
    if (file.is_open())
        file.change(random);
}

// Replaces a file by another one, which usually gets its fd. The watches are removed before, or are left to
// later steps.
void model_round::replace_file(random_stream random)
{
    auto& place = file_places_[random.next() % file_places_.size()];
    auto& file = *place.load();
    const bool in_time = !is_avirt() || random.one_in(2); // libvirt's own loop polls fds, not files.
    const auto how = random.one_in(4) ? model_file::ending::lives_on : model_file::ending::complete;
    {
        const std::scoped_lock lock{file.mutex};
        if (!file.is_open())
            return; // Another thread has replaced it.
        for (auto& item_place : item_places_) {
            auto* item = item_place.load();
            if (in_time && item && item->file() == &file)
                item->remove();
        }
        file.close(how);
        place = &make_file(random.branch());
    }
    if (random.one_in(2))
        add_to(place, random.next() % item_places_.size(), random);
}

// ---- files and items

model_file& model_round::make_file(random_stream random)
{
    using kind = model_file::kind;
    auto file = std::make_unique<model_file>(
        random.one_of({kind::pipe_reader, kind::pipe_writer, kind::socket, kind::counter, kind::regular}));
    // Of a file that is not changed, only the events that its constructor sets can be true.
    for (int i = random.one_in(2) ? random.below(4) : 0; i > 0; --i)
        file->change(random.branch());
    const std::scoped_lock lock{mutex_};
    return *files_.emplace_back(std::move(file));
}

model_item& model_round::make_item(
    model_file* file, bool is_raced, int asked, const model_item::action& act, random_stream random)
{
    auto item = std::make_unique<model_item>(file, is_raced, random);
    item->start(*this, asked, act);
    const std::scoped_lock lock{mutex_};
    if (!ids_.emplace(file != nullptr, item->id()).second)
        violation(item->name() + " got an id that was in use before");
    return *items_.emplace_back(std::move(item));
}

int model_round::ask(const model_file* file, random_stream& random) const noexcept
{
    return file ? ask_watch(random) : ask_timeout(random);
}

int model_round::ask_watch(random_stream& random) const noexcept
{
    return random.below(16) < idleness_ ? 0 : random.below(16);
}

int model_round::ask_timeout(random_stream& random) const noexcept
{
    constexpr int never[] = {
        -1, -7, std::numeric_limits<int>::min(), an_hour, std::numeric_limits<int>::max()};
    constexpr int soon[] = {0, 0, 1, 5};
    return random.below(16) < idleness_ ? random.one_of(never) : random.one_of(soon);
}

} // namespace conformance
