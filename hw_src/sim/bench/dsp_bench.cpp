// Random and extreme operands through dsp.sv; p and the cascade of every cycle into `out`.

#include <cstdint>
#include <random>

#include "Vdsp.h"
#include "stops.h"
#include "verilated.h"

extern "C" void dsp_outputs(uint32_t seed, uint64_t count, uint64_t* out) {
  VerilatedContext context;
  Vdsp top(&context);
  std::mt19937_64 random(seed);
  auto operand = [&](int bits) -> uint64_t {
    const uint64_t mask = (1ull << bits) - 1, top_bit = 1ull << (bits - 1);
    switch (random() % 8) {
      case 0: return top_bit;
      case 1: return top_bit - 1;
      case 2: return mask;
      default: return random() & mask;
    }
  };
  for (uint64_t n = 0; n < count; n++) {
    top.a_i = operand(27), top.b_i = operand(18), top.c_i = operand(48);
    top.cascade_i = operand(48);
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    out[2 * n] = top.p_o, out[2 * n + 1] = top.cascade_o;
  }
}
