// Drives the `datapath` module alone: plays the control plane for a program's descriptors.
//
// Loads and stores go through the memories' ports a word at a time; LINEAR, LAYERNORM and ATTENTION
// are started with their descriptor, their parameter requests are answered in order and the weight
// stream is served beat by beat, each with a settable delay and random gaps. Seen from Python
// through ctypes, see datapath_bench.py.

#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "Vdatapath.h"
#include "stops.h"
#include "verilated.h"

namespace {

enum Opcode { kLoadImage = 1, kLoadResidual, kLinear, kLayerNorm, kAttention, kStore, kEnd };
constexpr int kMemoryLatency = 2;
constexpr int kPatch = 16;

#pragma pack(push, 1)
struct Descriptor {
  uint8_t opcode, mode;
  uint16_t layer, tokens, keys, inputs, outputs, rows8, heads;
  uint32_t source, source_kv;
  uint16_t channel_k, channel_v;
  uint32_t destination;
  uint16_t source_pitch, kv_pitch, destination_pitch;
  uint8_t clamp, shift;
  uint32_t weights, parameters, lookup, address, epsilon;
  uint16_t image_size, reserved;
};
#pragma pack(pop)
static_assert(sizeof(Descriptor) == 64);

template <class Port>
void put(Port& port, const void* data, size_t size) {
  static_assert(sizeof(Port) >= 1);
  std::memcpy(&port, data, size);
}

}  // namespace

extern "C" {

struct Settings {
  uint32_t tokens, rows, depth;  // the array
  uint32_t seed;
  uint32_t gap_percent;       // how often a stream pauses in a cycle
  uint32_t latency;           // cycles from a parameter request to its first beat
  uint32_t weight_bytes;      // weight stream, bytes a cycle; 0: a beat a cycle
  uint32_t limit;             // cycles an operation may take
};

struct Result {
  int32_t status;  // 0 done, 1 fault, 2 limit reached
  int32_t descriptor;
  int32_t cause;
  uint32_t address;
};
}

namespace {

class Bench {
 public:
  Bench(const Settings& s) : s_(s), random_(s.seed) {
    context_.randReset(2);
    context_.randSeed(static_cast<int>(s.seed) + 1);
    top_ = new Vdatapath(&context_);
    // Inputs begin with random bits like everything else.
    top_->start_i = top_->p_req_ready_i = top_->p_valid_i = top_->w_valid_i = 0;
    top_->la_we_i = top_->lr_we_i = top_->sa_re_i = top_->sr_re_i = top_->sl_re_i = 0;
    top_->rst_i = 1;
    for (int i = 0; i < 4; i++) tick();
    top_->rst_i = 0;
  }
  ~Bench() { delete top_; }

  Result run(const uint8_t* program, uint32_t count, const uint8_t* image, uint8_t* output,
             uint64_t* cycles) {
    for (uint32_t number = 0; number < count; number++) {
      Descriptor d;
      std::memcpy(&d, program + 64 * number, sizeof d);
      const uint64_t begin = cycle_;
      Result r{0, static_cast<int32_t>(number), 0, 0};
      switch (d.opcode) {
        case kLoadImage: load_image(d, image); break;
        case kLoadResidual: load_residual(d, program); break;
        case kStore: store(d, output); break;
        case kEnd: return r;
        default: r = operate(d, program); r.descriptor = static_cast<int32_t>(number);
      }
      cycles[number] = cycle_ - begin;
      if (r.status) return r;
    }
    return {3, static_cast<int32_t>(count), 0, 0};
  }

  void reset() {
    top_->rst_i = 1;
    tick();
    top_->rst_i = 0;
  }

 private:
  void tick() {
    top_->clk_i = 0;
    top_->eval();
    top_->clk_i = 1;
    context_.timeInc(1);
    top_->eval();
    cycle_++;
  }
  bool gap() { return random_() % 100 < s_.gap_percent; }

  void load_image(const Descriptor& d, const uint8_t* image) {
    const uint32_t side = d.image_size, patches = side / kPatch, channels = 3 * kPatch * kPatch;
    for (uint32_t t = 0; t <= patches * patches; t++) {
      std::vector<uint8_t> values(channels, 0);
      for (uint32_t c = 0; t && c < channels; c++) {
        const uint32_t y = (t - 1) / patches * kPatch + c / (3 * kPatch);
        const uint32_t x = (t - 1) % patches * kPatch * 3 + c % (3 * kPatch);
        const uint8_t byte = image[d.address + y * side * 3 + x];
        values[c] = static_cast<uint8_t>((byte ? byte : 1) - 128);
      }
      for (uint32_t w = 0; w < channels / s_.depth; w++) {
        top_->la_we_i = 1;
        top_->la_bank_i = t % s_.tokens;
        top_->la_word_i = d.destination + t / s_.tokens * d.destination_pitch + w;
        put(top_->la_data_i, &values[w * s_.depth], s_.depth);
        tick();
      }
    }
    top_->la_we_i = 0;
  }

