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

/// libvirt asks for nothing else.
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

bool answers::fill(std::span<credential> asked) const
{
    const auto find = [this](const credential& c) { return results_.find({c.type, c.prompt, c.challenge}); };
    if (!std::ranges::all_of(asked, [&](const credential& c) { return find(c) != results_.end(); }))
        return false;
    for (auto& c : asked)
        c.result = find(c)->second;
    return true;
}

answers known_answers::get() const
{
    const std::lock_guard guard(mutex_);
    return answers_;
}

void known_answers::set(answers known)
{
    const std::lock_guard guard(mutex_);
    answers_ = std::move(known);
}

connect_options::connect_options(open_options options)
    : open_options(std::move(options)),
      known(replay_credentials ? std::make_shared<known_answers>() : nullptr)
{
}

authentication::authentication(const connect_options& options)
    : options_(options),
      known_(options.known ? options.known->get() : answers()),
      auth_{all_types.data(), static_cast<unsigned>(all_types.size()), &ask, this}
{
}

virConnectAuthPtr authentication::native() noexcept
{
    return options_.authenticate ? &auth_ : nullptr;
}

void authentication::ended(bool is_open)
{
    // Wrong ones, which were right once, are asked for anew next time.
    if (options_.known && (is_open || has_replayed_))
        options_.known->set(is_open ? std::move(given_) : answers());
}

const failure& authentication::thrown() const noexcept
{
    return thrown_;
}

int authentication::ask(virConnectCredentialPtr asked, unsigned count, void* self) noexcept
{
    auto& a = *static_cast<authentication*>(self);
    try {
        std::vector<credential> credentials;
        for (const auto& c : std::span(asked, count))
            credentials.push_back({c.type, text(c.prompt), text(c.challenge), text(c.defresult), {}});
        if (!a.answer(credentials))
            return -1;
        for (std::size_t i = 0; i < count; ++i) {
            const auto& c = credentials[i];
            asked[i].result = ::strdup((c.result.empty() ? c.default_result : c.result).c_str());
            if (!asked[i].result)
                return -1;
            asked[i].resultlen = static_cast<unsigned>(std::strlen(asked[i].result));
        }
        return 0;
    }
    catch (...) { // It must not cross libvirt's frames.
        a.thrown_ = current_failure();
        return -1;
    }
}

bool authentication::answer(std::span<credential> asked)
{
    // A question that comes twice has not been answered well.
    const bool is_new = std::ranges::none_of(asked, [this](credential c) { return given_.fill({&c, 1}); });
    const bool is_known = is_new && known_.fill(asked);
    if (!is_known && !options_.authenticate(asked))
        return false;
    has_replayed_ = has_replayed_ || is_known;
    for (const auto& c : asked)
        given_.insert(c);
    return true;
}

} // namespace avirt::detail
