// SPDX-License-Identifier: BSL-1.0
#include <avirt/detail/event_source_impl.hpp>

namespace avirt::detail {
namespace {

std::variant<int, unsigned, long long, unsigned long long, double, bool, std::string> value_of(
    const virTypedParameter& p)
{
    switch (p.type) {
    case VIR_TYPED_PARAM_INT:
        return p.value.i;
    case VIR_TYPED_PARAM_UINT:
        return p.value.ui;
    case VIR_TYPED_PARAM_LLONG:
        return p.value.l;
    case VIR_TYPED_PARAM_ULLONG:
        return p.value.ul;
    case VIR_TYPED_PARAM_DOUBLE:
        return p.value.d;
    case VIR_TYPED_PARAM_BOOLEAN:
        return p.value.b != 0;
    default:
        return to_member(p.value.s);
    }
}

} // namespace

graphics_address to_member(const virDomainEventGraphicsAddress* address)
{
    if (!address)
        return {};
    return {address->family, to_member(address->node), to_member(address->service)};
}

std::vector<graphics_identity> to_member(const virDomainEventGraphicsSubject* subject)
{
    std::vector<graphics_identity> result;
    for (int i = 0; subject && i < subject->nidentity; ++i)
        result.push_back({to_member(subject->identities[i].type), to_member(subject->identities[i].name)});
    return result;
}

std::vector<typed_parameter> to_parameters(const virTypedParameter* params, int nparams)
{
    std::vector<typed_parameter> result;
    result.reserve(static_cast<std::size_t>(nparams));
    for (int i = 0; i < nparams; ++i)
        result.push_back({params[i].field, value_of(params[i])});
    return result;
}

} // namespace avirt::detail
