// SPDX-License-Identifier: BSL-1.0
#include <cstdio>
#include <dlfcn.h>

int main()
{
    void* const plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    void* const run = plugin ? dlsym(plugin, "run_plugin") : nullptr;
    if (!run) {
        std::fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    return reinterpret_cast<int (*)()>(run)();
}