  void load_residual(const Descriptor& d, const uint8_t* program) {
    const uint8_t* from = program + d.address;
    for (uint32_t t = 0; t < d.tokens; t++) {
      for (uint32_t w = 0; w < d.inputs / s_.depth; w++, from += 2 * s_.depth) {
        top_->lr_we_i = 1;
        top_->lr_bank_i = t % s_.tokens;
        top_->lr_word_i = t / s_.tokens * d.destination_pitch + w;
        put(top_->lr_data_i, from, 2 * s_.depth);
        tick();
      }
    }
    top_->lr_we_i = 0;
  }

  void store(const Descriptor& d, uint8_t* output) {
    uint8_t* to = output + d.address;
    if (d.mode == 0) {
      for (uint32_t i = 0; i < d.outputs; i++, to += 4) {
        top_->sl_re_i = 1;
        top_->sl_index_i = i;
        for (int k = 0; k < kMemoryLatency; k++) tick();
        std::memcpy(to, &top_->sl_data_o[i % 4], 4);  // of four neighbours
      }
      top_->sl_re_i = 0;
      return;
    }
    const uint32_t size = s_.depth * d.mode;
    for (uint32_t t = 0; t < d.tokens; t++) {
      for (uint32_t w = 0; w < d.inputs / s_.depth; w++, to += size) {
        const uint32_t word = t / s_.tokens * d.source_pitch + w;
        top_->sa_re_i = d.mode == 1;
        top_->sr_re_i = d.mode == 2;
        top_->sa_bank_i = top_->sr_bank_i = t % s_.tokens;
        if (d.mode == 1) top_->sa_word_i = d.source + word;
        if (d.mode == 2) top_->sr_word_i = word;
        for (int k = 0; k < kMemoryLatency; k++) tick();
        std::memcpy(to, d.mode == 1 ? static_cast<void*>(&top_->sa_data_o) : &top_->sr_data_o, size);
      }
    }
    top_->sa_re_i = top_->sr_re_i = 0;
  }

  struct Request {
    uint64_t at;
    uint32_t offset, beats;
  };

  Result operate(const Descriptor& d, const uint8_t* program) {
    const uint32_t beat_bytes = s_.rows * s_.depth / 2;
    uint64_t weights_left = 0;
    const uint8_t* weight = program + d.weights;
    if (d.opcode == kLinear) {
      weights_left = (d.outputs + d.rows8 + s_.rows - 1) / s_.rows * (d.inputs / s_.depth);
    }
    std::deque<Request> requests;
    bool p_offered = false, w_offered = false;
    uint64_t credit = 0;
    put(top_->descriptor_i, &d, sizeof d);
    top_->start_i = 1;
    const uint64_t begin = cycle_;
    while (cycle_ - begin < s_.limit) {
      // A beat once offered stays, as the handshake demands.
      if (!p_offered) {
        p_offered = !requests.empty() && requests.front().at <= cycle_ && !gap();
        if (p_offered) put(top_->p_data_i, program + requests.front().offset, 16);
      }
      credit = std::min<uint64_t>(credit + s_.weight_bytes, 64 * beat_bytes);
      if (!w_offered && cycle_ != begin) {
        w_offered = weights_left && !gap() && (!s_.weight_bytes || credit >= beat_bytes);
        if (w_offered) put(top_->w_data_i, weight, beat_bytes);
      }
      top_->p_valid_i = p_offered;
      top_->w_valid_i = w_offered;
      top_->p_req_ready_i = !gap();
      top_->clk_i = 0;
      top_->eval();
      if (top_->p_req_valid_o && top_->p_req_ready_i) {
        requests.push_back({cycle_ + s_.latency, top_->p_req_offset_o,
                            (top_->p_req_bytes_o + 15) / 16});
      }
      if (p_offered && top_->p_ready_o) {
        p_offered = false;
        requests.front().offset += 16;
        if (--requests.front().beats == 0) requests.pop_front();
      }
      if (w_offered && top_->w_ready_o) {
        w_offered = false;
        weight += beat_bytes;
        weights_left--;
        if (s_.weight_bytes) credit -= beat_bytes;
      }
      top_->clk_i = 1;
      context_.timeInc(1);
      top_->eval();
      cycle_++;
      top_->start_i = 0;
      if (top_->fault_o) {
        return {1, 0, static_cast<int32_t>(top_->fault_cause_o), top_->fault_address_o};
      }
      if (top_->done_o) {
        top_->p_valid_i = top_->w_valid_i = 0;
        tick();
        return {p_offered || w_offered || weights_left || !requests.empty() ? 4 : 0, 0, 0, 0};
      }
    }
    return {2, 0, 0, 0};
  }

  Settings s_;
  std::mt19937 random_;
  VerilatedContext context_;
  Vdatapath* top_;
  uint64_t cycle_ = 0;
};

}  // namespace

extern "C" {

Bench* bench_create(const Settings* s) { return new Bench(*s); }
void bench_destroy(Bench* b) { delete b; }
void bench_reset(Bench* b) { b->reset(); }
void bench_run(Bench* b, const uint8_t* program, uint32_t count, const uint8_t* image,
               uint8_t* output, uint64_t* cycles, Result* result) {
  *result = b->run(program, count, image, output, cycles);
}
}
