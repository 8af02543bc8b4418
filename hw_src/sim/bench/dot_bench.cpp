// A cascade of two or four packed multipliers: MODEL is packed_dot or an arrangement beside it. Every
// input of a multiplier (16 lower digits, 15 or 16 upper ones, 255 x 255 activations) goes through
// each of them, in an order of its own for each, so that every case meets as many combinations of the
// others; every ninth cycle all take extremes instead. Returns the number of wrong sums.

#include <array>
#include <cstdint>
#include <cstring>
#include <random>

#include "stops.h"
#include "verilated.h"

#define QUOTE(x) #x
#define HEADER(model) QUOTE(model.h)
#include HEADER(MODEL)

namespace {
// Four inputs with w = w0 + w1 2^23, or two with w0 + w1 2^22 and w1 down to -8.
constexpr bool kFour = sizeof(static_cast<MODEL*>(nullptr)->x_i) > 8;
constexpr int kInputs = kFour ? 4 : 2, kLow = kFour ? 3 : 2, kLane = 10 + kLow;
constexpr int kUpper = kFour ? 4 : 5, kLeast = kFour ? -7 : -8;
constexpr int kSkew = 2, kPipe = 8;
constexpr uint64_t kCases = 16ull * (8 - kLeast) * 255 * 255;
constexpr uint64_t kStride[4] = {1, 7919, 104729, 15485863};  // primes that kCases lacks

struct Case {
  int x0, x1, w0, w1;
};

Case numbered(uint64_t n) {
  return {static_cast<int>(n % 255) - 127, static_cast<int>(n / 255 % 255) - 127,
          static_cast<int>(n / 255 / 255 % 16) - 8,
          static_cast<int>(n / 255 / 255 / 16) + kLeast};
}

// What is to be added to the sum of token 0 and digit row 1, if there is anything.
template <class Model>
auto carry(const Model& top, int) -> decltype(static_cast<int>(top.carry_o)) {
  return top.carry_o;
}
template <class Model>
int carry(const Model&, long) {
  return 0;
}
}  // namespace

// Sums come `latency` cycles after the unskewed operands, signed or with `bias` each.
extern "C" uint64_t dot_exhaustive(uint64_t cases, int latency, int bias, uint32_t seed) {
  VerilatedContext context;
  MODEL top(&context);
  std::mt19937 random(seed);
  std::array<std::array<Case, kInputs>, kPipe> pipe{};
  uint64_t wrong = 0, fed = kPipe, number = seed;
  auto step = [&](const std::array<Case, kInputs>& now) {
    if (fed >= static_cast<uint64_t>(kPipe + latency)) {
      int want[4] = {};  // [token][digit row]
      for (const Case& c : pipe[(fed - latency) % kPipe]) {
        want[0] += c.w0 * c.x0, want[1] += c.w1 * c.x0;
        want[2] += c.w0 * c.x1, want[3] += c.w1 * c.x1;
      }
      for (int i = 0; i < 4; i++) {
        int sum = static_cast<int>(top.sum_o >> (kLane * i)) & ((1 << kLane) - 1);
        if (bias == 0 && sum >> (kLane - 1)) sum -= 1 << kLane;
        wrong += sum - bias + (i == 1 ? carry(top, 0) : 0) != want[i];
      }
    }
    pipe[fed % kPipe] = now;
    unsigned __int128 operands = 0;
    uint32_t digits = 0;
    uint16_t w0 = 0, w1 = 0, x1 = 0;
    for (int i = 0; i < kInputs; i++) {
      const Case& late = pipe[(fed - (i < 2 ? 0 : i - 1)) % kPipe][i];
      const uint32_t upper = (late.w1 - (late.w0 < 0)) & ((1 << kUpper) - 1);
      operands |= static_cast<unsigned __int128>((late.x0 + late.x1 * 1024) & 0x3FFFF) << 18 * i;
      digits |= ((late.w0 & 15) | upper << 4) << (4 + kUpper) * i;
      const int low = (1 << kLow) - 1;
      w0 |= (now[i].w0 & low) << kLow * i, w1 |= (now[i].w1 & low) << kLow * i;
      x1 |= (now[i].x1 & low) << kLow * i;
    }
    std::memcpy(&top.x_i, &operands, sizeof top.x_i);
    top.w_i = digits, top.w0_low_i = w0, top.w1_low_i = w1, top.x1_low_i = x1;
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    fed++;
  };
  for (uint64_t n = 0; n < cases; n++) {
    std::array<Case, kInputs> all;
    for (int i = 0; i < kInputs; i++) all[i] = numbered(number * kStride[i] % kCases);
    number++;
    step(all);
    if (n % 8 != 7) continue;
    for (Case& c : all) {
      c = {random() & 1 ? 127 : -127, random() & 1 ? 127 : -127, random() & 1 ? 7 : -8,
           random() & 1 ? 7 : kLeast};
    }
    step(all);
  }
  for (int i = 0; i < latency + kSkew; i++) step({});
  return wrong;
}

extern "C" uint64_t dot_cases() { return kCases; }
