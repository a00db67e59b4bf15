/*
 * Linked into the command of a build with AddressSanitizer (auto/configure
 * --sanitize=address), and into no other.  The agent's environment is empty, so
 * that auto/test's options do not reach it.  Leaks are not looked for: nobody
 * may look into the agent.
 */

#define FOUND __attribute__((visibility("default"))) /* by its library */

FOUND const char *__asan_default_options(void);
FOUND const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=1:log_path=" ECERT_REPORTS "/asan";
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:log_path=" ECERT_REPORTS "/ubsan";
}
