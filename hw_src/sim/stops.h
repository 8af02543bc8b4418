// A failed assertion of the RTL, or $fatal: an exception instead of the end of the process.
#ifndef QUASAR_SIM_STOPS_H
#define QUASAR_SIM_STOPS_H

#include <stdexcept>
#include <string>

#include "verilated.h"

static void stop(const char* file, int line, const char* what) {
    throw std::runtime_error(std::string(what) + " at " + (file ? file : "") + ":" +
                             std::to_string(line));
}
void vl_fatal(const char* file, int line, const char*, const char* what) VL_MT_UNSAFE {
    stop(file, line, what);
}
void vl_stop(const char* file, int line, const char*) VL_MT_UNSAFE {
    stop(file, line, "an assertion failed");
}
void vl_finish(const char* file, int line, const char*) VL_MT_UNSAFE { stop(file, line, "$finish"); }

#endif
