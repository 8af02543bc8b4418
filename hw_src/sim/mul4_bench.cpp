// Every input of the packed multiplier: 16 x 16 digit pairs, all activations in [-127, 127] for the
// first token and [-128, 127] for the second (a token that does not exist may hold -128: its own
// products may then be wrong, the first token's may not). Returns the number of wrong outputs.

#include <cstdint>

#include "Vmul4.h"
#include "verilated.h"

namespace {
constexpr int kLatency = 4;

int sign(int value, int bits) { return (value ^ (1 << (bits - 1))) - (1 << (bits - 1)); }

struct Case {
  int x0, x1, w0, w1;
};
}  // namespace

extern "C" uint64_t mul4_exhaustive(uint64_t* cases) {
  VerilatedContext context;
  Vmul4 top(&context);
  uint64_t wrong = 0, fed = 0;
  Case pipe[kLatency] = {};
  auto step = [&](const Case& c) {
    const Case out = pipe[kLatency - 1];
    for (int i = kLatency - 1; i > 0; i--) pipe[i] = pipe[i - 1];
    pipe[0] = c;
    // p_o of the case fed kLatency steps ago stands before this clock edge.
    if (fed >= kLatency) {
      const uint64_t p = top.p_o;
      const int want[4] = {out.w0 * out.x0, out.w1 * out.x0, out.w0 * out.x1, out.w1 * out.x1};
      for (int i = 0; i < (out.x1 == -128 ? 2 : 4); i++) {
        wrong += sign(static_cast<int>(p >> (11 * i) & 2047), 11) != want[i];
      }
    }
    top.x_i = (c.x0 & 255) | (c.x1 & 255) << 8;
    top.w_i = (c.w0 & 15) | (c.w1 & 15) << 4;
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    fed++;
  };
  for (int w1 = -8; w1 < 8; w1++)
    for (int w0 = -8; w0 < 8; w0++)
      for (int x1 = -128; x1 < 128; x1++)
        for (int x0 = -127; x0 < 128; x0++) step({x0, x1, w0, w1});
  for (int i = 0; i < kLatency; i++) step({0, 0, 0, 0});
  *cases = fed - kLatency;
  return wrong;
}
