// SPDX-License-Identifier: BSL-1.0
#include <avirt/detail/failure.hpp>

#include "core/connection_errors.hpp"
#include "core/error_categories.hpp"

#include <libvirt/virterror.h>

#include <system_error>
#include <utility>

namespace avirt::detail {
namespace {

std::string text(const char* s)
{
    return s ? s : "";
}

error_details details_of(const virError& e)
{
    error_details d;
    d.domain = e.domain;
    d.code = e.code;
    d.level = e.level;
    d.message = text(e.message);
    d.str1 = text(e.str1);
    d.str2 = text(e.str2);
    d.str3 = text(e.str3);
    d.int1 = e.int1;
    d.int2 = e.int2;
    return d;
}

} // namespace

failure last_failure()
{
    const virError* e = virGetLastError();
    if (!e || e->code == VIR_ERR_OK) {
        // Some paths of libvirt fail without setting an error.
        error_details d;
        d.code = VIR_ERR_INTERNAL_ERROR;
        d.message = "libvirt failed without saying why";
        return {error_code(VIR_ERR_INTERNAL_ERROR, libvirt_category()), std::move(d)};
    }
    auto d = details_of(*e);
    const auto code =
        indicates_loss(d) ? refined_libvirt_code(d.code, condition::connection_lost) : libvirt_code(d);
    return {code, std::move(d)};
}

failure current_failure()
{
    const auto with_text = [](error_code code, const char* what) {
        error_details d;
        d.message = what;
        return failure(code, std::move(d));
    };
    try {
        throw;
    }
    catch (const exception& e) {
        return {e.code(), e.details()};
    }
    catch (const boost::system::system_error& e) {
        return with_text(e.code(), e.what());
    }
    catch (const std::system_error& e) {
        return with_text(error_code(e.code()), e.what());
    }
    catch (const std::exception& e) {
        return with_text(error::call_threw, e.what());
    }
    catch (...) {
        return with_text(error::call_threw, "an exception that is not a std::exception");
    }
}

failure describe_failure(int domain, const char* message, condition c)
{
    failure f(error_code(VIR_ERR_INTERNAL_ERROR, libvirt_category()));
    f.details.domain = domain;
    f.details.code = f.code.value();
    f.details.message = message;
    return refine(std::move(f), c);
}

failure refine(failure f, condition c)
{
    const bool wraps_errno = f.details.code == VIR_ERR_SYSTEM_ERROR;
    if (wraps_errno || f.code.category() == libvirt_category())
        f.code = refined_libvirt_code(wraps_errno ? f.details.code : f.code.value(), c);
    return f;
}

} // namespace avirt::detail
