// Steps one module, whatever it is: ports are bytes in two buffers, agents in Python drive them.
//
// Compiled with MODEL, the class of Verilator's model, and ports.inc, which unit_bench.py makes from
// the model's header: INPUT(name, offset, bits) and OUTPUT(name, offset, bits), a line
// a port.

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "stops.h"
#include "verilated.h"

#define QUOTE(x) #x
#define HEADER(model) QUOTE(model.h)
#include HEADER(MODEL)

namespace {

class Unit {
 public:
  explicit Unit(uint32_t seed) {
    context_.randReset(2);
    context_.randSeed(static_cast<int>(seed) + 1);
    context_.assertOn(false);  // before the first reset the registers hold anything
    top_ = std::make_unique<MODEL>(&context_);
  }

  void assertions() { context_.assertOn(true); }

  // The clock rises on the inputs that are there, falls, and the outputs settle on new inputs.
  void step(const uint8_t* in, uint8_t* out) {
    top_->clk_i = 1;
    context_.timeInc(1);
    top_->eval();
    settle(in, out);
  }

  void settle(const uint8_t* in, uint8_t* out) {
#define INPUT(name, offset, bits) std::memcpy(&top_->name, in + offset, sizeof top_->name);
#define OUTPUT(name, offset, bits)
#include "ports.inc"
#undef INPUT
#undef OUTPUT
    top_->clk_i = 0;
    context_.timeInc(1);
    top_->eval();
#define INPUT(name, offset, bits)
#define OUTPUT(name, offset, bits) std::memcpy(out + offset, &top_->name, sizeof top_->name);
#include "ports.inc"
#undef INPUT
#undef OUTPUT
  }

  std::string message;

 private:
  VerilatedContext context_;
  std::unique_ptr<MODEL> top_;
};

}  // namespace

extern "C" {

Unit* unit_new(uint32_t seed) { return new Unit(seed); }
void unit_delete(Unit* u) { delete u; }
void unit_assertions(Unit* u) { u->assertions(); }
// A line a port: name, I or O, offset, bits.
const char* unit_ports() {
#define INPUT(name, offset, bits) #name " I " #offset " " #bits "\n"
#define OUTPUT(name, offset, bits) #name " O " #offset " " #bits "\n"
  return
#include "ports.inc"
      "";
#undef INPUT
#undef OUTPUT
}
const char* unit_message(Unit* u) { return u->message.c_str(); }
void unit_settle(Unit* u, const uint8_t* in, uint8_t* out) { u->settle(in, out); }

// `count` cycles, a row of inputs and a row of outputs each; -1 when an assertion fails.
int unit_step(Unit* u, const uint8_t* in, uint32_t in_bytes, uint8_t* out, uint32_t out_bytes,
              uint64_t count) {
  try {
    for (uint64_t i = 0; i < count; i++, in += in_bytes, out += out_bytes) u->step(in, out);
  } catch (const std::exception& e) {
    u->message = e.what();
    return -1;
  }
  return 0;
}
}
