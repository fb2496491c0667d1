// SPDX-License-Identifier: BSL-1.0
#include "connection/authentication.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

std::string text(const char* s)
{
    return s ? s : "";
}

/// All types of questions: libvirt asks only those that are listed.
std::array all_types{
    int{VIR_CRED_USERNAME},     int{VIR_CRED_AUTHNAME},   int{VIR_CRED_LANGUAGE},
    int{VIR_CRED_CNONCE},       int{VIR_CRED_PASSPHRASE}, int{VIR_CRED_ECHOPROMPT},
    int{VIR_CRED_NOECHOPROMPT}, int{VIR_CRED_REALM},      int{VIR_CRED_EXTERNAL},
};

} // namespace

void answers::insert(const credential& answered)
{
    results_[{answered.type, answered.prompt, answered.challenge}] = answered.result;
}

bool answers::fill(std::span<credential> questions) const
{
    const auto find = [this](const credential& c) { return results_.find({c.type, c.prompt, c.challenge}); };
    if (!std::ranges::all_of(questions, [&](const credential& c) { return find(c) != results_.end(); }))
        return false;
    for (auto& c : questions)
        c.result = find(c)->second;
    return true;
}

answers remembered_answers::get() const
{
    const std::lock_guard guard(mutex_);
    return answers_;
}

void remembered_answers::set(answers accepted)
{
    const std::lock_guard guard(mutex_);
    answers_ = std::move(accepted);
}

connect_options::connect_options(open_options options)
    : open_options(std::move(options)),
      remembered(replay_credentials ? std::make_shared<remembered_answers>() : nullptr)
{
}

authentication::authentication(const connect_options& options)
    : options_(options),
      remembered_(options.remembered ? options.remembered->get() : answers()),
      auth_{all_types.data(), static_cast<unsigned>(all_types.size()), &answer_libvirt, this}
{
}

virConnectAuthPtr authentication::native() noexcept
{
    return options_.authenticate ? &auth_ : nullptr;
}

void authentication::on_result(bool is_open)
{
    if (options_.remembered && (is_open || has_replayed_))
        options_.remembered->set(is_open ? std::move(given_) : answers());
}

const failure& authentication::thrown() const noexcept
{
    return thrown_;
}

int authentication::answer_libvirt(virConnectCredentialPtr questions, unsigned count, void* self) noexcept
{
    auto& a = *static_cast<authentication*>(self);
    try {
        std::vector<credential> credentials;
        for (const auto& c : std::span(questions, count))
            credentials.push_back({c.type, text(c.prompt), text(c.challenge), text(c.defresult), {}});
        if (!a.answer(credentials))
            return -1;
        for (std::size_t i = 0; i < count; ++i) {
            const auto& c = credentials[i];
            questions[i].result = ::strdup((c.result.empty() ? c.default_result : c.result).c_str());
            if (!questions[i].result)
                return -1;
            questions[i].resultlen = static_cast<unsigned>(std::strlen(questions[i].result));
        }
        return 0;
    }
    catch (...) { // No exception may cross libvirt's frames.
        a.thrown_ = current_failure();
        return -1;
    }
}

bool authentication::answer(std::span<credential> questions)
{
    // If libvirt repeats a question, the answer was wrong and must not be replayed.
    const bool is_new = std::ranges::none_of(questions, [this](credential c) {
        return given_.fill({&c, 1});
    });
    const bool is_replayed = is_new && remembered_.fill(questions);
    if (!is_replayed && !options_.authenticate(questions))
        return false;
    has_replayed_ = has_replayed_ || is_replayed;
    for (const auto& c : questions)
        given_.insert(c);
    return true;
}

} // namespace avirt::detail
